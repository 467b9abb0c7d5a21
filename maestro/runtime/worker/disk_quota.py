"""The disk that a run takes, measured while it goes on: no file system that people have limits one folder by itself.

So a limit of disk is kept by looking: what the run writes between two looks is over the limit until the next. A look
costs time in proportion to the number of files, so the next comes the later the longer it took.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from maestro.workspaces.usage import disk_bytes

EVERY_S = 2.0
REST = 20  # of the time, at least this many parts are left between looks for each part spent looking
_MIB = 1024 * 1024


async def mind(folders: tuple[str, ...], bytes_max: int, exceeded: Callable[[str], None]) -> None:
    """Look until there is more in these folders than allowed; then tell so once, and return."""
    while True:
        start = trio.current_time()
        found = await trio.to_thread.run_sync(disk_bytes, folders, bytes_max, abandon_on_cancel=True)
        if found > bytes_max:
            exceeded(f"its folders hold {found / _MIB:.0f} MiB, and its limit of disk is {bytes_max / _MIB:.0f} MiB")
            return
        await trio.sleep(max(EVERY_S, REST * (trio.current_time() - start)))
