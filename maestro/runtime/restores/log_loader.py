"""The log that a snapshot holds: extracted to be read, and loaded into an empty store with its ids.

A log in which nodes came and went, named their archive, had alerts raised and were told that an older log was erased,
and nothing else ever happened, counts as empty: no user did any of that, and it is there again as soon as the loaded
log is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from maestro.model.errors import Refused
from maestro.model.events import Event
from maestro.runtime.node.context import Context
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.origin import CHECKPOINT, Origin, Stage
from maestro.workspaces.cleaning import remove_tree

OWN_EVENTS_MAX = 500
_OWN = ("node.", "archive.named", "alert.raised", "alert.resolved", "log.forked")
"""Prefixes of the types of events that nodes append by themselves."""


def is_own(event: Event) -> bool:
    """Whether an event is one that nodes append by themselves, also to a log in which there is nothing else."""
    return event.type.startswith(_OWN)


async def is_empty(context: Context) -> bool:
    """Whether nothing has happened in the log but what nodes append by themselves."""
    head = await context.call(context.store.log.head)
    if head.seq > OWN_EVENTS_MAX:
        return False
    events = await context.call(context.store.log.read, 0, OWN_EVENTS_MAX)
    return all(is_own(event) for event in events)


async def check_alone(context: Context) -> None:
    """Check that no other node is up on this log. Raises Refused naming one that is."""
    for node in await context.rows(context.views.nodes):
        held = await context.call(context.store.work.lease_holder, f"node:{node.id}")
        if held is not None and node.id != context.node:
            what = f"node {node.id} uses this empty log already"
            raise Refused(what, mend="shut it down there, then restore here")


@asynccontextmanager
async def held_log(origin: Origin, journal: Journal, skip_failed: bool = False) -> AsyncIterator[Path]:
    """The log that a snapshot holds, extracted into a folder for the time of the block.

    Every byte of the snapshot is proved before; with skip_failed it is enough that the log is whole. The caller has the
    right to restore on this node. Raises VerificationFailed, Refused where it holds no log.
    """
    folder = journal.folder / CHECKPOINT
    if not origin.has(CHECKPOINT):
        mend = "use one that holds it: `maestro state snapshots` lists all, those before runs have the reason failsafe"
        raise Refused(f"{origin.path or origin.name} holds a workspace, and no log", "snapshot", mend)

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
