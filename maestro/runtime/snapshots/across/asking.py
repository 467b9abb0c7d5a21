"""The asking for a snapshot over several nodes: the wish is an event, and whoever asked waits for what comes of it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

import trio

from maestro.model.agent import Agent
from maestro.model.coordination.missing_workspaces import decide_missing
from maestro.model.coordination.part import READY, TAKEN, WANTED
from maestro.model.coordination.snapshot_parts import decide_asked, decide_given_up, why_away
from maestro.model.errors import MaestroError, Refused
from maestro.model.events import NewEvent, PartWanted, SnapshotAsked, SnapshotMissing
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.procedure import FAIL_S_MAX, new_name, tell_contents
from maestro.runtime.snapshots.request import ASKED, SnapshotRequest

AGAIN = "put that in order and take it again; --allow-missing leaves out the workspaces of a node that fails"

TURN_S = 1.0
"""So long it waits for its turn before the user is told."""


class Spread(NamedTuple):
    """How the workspaces that are wanted lie. here: all on this node; agents: those of each node, by its id."""

    here: bool
    agents: dict[str, list[Agent]]


async def spread_of(context: Context, agents: Collection[str] | None) -> Spread:
    """How the workspaces of these agents (None: of all) lie."""
    found: dict[str, list[Agent]] = {}
    for row in await context.rows(context.views.agents):
        if row.workspace is not None and (agents is None or row.id in agents):
            found.setdefault(row.node or context.node, []).append(row)
    return Spread(not found.keys() - {context.node}, found)


async def take_across(call: Call, wanted: SnapshotRequest, spread: Spread) -> Snapshot | None:
    """Take a snapshot of the nodes on which its workspaces lie; None where of these only this one is there.

    Raises Refused naming what cannot be kept, unless that is allowed, and naming the node on which it failed.
    """
    context = call.context
    away = await _away(context, spread.agents)
    missing = decide_missing(_lacking(spread, away), wanted.allow_missing)
    there = {node: rows for node, rows in spread.agents.items() if node not in away}
    if not there.keys() - {context.node}:
        return None
    for each in missing:
        await call.note(f"the workspace of {each.agent} is not kept: {each.workspace} {each.why}", "warn")
    parts = [PartWanted(node, tuple(row.id for row in rows), wanted.agents is None) for node, rows in there.items()]
    fact = SnapshotAsked(
        wanted.name or new_name(),
        wanted.reason,
        context.node,
        tuple(parts),
        wanted.reason != ASKED or bool(wanted.output),  # what was taken for a file expires, and is never the latest
        missing,
        wanted.allow_missing,
        wanted.allow_torn,
        wanted.include_logs,
        wanted.run,
    )
    return await ask(call, fact)


async def lacking_elsewhere(context: Context, spread: Spread) -> list[SnapshotMissing]:
    """The workspaces that a snapshot would lack now, as their nodes are away."""
    return _lacking(spread, await _away(context, spread.agents.keys() - {context.node}))


def _lacking(spread: Spread, away: Mapping[str, str]) -> list[SnapshotMissing]:
    return [
        SnapshotMissing(row.id, row.workspace or "", f"is on node {node}: {why}")
        for node, why in away.items()
        for row in spread.agents[node]
    ]


async def _away(context: Context, nodes: Collection[str]) -> dict[str, str]:
    """Which of these nodes take no part in anything now, with the reason."""
    rows = {row.id: row for row in await context.rows(context.views.nodes)}
    found: dict[str, str] = {}
    for node in nodes:
        row = rows.get(node)
        if row is None or row.status != "up":
            found[node] = why_away(row)
        elif await context.call(context.store.work.lease_holder, f"node:{node}") is None:
            found[node] = "it is silent"
    return found


async def ask(call: Call, fact: SnapshotAsked) -> Snapshot:
    """Wish for a snapshot, and wait until it is complete. Raises Refused with why it failed.

    Where the caller goes, it is given up.
    """
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.snapshot, fact.snapshot)
        return decide_asked(fact, row, await context.floor())

    committed = await context.decide(call, decision)
    assert committed is not None
    call.patient = True
    try:
        return await outcome(call, fact.snapshot, committed.last)
    except BaseException as error:
        await _give_up(call, fact.snapshot, error)
        raise


async def outcome(call: Call, snapshot: str, after: int) -> Snapshot:
    """Wait until a snapshot over several nodes is complete. after: the position of its wish. Raises Refused."""
    context, told, quiet_until = call.context, "", trio.current_time() + TURN_S
    while True:
        row, seen = await context.insist(partial(_seen, context, snapshot, after))
        if row is None:
            break
        progress, waits = _progress(row), row.state == "asked"
        if progress != told and not (waits and trio.current_time() < quiet_until):
            told = progress
            await call.note(progress, "info" if waits else "progress")
        with trio.move_on_at(quiet_until if waits and not told else math.inf):
            await context.insist(partial(context.changed, seen))
        after = max(after, seen)
    row = await context.insist(partial(context.row, context.views.snapshot, snapshot))
    if row is None or not row.complete:
        why = "it is not known any more" if row is None else row.why or f"it is {row.state}"
        raise Refused(f"snapshot {snapshot} failed: {why}", mend=AGAIN)
    for each in row.missing:
        await call.note(f"the workspace of {each.agent} is not kept: {each.workspace} {each.why}", "warn")
    await tell_contents(call, row.torn, (), row.not_held)
    return row


async def _seen(context: Context, snapshot: str, after: int) -> tuple[Snapshot | None, int]:
    """The snapshot while it is not over, and the position as of which that is said."""
    if context.daemon is not None:
        follower = context.daemon.follower
        await follower.changed(after - 1)  # a wish that it has not heard of yet is not over
        return follower.plan.works.snapshots.get(snapshot), follower.seq
    found = await context.call(context.views.snapshot, snapshot)
    row = found.row
    return row if row is not None and row.open else None, found.checkpoint.seq


def _progress(row: Snapshot) -> str:
    """How far a snapshot is, in words."""
    assert row.across is not None
    if row.state == "asked":
        return f"snapshot {row.id} waits for its turn, and for the node that schedules"
    if row.state == "open":
        waits = [part.node for part in row.across.of(WANTED)]
        return f"waiting until node {', '.join(waits)} holds still" if waits else "all nodes hold still"
    reads = [part.node for part in row.across.of(READY)]
    done = [part.node for part in row.across.of(TAKEN)]
    told = f"reading on node {', '.join(reads)}" if reads else "all nodes are done"
    return f"{told}; done: {', '.join(done)}" if done else told


async def _give_up(call: Call, snapshot: str, error: BaseException) -> None:
    """Have a snapshot fail that nobody waits for; nothing where it is over."""
    context = call.context
    why = error.line() if isinstance(error, MaestroError) else "interrupted"

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.snapshot, snapshot)
        return decide_given_up(row, why, await context.floor())

    with trio.CancelScope(shield=True), trio.move_on_after(FAIL_S_MAX):
        try:
            await context.decide(call, decision)
        except MaestroError as failure:
            log.warning("snapshot %s is not given up: %s", snapshot, failure.line())
