"""Deleting what agents have made: moved aside whole, archived, read back, and only then deleted, by the list.

`agent reset`, `workspace clean` and the removal of old run folders come through here. Nothing starts where it is done:
the door to the agents is closed from before the first move until all is done, or put back.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio

from maestro.model.agent import Agent, decide_clear
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.provision.exclusion import Exclusion
from maestro.runtime.snapshots.folders import Shelf
from maestro.runtime.snapshots.procedure import take_in_turn, turn
from maestro.runtime.snapshots.request import Taken, Wanted
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces import deletion, guards, open_records
from maestro.workspaces.archive.read.purge import Leftover, Listing
from maestro.workspaces.deletion import Deletion, Doomed
from maestro.workspaces.mounts import check_no_mounts

NOTHING = "is not there"


class Deleted(msgspec.Struct, frozen=True):
    """What was deleted. snapshot: holds all of it; files, bytes: of it; left: by its place, what is there still."""

    snapshot: str
    files: int = 0
    bytes: int = 0
    left: dict[str, list[Leftover]] = {}


async def delete(call: Call, reason: str, trees: Sequence[Doomed], agents: Sequence[str]) -> Deleted:
    """Delete these trees. agents: whose they are, in this order; the door to them must be closed (`closed_to`).

    reason: of the snapshot. Raises Refused, VerificationFailed and as `take`: then everything is where it was.
    """
    home = call.context.settings.home
    deleted = None
    shelf = Shelf(home)
    async with turn(call, shelf):
        for doomed in trees:
            await trio.to_thread.run_sync(_check, doomed.place)
        under_way = await trio.to_thread.run_sync(Deletion, home, partial(_listing, home))
        others = Exclusion(doomed.place for doomed in trees)
        try:
            await trio.to_thread.run_sync(others.take)
            paths = await trio.to_thread.run_sync(under_way.move_aside, trees)
            sources = [
                Source(doomed.tree, path, agent, moved_from=doomed.place)
                for doomed, path, agent in zip(trees, paths, agents, strict=True)
            ]
            taken = await take_in_turn(call, Wanted(reason, agents=(), folders=tuple(sources)), shelf)
            await call.note("reading back what is kept", "progress")
            with trio.CancelScope(shield=True):
                deleted = await trio.to_thread.run_sync(_carry_out, home, under_way, taken, sources)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(under_way.close)
                others.release()
    assert deleted is not None
    return deleted


async def clear(call: Call, agent: Agent, reason: str) -> Deleted | None:
    """Empty the workspace of an agent that was stopped; None where there is nothing in it.

    Raises as `delete`; Refused where it is not what it was, where the agent has been started again, and where
    something of it is left.
    """
    context = call.context
    workspace = agent.workspace or ""
    if not await trio.to_thread.run_sync(_is_filled, workspace):
        if not os.path.lexists(workspace):
            await call.note(f"{workspace} is not there: there is nothing to keep", "warn")
        return None
    async with closed_to(context, [agent.id]):
        row = await context.row(context.views.agent, agent.id)
        decide_clear(agent.id, row)
        deleted = await delete(call, reason, [Doomed(workspace, f"workspaces/{agent.id}")], [agent.id])
    undo = f"maestro state restore {deleted.snapshot} --workspace {shlex.quote(workspace)}"
    if left := deleted.left.get(workspace):
        named = "; ".join(f"{each.path!r}: {each.why}" for each in left[:3])
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        what = f"this is left in {workspace!r}: {named}{more}; what was deleted is kept: `{undo}`"
        raise Refused(what, "workspace", "stop what writes there, or mend its permissions, then run this again")
    await call.note(f"what was in it is kept: `{undo}` brings it back")
    return deleted


async def settle(context: Context) -> None:
    """End what processes that are gone have begun to delete. What cannot be ended is logged, and told by `doctor`."""
    home = context.settings.home
    if not any(open_records.deletions(home / open_records.DELETIONS)):
        return
    try:
        failed = await trio.to_thread.run_sync(deletion.end_begun, home, partial(_listing, home))
    except (MaestroError, OSError) as error:
        failed = [str(error)]
    for line in failed:
        log.error("a deletion that was begun cannot be ended: %s", line)


@asynccontextmanager
async def closed_to(context: Context, agents: Sequence[str]) -> AsyncIterator[None]:
    """Nothing of these agents starts meanwhile; what runs goes on."""
    still = context.daemon.stillness() if context.daemon else None
    try:
        if still is not None:
            await still.begin(agents, freeze=False)
        yield
    finally:
        if still is not None:
            still.end()


def _check(place: str) -> None:
    if why := guards.unreadable(place):
        raise Refused(f"{place!r} {why}", "workspace", "put it in order, or assign the agent again")
    check_no_mounts(place, "moved")


def _is_filled(workspace: str) -> bool:
    """Whether there is something to keep. Raises Refused where that cannot be told."""
    why = guards.unreadable(workspace)
    if why == NOTHING:
        return False
    if why:
        raise Refused(f"{workspace!r} {why}", "workspace", "put it in order, or assign the agent again")
    with os.scandir(workspace) as entries:
        return next(entries, None) is not None


def _listing(home: Path, snapshot: str, tree: str) -> Listing:
    return Shelf(home).archive().listing(snapshot, tree)


def _carry_out(home: Path, under_way: Deletion, taken: Taken, sources: Sequence[Source]) -> Deleted:
    """Prove that a restore could bring it back, then delete it. Blocks."""
    trees = {source.tree: (source.path, source.place) for source in sources}
    listings = Shelf(home).archive().prove(taken.row.id, trees)
    left = under_way.delete(taken.row.id, listings)
    files = [entry for listing in listings.values() for entry in listing.entries if entry.kind != "d"]
    return Deleted(taken.row.id, len(files), sum(entry.size for entry in files), left)
