"""Deletion of agents' files: move a tree aside, archive it, read the archive back, then delete what that holds.

`agent reset`, `workspace clean` and the removal of old run folders come through here. No run of the agents starts from
before the first move until the deletion is done or undone.
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
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.procedure import take_in_turn, turn
from maestro.runtime.snapshots.request import SnapshotRequest, TakenSnapshot
from maestro.runtime.snapshots.sources import Source
from maestro.workspaces import deletion, guards, open_records
from maestro.workspaces.archive.read.purge import Leftover, Listing
from maestro.workspaces.deletion import Deletion, Doomed
from maestro.workspaces.mounts import check_no_mounts

NOTHING = "is not there"


class Deleted(msgspec.Struct, frozen=True):
    """The result of a deletion. snapshot: the one that holds all that was deleted; files, bytes: how much that was.

    left: what is still there, by the place of its tree.
    """

    snapshot: str
    files: int = 0
    bytes: int = 0
    left: dict[str, list[Leftover]] = {}


async def delete(call: Call, reason: str, trees: Sequence[Doomed], agents: Sequence[str]) -> Deleted:
    """Archive these trees, then delete them. agents: the owner of each tree, in order; `closed_to` must hold for them.

    reason: of the snapshot. Raises Refused, VerificationFailed, and as `procedure.take`: then every tree is where it
    was.
    """
    home = call.context.settings.home
    deleted = None
    folders = SnapshotFolders(home)
    async with turn(call, folders):
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
            taken = await take_in_turn(call, SnapshotRequest(reason, agents=(), folders=tuple(sources)), folders)
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
    """Archive and empty the workspace of a stopped agent; None where nothing was in it.

    Raises as `delete`; Refused where the agent has been started again, or something is left in the workspace.
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
    """End the deletions that processes which are gone have begun. Errors are logged, and told by `doctor`."""
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
    """Keep runs of these agents from starting during the block; a run that is on goes on."""
    still = context.daemon.runs.pause() if context.daemon else None
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
    """Whether something is in the workspace. Raises Refused where it cannot be read."""
    why = guards.unreadable(workspace)
    if why == NOTHING:
        return False
    if why:
        raise Refused(f"{workspace!r} {why}", "workspace", "put it in order, or assign the agent again")
    with os.scandir(workspace) as entries:
        return next(entries, None) is not None


def _listing(home: Path, snapshot: str, tree: str) -> Listing:
    return SnapshotFolders(home).archive().listing(snapshot, tree)


def _carry_out(home: Path, under_way: Deletion, taken: TakenSnapshot, sources: Sequence[Source]) -> Deleted:
    """Prove that a restore could bring back what was moved aside, then delete it. Blocks."""
    trees = {source.tree: (source.path, source.place) for source in sources}
    listings = SnapshotFolders(home).archive().prove(taken.row.id, trees)
    left = under_way.delete(taken.row.id, listings)
    files = [entry for listing in listings.values() for entry in listing.entries if entry.kind != "d"]
    return Deleted(taken.row.id, len(files), sum(entry.size for entry in files), left)
