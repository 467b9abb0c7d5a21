"""The hold of this daemon on a workspace: as a run's warden holds it, so that no run writes there meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from maestro.runtime.supervision.processes import boot_id
from maestro.runtime.supervision.workspace_lock import WorkspaceLock

_PAUSE_S = 0.02


@asynccontextmanager
async def held(lock: str, folder: str | None = None) -> AsyncIterator[None]:
    """Hold a workspace during the block; waits for the run that holds it, and ends what a killed one has left there.

    lock: its lock file; folder: the workspace itself, where runs of other homes are to be kept out, too.
    """
    workspace_lock = await trio.to_thread.run_sync(WorkspaceLock, lock, float("inf"), folder)
    is_held = False
    try:
        boot = boot_id()
        while not (is_held := await trio.to_thread.run_sync(workspace_lock.take, boot)):
            await trio.sleep(_PAUSE_S)
        yield
    finally:
        workspace_lock.release(is_held)
