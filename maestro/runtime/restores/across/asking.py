"""The asking for a restore over several nodes: the plan becomes a wish in the log, and whoever asked waits.

What has been asked for goes on by itself, whatever becomes of the asker; Ctrl-C before the decision gives it up.
"""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from maestro.model.coordination import restoration
from maestro.model.coordination.restore_parts import Restore, RestoreOptions, RestorePart
from maestro.model.errors import Refused
from maestro.model.events import NewEvent, RestoreAsked, RestorePartWanted, RestorePlacement
from maestro.model.restore import Archived
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.ids import new_id
from maestro.runtime.node.resume import resume
from maestro.runtime.restores.across import outcome
from maestro.runtime.restores.across.pending import NodeStatus, told_of
from maestro.runtime.restores.answer import Answer, foreign_told, undo_told
from maestro.runtime.restores.journal import BegunRestore, Target
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.restores.procedure import RestoreOptions as How
from maestro.runtime.server.rows import Row

PLACED_S_MAX = 10.0
"""How long the answer waits for nodes that are up to exchange their workspaces, once that is decided."""
LOOK_S = 1.0
MEND = "mend that"
GIVE_UP_S_MAX = 5.0


async def knows_others(context: Context) -> bool:
    """Whether the log knows of other nodes than this one."""
    return any(node.id != context.node for node in await context.rows(context.views.nodes))


async def carry_out_across(call: Call, planned: RestorePlan, wish: RestoreRequest, how: How) -> Row:
    """Wish for what is planned, and wait for its outcome; returns its answer. Raises Refused: then all is as it was."""
    context = call.context
    asked = await _asked(call, planned, wish, how)

    async def decision() -> list[NewEvent]:
        return restoration.decide_ask(asked, await context.floor())

    async def interrupted() -> str:
        return await _given_up(call, asked.restore)

    committed = await context.decide(call, decision)
    assert committed is not None
    call.patient = True
    call.when_interrupted(interrupted)
    row = await _decided(call, asked.restore, committed.last)
    if row.state == "failed":
        mend = "" if MEND in row.why else f"{MEND}, then try again"
        raise Refused(f"nothing was changed: {row.why}", f"restore {row.id}", mend)
    row = await _placed(call, row)
    return await _answer(call, planned, row, how)


async def _asked(call: Call, planned: RestorePlan, wish: RestoreRequest, how: How) -> RestoreAsked:
    context, here = call.context, call.context.node
    placements: dict[str, list[RestorePlacement]] = {here: [], **{node: [] for node in planned.others}}
    for each, archived in planned.restorable:
        placements.setdefault(each.node or here, []).append(_wanted(planned, each, archived, wish))
    stopped = {fate.agent for fate in planned.fates}
    agents: dict[str, list[str]] = {node: [] for node in placements}
    for row in planned.now.values():
        node = row.node or here
        if row.id in stopped and node in agents:
            agents[node].append(row.id)
    parts = [
        RestorePartWanted(node, tuple(placements[node]), tuple(agents[node]))
        for node in placements
        if placements[node] or agents[node]
    ]
    options = RestoreOptions(
        reason=how.reason,
        resume=how.resume,
        skip_failed=wish.skip_failed,
        skip_verify=how.skip_verify,
        assigned=tuple([*planned.assigned, *(planned.left_out() if planned.to is not None else ())]),
        waiting=tuple(planned.waiting),
    )
    text = await context.keep(msgspec.json.encode(options).decode())
    return RestoreAsked(new_id(), here, tuple(parts), planned.to, planned.source, text)


def _wanted(planned: RestorePlan, each: Placement, archived: Archived, wish: RestoreRequest) -> RestorePlacement:
    is_file = planned.is_file and not archived.node
    return RestorePlacement(
        agent=each.agent,
        workspace=each.workspace,
        recorded=each.recorded,
        root=each.root,
        snapshot=planned.source if is_file else archived.snapshot,
        tree=archived.held.tree,
        source=archived.node or planned.here,
        foreign=each.workspace in wish.replace_foreign,
    )


async def _seen(context: Context, restore: str) -> Restore | None:
    """The restore as the log has it now; an outage of the store is waited out, as the restore goes on behind it."""
    return await context.insist(lambda: outcome.look(context, restore))


async def _decided(call: Call, restore: str, after: int) -> Restore:
    """Wait until the restore is decided, or has failed."""
    context, told = call.context, ""
    while True:
        head = await context.insist(lambda: context.call(context.store.log.head))
        row = await _seen(context, restore)
        if row is not None:
            if row.decided or row.state == "failed":
                return row
            progress = _progress(row)
            if progress != told:
                told = progress
                await call.note(progress, "progress")
        with trio.move_on_after(LOOK_S):
            await context.changed(max(head.seq, after))


