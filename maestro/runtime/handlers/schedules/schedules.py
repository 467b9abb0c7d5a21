"""The handlers of `maestro schedule add|remove|enable|disable|run`.

What a schedule carries out is checked when it is added, as if it were carried out then, and kept as the command line
made it of the user's words. Snapshots and cleaning are carried out by this node; tasks and workflows are begun by the
leader, wherever that is.
"""

from __future__ import annotations

import msgspec

from maestro.documents.schedules import cron_errors, zone_error
from maestro.model.coordination.missing_workspaces import decide_missing
from maestro.model.dispatch import decide_dispatch
from maestro.model.errors import Invalid, Refused
from maestro.model.events import NewEvent, ScheduleAdded, ScheduleFired, TaskDispatched
from maestro.model.ids import check_id, shown
from maestro.model.schedules.commands import decide_add, decide_remove, decide_switch, unknown
from maestro.model.schedules.recurring import decide_by_hand
from maestro.model.workflow.stored.params import from_texts, merged
from maestro.model.workflow.stored.storing import numbered, usable
from maestro.runtime.handlers.agent_list import find as find_agent
from maestro.runtime.handlers.dispatch import checked_prompt, known_to
from maestro.runtime.handlers.schedules.listing import schedule_row
from maestro.runtime.handlers.snapshots import agents_named, check_across
from maestro.runtime.handlers.workflows import library
from maestro.runtime.handlers.workflows.start import check_options
from maestro.runtime.monitor.firings import Request
from maestro.runtime.monitor.schedules import Schedules, busy
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.commands.monitor import SCHEDULABLE
from maestro.runtime.provision.settlement import check_file
from maestro.runtime.server.rows import Row
from maestro.runtime.snapshots import sources
from maestro.runtime.snapshots.across.asking import Spread, lacking_elsewhere, spread_of

INLINE_BYTES_MAX = 1024
WORD_CHARS_MAX = 200
HERE = (p.StateSnapshot, p.WorkspaceClean)
"""What the node carries out on which the schedule was added."""


async def add(call: Call, command: p.ScheduleAdd) -> p.Done:
    """Add a schedule, or replace the one of that name."""
    context = call.context
    check_id(command.name, "schedule")
    _check_times(command)
    request = await _checked(call, _request(command))
    text = msgspec.json.encode(request, order="deterministic").decode("utf-8", "surrogateescape")
    wanted = ScheduleAdded(
        command.name,
        " ".join(command.cron.split()),
        command.tz,
        command.missed,
        tuple(word if len(word) <= WORD_CHARS_MAX else f"{word[:WORD_CHARS_MAX]}…" for word in command.words),
        call.caller.cwd,
        context.node if isinstance(request, HERE) else "",
        await context.keep(text, INLINE_BYTES_MAX),
    )

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.schedule, command.name)
        if row is None:  # one that was removed has no row, but a version
            return decide_add(wanted, row, await context.call(context.store.log.version, f"schedule:{command.name}"))
        return decide_add(wanted, row, await context.floor())

    if await context.decide(call, decision) is None:
        await call.note(f"schedule {command.name} is there already, as it is")
    return p.Done(await _row(call, command.name))


def _check_times(command: p.ScheduleAdd) -> None:
    for _, what, mend in cron_errors(command.cron):
        raise Invalid(what, "--cron", mend)
    if wrong := zone_error(command.tz):
        what, mend = wrong
        raise Invalid(what, "--tz", mend)


def _request(command: p.ScheduleAdd) -> Request:
    """What is to be carried out, without what each firing has of its own. Raises Invalid for what no schedule does."""
    try:
        request: Request = msgspec.convert(command.command, Request)
    except msgspec.ValidationError:
        what = f"{shown(' '.join(command.words[:2]))} is nothing that a schedule carries out"
        raise Invalid(what, mend=f"use {SCHEDULABLE}") from None
    if isinstance(request, p.WorkspaceClean):
        return request
    if isinstance(request, p.StateSnapshot):
        return msgspec.structs.replace(request, firing="")
    if request.key is not None and not request.first:
        raise Invalid("each firing has a key of its own", "--key", "leave it out")
    if isinstance(request, p.TaskDispatch):
        if request.sync:
            raise Invalid("nobody waits for what a schedule begins", "--sync", "leave it out")
        return msgspec.structs.replace(request, key=None, first=False)
    if request.definition:
        mend = f"store it: maestro workflow create {request.workflow} --definition FILE"
        raise Invalid("a schedule runs a stored workflow, no file", request.file, mend)
    for given, option in ((request.dry_run, "--dry-run"), (request.resume, "--resume-from")):
        if given:
            raise Invalid("a schedule begins a new run each time", option, "leave it out")
    return msgspec.structs.replace(request, key=None, first=False)


