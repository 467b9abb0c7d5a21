"""The handlers of `state restore|rollback`, `agent assign --from-snapshot` and `fork`: how things were, once more."""

from __future__ import annotations

import trio

from maestro.runtime.handlers.agent_list import answer, find, shown_agents
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.forwards.forwarding import forward
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores import assignments, log_loader
from maestro.runtime.restores.across.asking import carry_out_across, knows_others
from maestro.runtime.restores.across.preview import Elsewhere
from maestro.runtime.restores.dry_run import preview
from maestro.runtime.restores.forks import fork
from maestro.runtime.restores.journal import Journal
from maestro.runtime.restores.moves import agent_move
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.past import look_into
from maestro.runtime.restores.plan import RestorePlan, RestoreRequest
from maestro.runtime.restores.planner import plan
from maestro.runtime.restores.procedure import RestoreOptions
from maestro.runtime.restores.restore import carry_out, check, load_and_carry_out, prove
from maestro.runtime.restores.rights import restoring
from maestro.runtime.server.id_prefixes import agent_meant, check_whole_agent, check_whole_snapshot, snapshot_meant
from maestro.runtime.server.rows import Row

FAILED = 6


async def load(call: Call, command: p.RestoreLoad) -> p.Done:
    """Load the log of a snapshot and restore, where the log is empty."""
    wish = RestoreRequest(command.source, skip_failed=command.skip_failed, replace_foreign=command.replace_foreign)
    log, row = await load_and_carry_out(call, wish, _how(command))
    return p.Done({"log": log, "restore": row}, _exit_code(row) if row is not None else 0)


async def dry_run(call: Call, command: p.RestorePreview) -> p.Done:
    """Answer what a restore would change. Exit code 6 where it would be refused, or something is damaged."""
    context, source, workspace = call.context, command.source, command.workspace
    source = None if source is None else await snapshot_meant(context, source)
    workspace = None if workspace is None else await agent_meant(context, workspace)
    wish = RestoreRequest(source, command.at, workspace, command.skip_failed, command.replace_foreign)
    with OpenOrigins(call.context) as origins:
        planned = await _planned(call, wish, origins)
        if command.part:
            planned.placements = [each for each in planned.placements if each.node in ("", context.node)]
        whole = command.part or bool(planned.others)
        elsewhere = Elsewhere(call, planned)
        other = planned.named if planned.is_file else planned.source  # no other node has a file that lies here
        await elsewhere.look(command, None if source is None else other)
        await prove(call, planned, origins, command.skip_verify, go_on=command.skip_failed)
        row = await preview(call.context, planned, origins, whole)
    row = elsewhere.added_to(row)
    failing = row["failing"] and not (command.skip_failed and planned.to is not None)
    is_damaged = bool(row["damaged"]) or any(each.damaged for each in planned.failing)
    return p.Done(row, FAILED if failing or is_damaged else 0)


async def _planned(call: Call, wish: RestoreRequest, origins: OpenOrigins) -> RestorePlan:
    context = call.context
    whole = wish.source is not None and wish.at is None and wish.workspace is None
    if wish.source is None or not whole or not await log_loader.is_empty(context):
        return await plan(call, wish, origins)
    origin = await origins.named(wish.source)
    journal = Journal(context.settings.home)
    async with restoring(journal), log_loader.held_log(origin, journal, wish.skip_failed) as folder:
        return await plan(call, wish, origins, await trio.to_thread.run_sync(look_into, folder))


async def restore(call: Call, command: p.StateRestore) -> p.Done:
    """Restore workspaces, and the state where that is asked for."""
    again = f"state {'rollback' if command.rollback else 'restore'}"
    if command.source is not None:
        await check_whole_snapshot(call.context, command.source, again)
    if command.workspace is not None:
        await check_whole_agent(call.context, command.workspace, f"{again} {command.source or ''} --workspace")
    wish = RestoreRequest(command.source, command.at, command.workspace, command.skip_failed, command.replace_foreign)
    row = await _restored(call, wish, _how(command))
    return p.Done(row, _exit_code(row))


async def _restored(call: Call, wish: RestoreRequest, how: RestoreOptions) -> Row:
    """Restore, in this node alone where all lies here; returns the answer. Raises as `carry_out`."""
    if await knows_others(call.context):
        with OpenOrigins(call.context) as origins:
            planned = await plan(call, wish, origins)
        if planned.others:
            check(planned, wish.skip_failed)
            return await carry_out_across(call, planned, wish, how)
    return await carry_out(call, wish, how)


def _exit_code(row: Row) -> int:
    """The exit code of a restore that is done: 6 where damaged files or workspaces are missing in it."""
    return FAILED if row["damaged"] or any(each["damaged"] for each in row["skipped"]) else 0


def _how(command: p.RestoreLoad | p.StateRestore) -> RestoreOptions:
    return RestoreOptions("rollback" if command.rollback else "restore", command.skip_verify, command.resume_queued)


async def put_back(call: Call, command: p.AgentsPutBack) -> p.Done:
    """Make every assignment of a snapshot again."""
    names = await assignments.put_back(call, command.source, command.only)
    agents = [row for row in await call.context.agents() if row.id in names]
    for row in await shown_agents(call.context, agents):
        await call.item(row)
    return p.Done()


async def move(call: Call, command: p.AgentMove) -> p.Done:
    """Have an agent whose node is away go on elsewhere, from an archive of its workspace."""
    context = call.context
    await check_whole_agent(context, command.id, "agent assign", "--from-snapshot newest")
    agent = await find(context, command.id)
    if command.node not in (None, context.node):
        return await forward(call, str(command.node), command)
    await agent_move.move(call, agent, command)
    return await answer(call, command.id)


async def make_fork(call: Call, command: p.Fork) -> p.Done:
    """Make a namespace whose log begins with the history of this one."""
    return p.Done(await fork.fork(call, command))


HANDLERS: dict[type[p.Command], Handler] = {
    p.RestoreLoad: load,
    p.RestorePreview: dry_run,
    p.StateRestore: restore,
    p.AgentsPutBack: put_back,
    p.AgentMove: move,
    p.Fork: make_fork,
}
