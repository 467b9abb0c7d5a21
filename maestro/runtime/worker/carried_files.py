"""The files that steps of a workflow hand on: captured behind a good run, brought before the next one starts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

import msgspec
import trio

from maestro.agents.verdict import Verdict
from maestro.model.errors import MaestroError, StoreAway
from maestro.model.events import BlobRef, TaskDispatched
from maestro.runtime.node.context import Context
from maestro.runtime.provision.workspace_hold import held
from maestro.workspaces import step_files

T = TypeVar("T")
Files = dict[str, BlobRef]


class Held(msgspec.Struct, frozen=True):
    """A workspace, and how a run holds it: lock, folder: as in `Spec`."""

    workspace: str
    lock: str | None = None
    folder: str | None = None


async def bring(context: Context, dispatched: TaskDispatched, place: Held) -> None:
    """Put the files that the task brings into the workspace. Raises as `step_files.bring`."""
    if dispatched.brings:
        get = context.store.blobs.get
        await _in_hold(context, place, partial(step_files.bring, place.workspace, dispatched.brings, get))


async def capture(context: Context, dispatched: TaskDispatched, verdict: Verdict, place: Held) -> tuple[Verdict, Files]:
    """Keep the files that the task leaves behind a good run; the verdict is another one where they are not there."""
    if not dispatched.leaves or verdict.outcome != "ok":
        return verdict, {}
    put = context.store.blobs.put
    try:
        work = partial(step_files.capture, place.workspace, dispatched.leaves, put)
        return verdict, await _in_hold(context, place, work)
    except StoreAway:
        raise
    except (MaestroError, OSError) as error:
        why = error.line() if isinstance(error, MaestroError) else str(error)
        return msgspec.structs.replace(verdict, outcome="agent_error", source="maestro", evidence=why), {}


async def _in_hold(context: Context, place: Held, work: partial[T]) -> T:
    async with AsyncExitStack() as stack:
        if place.lock is not None:
            await stack.enter_async_context(held(place.lock, place.folder))
        return await context.insist(partial(trio.to_thread.run_sync, work))
