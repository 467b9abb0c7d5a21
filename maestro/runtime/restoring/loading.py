"""An empty log is loaded from a snapshot, with its ids, before anything is restored in it.

By a command without a daemon: a daemon knows the log that it began with. A log in which nodes came and went, and
nothing else ever happened, counts as empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from maestro.model.errors import Refused
from maestro.runtime.context import Call, Context
from maestro.runtime.restoring.journal import Journal
from maestro.runtime.restoring.opening import Origins
from maestro.runtime.restoring.origins import CHECKPOINT, Origin, Stage
from maestro.runtime.witness import Witness
from maestro.workspaces.cleaning import remove_tree
from replayers import checkpoint

NODE_EVENTS_MAX = 500


async def is_empty(context: Context) -> bool:
    """Whether nothing has happened but that nodes came and went."""
    head = await context.call(context.store.log.head)
    if head.seq > NODE_EVENTS_MAX:
        return False
    events = await context.call(context.store.log.read, 0, NODE_EVENTS_MAX)
    return all(event.type.startswith("node.") for event in events)


async def load(call: Call, source: str, skip_failed: bool = False) -> str:
    """Load the log if there is none: `there`, `loaded`, or `again` where this daemon had to end for it first.

    Raises Refused while other nodes use the log, VerificationFailed, NotFound.
    """
    context = call.context
    if not await is_empty(context):
        return "there"
    await _check_alone(context)
    if context.daemon is not None:
        with Origins(context) as origins:  # it does not end for what cannot be restored
            await origins.named(source)
        call.then(context.daemon.stop)
        return "again"
    with Origins(context) as origins:
        origin = await origins.named(source)
        async with held_log(context, origin, skip_failed) as folder:
            await call.note(f"verifying the log of {origin.path or origin.name}", "progress")
            await trio.to_thread.run_sync(checkpoint.verify, folder)
            await context.call(context.store.erase)
            Witness(context.settings).forget()
            await trio.to_thread.run_sync(checkpoint.load, context.store, folder)
    await call.note(f"loaded the log up to position {origin.meta.position}")
    return "loaded"


async def _check_alone(context: Context) -> None:
    for node in await context.rows(context.views.nodes):
        held = await context.call(context.store.work.lease_holder, f"node:{node.id}")
        if held is not None and node.id != context.node:
            what = f"node {node.id} uses this empty log already"
            raise Refused(what, mend="shut it down there, then restore here")


@asynccontextmanager
async def held_log(context: Context, origin: Origin, skip_failed: bool = False) -> AsyncIterator[Path]:
    """A folder with the log that a snapshot holds, all of the snapshot proved; for as long as the block takes.

    skip_failed: it is enough that the log is whole.
    """
    journal = Journal(context.settings.home)
    exchange = await trio.to_thread.run_sync(journal.exchange)
    folder = journal.folder / CHECKPOINT

    def put() -> None:
        remove_tree(folder)
        if not (origin.path or skip_failed):
            origin.verify()
        for error in origin.put([Stage(CHECKPOINT, str(folder))]).values():
            raise error

    try:
        await trio.to_thread.run_sync(put)
        yield folder
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(remove_tree, folder)
            await trio.to_thread.run_sync(exchange.close)
