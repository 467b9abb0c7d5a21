"""Writes a file of sealed history atomically: complete and synced to disk, or not at all.

It is written under another name in the same folder and renamed. Files left by a killed process are recognised by their
name, and swept once they are so old that nobody can be writing them any more.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from maestro import files
from maestro.model.errors import Refused

PART = ".part"
STALE_S = 3600.0


@contextmanager
def refusing(where: Path) -> Iterator[None]:
    """Raise an OSError of the block as Refused."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        mend = "make room, then try again; what was there before is as it was" if full else "mend the disk"
        raise Refused(f"cannot be written: {error.strerror}", str(where), mend) from error


@contextmanager
def placed(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write; it appears at `path` (mode 0600) at the end of the block, unless the block raises.

    durable: sync it to disk before the block ends. Raises Refused where the disk does not take it.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
    try:
        with refusing(path.parent):
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            part.rename(path)
            if durable:
                sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def linked(source: Path, path: Path) -> None:
    """Make the file at `source` appear at `path` too: as a hard link, or as a copy on another file system."""
    os.close(files.handle(source))  # raises for a symbolic link, and for anything but a regular file
    try:
        os.link(source, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        with files.opened(source) as file, placed(path, durable=False) as copy:
            while data := file.read(1 << 20):
                copy.write(data)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that files renamed in it are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove stale partial files from a folder; returns how many."""
    swept = 0
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()
                swept += 1
    return swept