async def _checked(call: Call, request: Request) -> Request:
    """The request, where what it names is there. Raises as the command itself, but for what is so at this moment only:
    an unhealthy agent, a busy group.
    """
    match request:
        case p.TaskDispatch():
            text = checked_prompt(request.prompt)
            wanted = TaskDispatched("check", text, "", tuple(request.to), tuple(request.depends_on), forced=True)
            wanted = msgspec.structs.replace(wanted, priority=request.priority)
            decide_dispatch(wanted, await known_to(call, wanted))
        case p.WorkflowStart():
            check_options(request)
            stored = usable(request.workflow, await library.find(call.context, request.workflow))
            workflow = await library.stored_definition(call.context, numbered(stored, request.version))
            merged(workflow, request.vars, request.vars_file or "--vars")
            from_texts(workflow, request.params, "--param")
        case p.StateSnapshot():
            if request.include_logs and not request.output:
                what = "what the agents have printed goes to a file only"
                raise Invalid(what, "--include-logs", "name the file with --output")
            if request.output:
                await check_file(call.context, request.output, "--output")
            named = await agents_named(call, request.workspaces) if request.workspaces else None
            await _tell_lacking(call, request, await spread_of(call.context, named))
            return msgspec.structs.replace(request, workspaces=list(named or ()))
        case p.WorkspaceClean():
            await find_agent(call.context, request.agent)
    return request


async def _tell_lacking(call: Call, request: p.StateSnapshot, spread: Spread) -> None:
    """Warn where a snapshot would fail as things are now. spread: how what it is to keep lies on the nodes."""
    here = [row.id for row in spread.agents.get(call.context.node, ())]
    try:
        if not spread.here:
            check_across(call, request, spread)
        _, lacking = await sources.workspaces(call, here)
        lacking += await lacking_elsewhere(call.context, spread)
        decide_missing(lacking, request.allow_missing)
    except Refused as error:
        await call.note(f"now it would fail: {error.line()}", "warn")


async def remove(call: Call, command: p.ScheduleRemove) -> p.Done:
    """Remove a schedule."""
    context = call.context
    rows: list[Row] = []

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.schedule, command.name)
        events = decide_remove(command.name, row, await context.floor())
        rows[:] = [await _row(call, command.name)]
        return events

    await context.decide(call, decision)
    return p.Done(rows[0] | {"removed": True})


async def switch(call: Call, command: p.ScheduleSwitch) -> p.Done:
    """Switch a schedule on or off."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.schedule, command.name)
        return decide_switch(command.name, command.enabled, row, await context.floor())

    await context.decide(call, decision)
    return p.Done(await _row(call, command.name))


async def _row(call: Call, name: str) -> Row:
    context = call.context
    scheduled = await Schedules(context).one(name)
    if scheduled is None:
        raise unknown(name)
    firing = await context.row(context.views.firing, name)
    return schedule_row(scheduled, firing, await context.now())


async def run(call: Call, command: p.ScheduleRun) -> p.Done:
    """Fire a schedule now, also one that is switched off, and wait until what it begins is begun, or failed."""
    context, name = call.context, command.name
    scheduled = await Schedules(context).one(name)
    if scheduled is None:
        raise unknown(name)
    due = 0

    async def decision() -> list[NewEvent]:
        nonlocal due
        firing = await context.row(context.views.firing, name)
        why = await busy(context, scheduled, firing)
        event = decide_by_hand(name, firing, why, await context.now(), await context.floor())
        assert isinstance(event.fact, ScheduleFired)
        due = event.fact.due
        return [event]

    await context.decide(call, decision)
    call.when_interrupted(lambda: _goes_on(name))
    if scheduled.node not in ("", context.node):
        await call.note(f"node {scheduled.node} carries it out")
    while True:
        found = await context.call(context.views.firing, name)
        if found.row is not None and due not in found.row.open:
            break
        await context.changed(found.checkpoint.seq)
    if not found.row.ok:
        await call.note(f"schedule {name}: {found.row.why}", "warn")
    return p.Done(await _row(call, name), 0 if found.row.ok else 1)


async def _goes_on(name: str) -> str:
    return f"interrupted; what schedule {name} has begun goes on: maestro schedule list"


HANDLERS: dict[type[p.Command], Handler] = {
    p.ScheduleAdd: add,
    p.ScheduleRemove: remove,
    p.ScheduleSwitch: switch,
    p.ScheduleRun: run,
}
