"""Small files that Maestro keeps for itself: replaced whole or not at all, durable, locked by one process at a time.

Stdlib only, as files.py and folders.py: any package may use it, but for the launcher and its wardens, which import
nothing of Maestro's outside of their own package.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from pathlib import Path

FRESH = ".fresh"
"""The suffix of a file that is being written; one that a crash leaves is written over by the next, or removed."""


def replace(path: Path, content: bytes, *, durable: bool = True, shared: bool = False) -> None:
    """Write a file (mode 0600) beside `path`, then rename it to `path`: a reader sees the old content or the new one.

    durable: content and name are on the disk before this returns. shared: several processes may write it at once.
    Raises OSError; then `path` is as it was.
    """
    part = path.with_suffix(f".{secrets.token_hex(6)}{FRESH}" if shared else FRESH)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(path: str | Path) -> None:
    """Have the names in a folder on the disk: what was created, renamed or removed there. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file (flock) without waiting; whether that succeeded. Closing its last descriptor unlocks it.

    shared: others may hold it too, if they share it.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_unlocked(path: Path) -> None:
    """Remove a file unless a process holds its lock, or it is a link or gone: it was left by one that has ended."""
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if try_lock(handle):
                path.unlink()
        finally:
            os.close(handle)


def lock_file(path: Path) -> int | None:
    """A descriptor of a lock file, created (0600) and locked; None where another process has it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None
