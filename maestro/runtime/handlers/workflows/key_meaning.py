"""What a key stands for: in what a start differs from the run that its key made before."""

from __future__ import annotations

from typing import Any

import trio

from maestro.documents.workflow_file import read_workflow
from maestro.model.errors import Invalid
from maestro.model.events import WorkflowRunStarted
from maestro.model.ids import shown
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored.params import from_texts
from maestro.model.workflow.stored.starting import canonical
from maestro.runtime.node.context import Call
from maestro.runtime.node.run_reader import definition_of
from maestro.runtime.protocol import messages as p


async def tell_other(call: Call, command: p.WorkflowStart, header: RunHeader) -> None:
    """Say that the key of a start stands for a run that differs from it."""
    context = call.context
    event = await context.call(context.store.log.event, header.position)
    if event is None or not isinstance(event.fact, WorkflowRunStarted):
        return
    workflow = await context.call(definition_of, context.store, event.fact.definition)
    differs = _differences(command, event.fact, workflow)
    if command.definition:
        reading = await trio.to_thread.run_sync(read_workflow, command.definition, command.file)
        if reading.workflow is None or canonical(reading.workflow) != canonical(workflow):
            differs.insert(0, "definition")
    if differs:
        what = f"the key {shown(command.key or '')} stands for run {header.id}, which has another {', '.join(differs)}"
        await call.note(f"{what}; that one stands, and nothing was started", "warn")


def _differences(command: p.WorkflowStart, before: WorkflowRunStarted, workflow: Workflow) -> list[str]:
    """In what they differ, in the words of the command line."""
    given: dict[str, Any] | None = dict(command.vars)
    try:
        given = {**command.vars, **from_texts(workflow, command.params, "--param")}
    except Invalid:
        given = None
    found = {
        "workflow": command.workflow != before.workflow,
        "version": bool(command.version) and command.version != before.version,
        "param": given is None or any(before.params.get(name) != value for name, value in given.items()),
        "priority": command.priority != before.priority,
        "trace": command.trace != before.trace,
        "agent-override": command.overrides != before.overrides,
        "resume-from": bool(command.resume) != bool(before.resumed_from),
        "run": bool(command.run) and command.run != before.resumed_from,
        "files": (command.files == "restore") != before.restores,
    }
    return [name for name, other in found.items() if other]
