"""The disk that a run takes, measured while it goes on: no file system that people have limits one folder by itself.

So a limit of disk is kept by looking: what the run writes between two looks is over the limit until the next. A look
costs time in proportion to the number of files, so the next comes the later the longer it took.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import trio

EVERY_S = 2.0
REST = 20  # of the time, at least this many parts are left between looks for each part spent looking
_BLOCK = 512
_MIB = 1024 * 1024


async def mind(folders: tuple[str, ...], bytes_max: int, exceeded: Callable[[str], None]) -> None:
    """Look until there is more in these folders than allowed; then tell so once, and return."""
    while True:
        start = trio.current_time()
        found = await trio.to_thread.run_sync(used, folders, bytes_max, abandon_on_cancel=True)
        if found > bytes_max:
            exceeded(f"its folders hold {found / _MIB:.0f} MiB, and its limit of disk is {bytes_max / _MIB:.0f} MiB")
            return
        await trio.sleep(max(EVERY_S, REST * (trio.current_time() - start)))


def used(folders: tuple[str, ...], enough: int | None = None) -> int:
    """Bytes on disk of all that lies in these folders; links are not followed, hard ones counted once.

    enough: from here on it need not be exact. What vanishes meanwhile, or cannot be read, counts as nothing.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    todo = list(folders)
    while todo:
        try:
            with os.scandir(todo.pop()) as entries:
                for entry in entries:
                    found = entry.stat(follow_symlinks=False)
                    if (found.st_dev, found.st_ino) in seen:
                        continue
                    if found.st_nlink > 1 or entry.is_dir(follow_symlinks=False):
                        seen.add((found.st_dev, found.st_ino))
                    total += found.st_blocks * _BLOCK
                    if entry.is_dir(follow_symlinks=False):
                        todo.append(entry.path)
        except OSError:
            continue
        if enough is not None and total > 2 * enough:
            break
    return total
