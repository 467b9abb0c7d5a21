"""The ballast: a file that reserves room on the embedded server's disk, to be deleted when the disk is full.

With `appendfsync always` a server whose disk is full exits, and could not even start again to report it. The embedded
server's start then frees the ballast (embedded_server.py). Below the low-water mark the worker stops claiming runs
before it comes to that.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

BALLAST_BYTES = 64 * 1024 * 1024
LOW_WATER_BYTES_MAX = 256 * 1024 * 1024
LOW_WATER_SHARE = 0.05


class DiskState(msgspec.Struct, frozen=True):
    """The disk below the embedded server's data. low: claim no new work; ballast: the ballast file exists."""

    free_bytes: int
    low_water_bytes: int
    low: bool
    ballast: bool


def disk_state(home: Path) -> DiskState:
    """The state of the disk below MAESTRO_HOME. Cost: one statvfs, cheap enough to ask each second."""
    folder = home / "store"
    disk = os.statvfs(folder if folder.exists() else home)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    low_water = min(LOW_WATER_BYTES_MAX, int(total * LOW_WATER_SHARE))
    return DiskState(free, low_water, free < low_water, _file(home).exists())


def free_ballast(home: Path) -> bool:
    """Delete the ballast; False when it was already deleted."""
    _file(home).with_suffix(".part").unlink(missing_ok=True)
    try:
        _file(home).unlink()
    except FileNotFoundError:
        return False
    return True


def restore_ballast(home: Path) -> bool:
    """Create the ballast unless the disk would fall below the low-water mark; returns whether it exists now."""
    state = disk_state(home)
    if state.ballast:
        return True
    if state.free_bytes < BALLAST_BYTES + 2 * state.low_water_bytes:
        return False
    part = _file(home).with_suffix(".part")  # one name: a try that was killed leaves no second file
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            _allocate(descriptor)
        finally:
            os.close(descriptor)
        part.rename(_file(home))
    except OSError:  # the disk filled up meanwhile, or cannot reserve space: the store works without a ballast
        part.unlink(missing_ok=True)
        return False
    return True


def _file(home: Path) -> Path:
    return home / "store" / "ballast"


def _allocate(descriptor: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        return
    block = os.urandom(1024 * 1024)  # macOS; random bytes, which no file system compresses away
    for _ in range(BALLAST_BYTES // len(block)):
        os.write(descriptor, block)
