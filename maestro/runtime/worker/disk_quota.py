"""The disk quota of a run, kept by measuring its folders while it runs.

Common file systems cannot limit one folder. What a run writes between two measurements may be over the limit until the
second. A measurement costs time in proportion to the number of files; the longer it took, the later comes the next.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from maestro.workspaces.usage import disk_bytes

EVERY_S = 2.0
REST = 20
"""How many times as long as a measurement took the pause behind it is, at least."""
_MIB = 1024 * 1024


async def mind(folders: tuple[str, ...], bytes_max: int, exceeded: Callable[[str], None]) -> None:
    """Measure until these folders hold more than `bytes_max`; then call `exceeded` with the reason, and return."""
    while True:
        start = trio.current_time()
        found = await trio.to_thread.run_sync(disk_bytes, folders, bytes_max, abandon_on_cancel=True)
        if found > bytes_max:
            exceeded(f"its folders hold {found / _MIB:.0f} MiB, and its limit of disk is {bytes_max / _MIB:.0f} MiB")
            return
        await trio.sleep(max(EVERY_S, REST * (trio.current_time() - start)))
