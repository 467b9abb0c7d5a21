"""Room kept back on the embedded server's disk: a file to delete when the disk is full.

With `appendfsync always` a server whose disk fills up exits, and could not start again to say so. The ballast is freed
then (`embedded_server`); below the low-water mark the worker stops claiming before it comes to that.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

BALLAST_BYTES = 64 * 1024 * 1024
LOW_WATER_BYTES_MAX = 256 * 1024 * 1024
LOW_WATER_SHARE = 0.05


class DiskState(msgspec.Struct, frozen=True):
    """The disk below the embedded server's data. low: claim no new work; ballast: the reserve is there."""

    free_bytes: int
    low_water_bytes: int
    low: bool
    ballast: bool


def disk_state(home: Path) -> DiskState:
    """How full the disk below MAESTRO_HOME is. Cost: one statvfs, for a loop to ask each second."""
    folder = home / "store"
    disk = os.statvfs(folder if folder.exists() else home)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    low_water = min(LOW_WATER_BYTES_MAX, int(total * LOW_WATER_SHARE))
    return DiskState(free, low_water, free < low_water, _file(home).exists())


def free_ballast(home: Path) -> bool:
    """Give the reserve back to the disk; False when it was spent already."""
    _file(home).with_suffix(".part").unlink(missing_ok=True)
    try:
        _file(home).unlink()
    except FileNotFoundError:
        return False
    return True


def restore_ballast(home: Path) -> bool:
    """Put the reserve there if it is not and the disk stays above the low-water mark; whether it is there now."""
    state = disk_state(home)
    if state.ballast:
        return True
    if state.free_bytes < BALLAST_BYTES + 2 * state.low_water_bytes:
        return False
    part = _file(home).with_suffix(".part")  # one name, so that a try that was killed leaves no second one
    try:
        descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        try:
            _allocate(descriptor)
        finally:
            os.close(descriptor)
        part.rename(_file(home))
    except OSError:  # the disk filled up meanwhile, or has no room to give: the store works without a reserve
        part.unlink(missing_ok=True)
        return False
    return True


def _file(home: Path) -> Path:
    return home / "store" / "ballast"


def _allocate(descriptor: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        return
    block = os.urandom(1024 * 1024)  # macOS; random, so that no file system compresses it away
    for _ in range(BALLAST_BYTES // len(block)):
        os.write(descriptor, block)