def _progress(row: Restore) -> str:
    """How far a restore is, in words."""
    if row.state == "asked":
        return "waiting for its turn, and for the node that schedules"
    if row.state == "opened":
        waits = [part.node for part in row.parts if part.state == "wanted"]
        return f"node {', '.join(waits)} puts its workspaces beside those that are there"
    return "stopping the agents, and taking a snapshot of what is there now"


async def _placed(call: Call, row: Restore) -> Restore:
    """Wait until all nodes that are up have exchanged their workspaces, or for PLACED_S_MAX."""
    context, nodes = call.context, NodeStatus(call.context)
    with trio.move_on_after(PLACED_S_MAX):
        while True:
            head = await context.insist(lambda: context.call(context.store.log.head))
            row = await _seen(context, row.id) or row
            if not [part for part in row.pending if await context.insist(partial(nodes.is_up, part.node))]:
                break
            with trio.move_on_after(LOOK_S):
                await context.changed(head.seq)
    return row


async def _given_up(call: Call, restore: str) -> str:
    """Give the restore up, where it is not decided; the line that the user sees."""
    context = call.context
    row = await outcome.look(context, restore)
    if row is not None:
        await outcome.tell_failed(context, row, restoration.GIVEN_UP, given_up=True)
        with trio.move_on_after(GIVE_UP_S_MAX):
            while row is not None and not (row.decided or row.state == "failed"):
                await trio.sleep(0.1)
                row = await outcome.look(context, restore)
    if row is not None and row.decided:
        return f"interrupted; the restore is decided: maestro state restore {row.before} undoes it"
    return "interrupted; nothing was changed"


async def _answer(call: Call, planned: RestorePlan, row: Restore, how: How) -> Row:
    context = call.context
    begun = BegunRestore(restore=row.id, actor=row.actor, cause=row.cause, to=row.to, source=row.source)
    begun.before, begun.resume = row.before, how.resume
    part_of = parts_by_place(row)
    skipped, placed = list(planned.failing), []
    damaged: list[Row] = []
    for each, archived in planned.restorable:
        part = part_of[each.node or context.node, each.workspace]
        why = _why_skipped(part, each.workspace)
        if why:
            each.why_not, each.damaged = why, each.workspace in part.damaged
            skipped.append(each)
            continue
        placed.append((each, archived))
        begun.targets.append(Target(each.workspace, archived.snapshot, archived.held.tree, agent=each.agent))
        begun.targets[-1].foreign = any(one.foreign for one in part.placements if one.workspace == each.workspace)
        begun.targets[-1].name = planned.name_of(each)
        for path, said in part.lost.get(each.workspace, {}).items():
            damaged.append({"agent": each.agent, "workspace": each.workspace, "path": path, "why": said})
    begun.lacking = await context.insist(lambda: _lacks(call, planned, row, [each for each, _ in placed]))
    if row.to is not None:
        await context.insist(lambda: resume(call, [], "restored"))
    for told in (undo_told(begun), *foreign_told(begun)):
        await call.note(told)
    agents = {agent.id: agent for agent in await context.insist(context.agents)} if row.pending else {}
    pending = [await context.insist(partial(told_of, NodeStatus(context), row, part, agents)) for part in row.pending]
    for one in pending:
        await call.note(str(one["what"]), "warn")
    left = [each for part in row.parts for each in part.left.items()]
    for _, why in left:
        await call.note(why, "warn")
    answer = Answer(begun, planned, placed, (skipped, damaged), [])
    return answer.row() | {"left": [place for place, _ in left], "pending": pending}


def parts_by_place(row: Restore) -> dict[tuple[str, str], RestorePart]:
    """The part that each workspace is of, by node and path: another node may have the same path."""
    return {(part.node, each.workspace): part for part in row.parts for each in part.placements}


def _why_skipped(part: RestorePart, workspace: str) -> str:
    if workspace in part.skipped:
        return part.skipped[workspace]
    return f"node {part.node} takes no part: {part.why or 'it is away'}" if part.state == "out" else ""


async def _lacks(call: Call, planned: RestorePlan, row: Restore, placed: list[Placement]) -> bool:
    """Whether the snapshot that undoes the restore lacks a workspace that is to be put back from it then."""
    before = await call.context.row(call.context.views.snapshot, row.before)
    if before is None:
        return True
    held = {(each.node or before.node, each.workspace) for each in before.workspaces}
    if row.to is None:
        return not {(each.node or planned.here, each.workspace) for each in placed} <= held
    return any(
        each.workspace is not None and (each.node or planned.here, each.workspace) not in held
        for each in planned.now.values()
    )
