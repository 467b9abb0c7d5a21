"""Bits that flip on a disk, for the tests of what comes of it: neither size nor time of the file changes with them."""

from __future__ import annotations

import os
from pathlib import Path

from maestro.workspaces.archive.format.packs import Block, read_directory


def flip(path: Path, at: int, bit: int = 64) -> None:
    """Flip a bit of the byte at this place."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def largest(store: Path) -> tuple[Path, Block]:
    """The largest block of an archive, and its pack."""
    found = [(path, block) for path in (store / "packs").glob("*.pack") for block in read_directory(path)]
    return max(found, key=lambda one: one[1].stored)


def flip_largest(store: Path) -> Path:
    """Flip a bit in the middle of the largest block; the pack that it is in."""
    path, block = largest(store)
    flip(path, block.offset + block.stored // 2)
    return path
