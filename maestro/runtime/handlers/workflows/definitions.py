"""The handlers of `workflow validate|create|list|show|diff|delete|enable|disable|graph`."""

from __future__ import annotations

import difflib
import hashlib

import msgspec

from maestro.model.errors import NotFound
from maestro.model.events import NewEvent, WorkflowStored
from maestro.model.ids import shown
from maestro.model.workflow import drawing
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.run import Run
from maestro.model.workflow.status import step_states
from maestro.model.workflow.stored.params import merged
from maestro.model.workflow.stored.starting import canonical
from maestro.model.workflow.stored.storing import (
    LIST,
    check_workflow_id,
    decide_delete,
    decide_store,
    decide_switch,
    known,
    numbered,
    usable,
)
from maestro.runtime.handlers.workflows import library
from maestro.runtime.handlers.workflows.inspection import inspected
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.run_reader import run_of
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row
from maestro.runtime.server.run_rows import header_meant
from maestro.runtime.server.workflow_rows import version_row, workflow_row

INLINE_BYTES_MAX = 1024
"""Definitions above it are blobs, which versions and runs share."""
OPEN_RUNS_MAX = 100


async def check(call: Call, command: p.WorkflowCheck) -> p.Done:
    """Check a definition; nothing is stored."""
    reading = await inspected(call, command.definition, command.file, command.name)
    return p.Done({"valid": reading.is_valid, "file": command.file}, 0 if reading.is_valid else 2)


async def create(call: Call, command: p.WorkflowCreate) -> p.Done:
    """Store a definition as the next version of a workflow; the newest one again is no new version."""
    check_workflow_id(command.name)
    reading = await inspected(call, command.definition, command.file, command.name)
    if reading.workflow is None or not reading.is_valid:
        return p.Done(None, 2)
    row = await store(call, command, reading.workflow)
    if not row["stored"]:
        await call.note(f"workflow {command.name} has this already, as version {row['version']}")
    return p.Done(row)


def digest_of(definition: str) -> str:
    """The digest of a definition as it was written."""
    return hashlib.sha256(definition.encode("utf-8", "surrogateescape")).hexdigest()


async def store(call: Call, command: p.WorkflowCreate, workflow: Workflow) -> Row:
    """Store a definition that was found to be right; the row of its version. Raises Invalid for vars that are not."""
    context, name = call.context, command.name
    if command.vars:
        over = merged(workflow, command.vars, command.vars_file or "--vars")
        workflow = msgspec.structs.replace(workflow, vars=over)
    wanted = WorkflowStored(
        workflow=name,
        version=0,
        definition=await context.keep(canonical(workflow), INLINE_BYTES_MAX),
        source=await context.keep(command.definition, INLINE_BYTES_MAX),
        digest=digest_of(command.definition),
        title=workflow.name,
        schedules=len(workflow.schedules),
    )

    async def decision() -> list[NewEvent]:
        row = await library.find(context, name)
        newest = await library.stored_fact(context, row.newest) if row is not None else None
        return decide_store(wanted, row, newest, await context.floor())

    committed = await context.decide(call, decision)
    row = known(name, await library.find(context, name))
    if workflow.schedules and committed is not None and not row.enabled:
        await call.note(f"its schedules are switched off: maestro workflow enable {name}", "warn")
    return {**version_row(name, row.newest), "stored": committed is not None}


async def list_workflows(call: Call, command: p.WorkflowList) -> p.Done:
    """List what is stored, what changed last first."""
    for row in await call.context.rows(call.context.views.workflows):
        await call.item(workflow_row(row))
    return p.Done()


async def show(call: Call, command: p.WorkflowShow) -> p.Done:
    """Show a workflow, also a deleted one."""
    context = call.context
    row = known(command.id, await library.find(context, command.id))
    version = numbered(row, command.version)
    fact = await library.stored_fact(context, version)
    definition = msgspec.json.decode(await context.text(fact.definition))
    return p.Done(
        {
            **version_row(row.id, version),
            "enabled": row.enabled,
            "deleted": row.deleted,
            "versions": [version_row(row.id, one) for one in row.versions],
            "definition": definition,
            "source": await context.text(fact.source),
        }
    )


async def diff(call: Call, command: p.WorkflowDiff) -> p.Done:
    """Compare the texts of two versions; where only `--vars` made them differ, their vars."""
    context = call.context
    row = known(command.id, await library.find(context, command.id))
    facts = [await library.stored_fact(context, numbered(row, number)) for number in (command.a, command.b)]
    texts = [await context.text(fact.source) for fact in facts]
    if facts[0].source == facts[1].source and facts[0].definition != facts[1].definition:
        datas = [msgspec.json.decode(await context.text(fact.definition)) for fact in facts]
        texts = [msgspec.json.format(msgspec.json.encode({"vars": data.get("vars", {})})).decode() for data in datas]
    before, after = (text.splitlines() for text in texts)
    lines = difflib.unified_diff(before, after, f"{row.id}@{command.a}", f"{row.id}@{command.b}", lineterm="")
    told = "".join(f"{line}\n" for line in lines)
    return p.Done({"id": row.id, "a": command.a, "b": command.b, "same": not told, "diff": told})


async def delete(call: Call, command: p.WorkflowDelete) -> p.Done:
    """Delete a workflow without open runs."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await library.find(context, command.id)
        runs = await context.rows(context.views.workflow_runs, f"open:workflow:{command.id}", OPEN_RUNS_MAX, False)
        return decide_delete(command.id, row, runs, await context.floor())

    await context.decide(call, decision)
    return p.Done({"id": command.id, "deleted": True})


async def switch(call: Call, command: p.WorkflowSwitch) -> p.Done:
    """Switch the schedules of a workflow on or off."""
    context = call.context

    async def decision() -> list[NewEvent]:
        row = await library.find(context, command.id)
        return decide_switch(command.id, command.enabled, row, await context.floor())

    await context.decide(call, decision)
    row = usable(command.id, await library.find(context, command.id))
    if not row.newest.schedules:
        await call.note(f"workflow {row.id} has no schedules")
    return p.Done({"id": row.id, "enabled": row.enabled, "schedules": row.newest.schedules})


async def graph(call: Call, command: p.WorkflowGraph) -> p.Done:
    """Draw the steps of a workflow, or of a run with what became of them."""
    context = call.context
    states: dict[str, str] | None = None
    row = await library.find(context, command.id)
    if row is not None:
        workflow = await library.stored_definition(context, row.newest)
    else:
        run = await _run(context, command.id)
        workflow, states = run.workflow, step_states(run)
    draw = drawing.mermaid if command.mermaid else drawing.lines
    await call.output("".join(f"{line}\n" for line in draw(workflow, states)))
    return p.Done()


async def _run(context: Context, id: str) -> Run:
    """A run by its id, or the beginning of one. Raises NotFound, Invalid."""
    try:
        header = await header_meant(context, id)
    except NotFound:
        what = f"there is no workflow and no run {shown(id)}"
        raise NotFound(what, mend=LIST, sought=("workflow", id)) from None
    return (await run_of(context, header))[0]


HANDLERS: dict[type[p.Command], Handler] = {
    p.WorkflowCheck: check,
    p.WorkflowCreate: create,
    p.WorkflowList: list_workflows,
    p.WorkflowShow: show,
    p.WorkflowDiff: diff,
    p.WorkflowDelete: delete,
    p.WorkflowSwitch: switch,
    p.WorkflowGraph: graph,
}
