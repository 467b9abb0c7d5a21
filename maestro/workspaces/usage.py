"""Counts files and bytes in the folders that an agent writes to, in trees of any depth.

No link is followed and no mount is crossed. What vanishes meanwhile, or cannot be read, is not counted.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress

from maestro.workspaces.descent import FOLDER_FLAGS, Descent

_BLOCK = 512


def size_of(path: str) -> tuple[int, int]:
    """The number of files in a folder, and their bytes.

    Everything but folders counts as a file; a link has the size of its target's path.
    """
    files = size = 0
    for found in _statuses(path):
        if not stat.S_ISDIR(found.st_mode):
            files += 1
            size += found.st_size
    return files, size


def disk_bytes(folders: tuple[str, ...], enough: int | None = None) -> int:
    """Bytes on the disk of everything in these folders; hard links are counted once.

    enough: the count may stop, and be inexact, beyond this number.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        for found in _statuses(folder):
            if found.st_nlink > 1:
                if (found.st_dev, found.st_ino) in seen:
                    continue
                seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * _BLOCK
            if enough is not None and total > 2 * enough:
                return total
    return total


def _statuses(path: str) -> Iterator[os.stat_result]:
    """Yield the status of each name in a tree, in no particular order."""
    try:
        top = os.open(path, FOLDER_FLAGS)
    except OSError:
        return
    try:
        waiting = [b""]
        with Descent(top) as descent:
            while waiting:
                inner = waiting.pop()
                with suppress(OSError):
                    folder = descent.folder(inner)
                    device = os.fstat(folder).st_dev
                    listed = _listed(folder)
                    prefix = inner + b"/" if inner else b""
                    waiting += [prefix + name for name, found in listed if stat.S_ISDIR(found.st_mode)]
                    yield from (found for _, found in listed if found.st_dev == device)
    finally:
        os.close(top)


def _listed(folder: int) -> list[tuple[bytes, os.stat_result]]:
    listed = []
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                listed.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
    return listed
