"""The room on a disk: when an agent cannot go on there, and when a person should look."""

from __future__ import annotations

from typing import Final

from maestro.model.monitoring.sights import SeenDisk

MIB_MIN: Final = 64
MIB_AGAIN: Final = 96
"""How much room must be there again before a full disk counts as mended: at one limit alone it would flap."""
FILES_MIN: Final = 1000
FILES_AGAIN: Final = 2000
LOW_BYTES: Final = 1024**3
LOW_SHARE: Final = 0.05
"""A disk is low below 5 % of its size, and below 1 GiB where that is less: before agents fail for it."""
LOW_AGAIN: Final = 1.25


def disk_problem(seen: SeenDisk, failed_before: bool) -> tuple[str, int]:
    """Why an agent cannot work on a disk, "" where it can; and the least room, in MiB. failed_before: the last look
    found it so.
    """
    mib, files = (MIB_AGAIN, FILES_AGAIN) if failed_before else (MIB_MIN, FILES_MIN)
    if seen.free_bytes < mib << 20:
        return f"less than {mib} MiB", mib
    if seen.free_files is not None and seen.free_files < files:
        return f"room for {seen.free_files} more files only", mib
    return "", mib


def disk_low(seen: SeenDisk, was_low: bool) -> str:
    """Why a disk wants a person's look, "" where it has room. was_low: the last look found it so."""
    if seen.problem:
        return seen.problem
    factor = LOW_AGAIN if was_low else 1.0
    least = factor * min(LOW_BYTES, LOW_SHARE * seen.total_bytes)
    if seen.free_bytes < least:
        share = 100 * seen.free_bytes / seen.total_bytes if seen.total_bytes else 0
        return f"{seen.free_bytes >> 20} MiB free below {seen.path} ({share:.0f} % of the disk)"
    files = FILES_AGAIN if was_low else FILES_MIN
    if seen.free_files is not None and seen.free_files < files:
        return f"room for {seen.free_files} more files only below {seen.path}"
    return ""
