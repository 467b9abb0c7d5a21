"""The stored workflows: their definitions, fetched, and what is below one, pinned."""

from __future__ import annotations

import msgspec

from maestro.model.errors import NotFound, Refused, VerificationFailed
from maestro.model.events import WorkflowStored
from maestro.model.workflow.checking.installation import children_of, cycle_of
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.stored.starting import Pinned
from maestro.model.workflow.stored_workflow import StoredVersion, StoredWorkflow
from maestro.runtime.node.read_context import ReadContext

CHILDREN_MAX = 500
_decoder = msgspec.json.Decoder(Workflow)


async def stored_fact(context: ReadContext, version: StoredVersion) -> WorkflowStored:
    """The event of a version. Raises VerificationFailed where it is not where its row says."""
    event = await context.call(context.store.log.event, version.position)
    if event is None or not isinstance(event.fact, WorkflowStored):
        raise VerificationFailed(f"event {version.position} stores no workflow", "log")
    return event.fact


async def stored_definition(context: ReadContext, version: StoredVersion) -> Workflow:
    """The definition of a version. Raises NotFound where its blob is gone."""
    fact = await stored_fact(context, version)
    return _decoder.decode(await context.text(fact.definition))


async def find(context: ReadContext, workflow: str) -> StoredWorkflow | None:
    """The row of a workflow, None where there is none."""
    return await context.row(context.views.workflow, workflow)


async def below(context: ReadContext, workflow: Workflow) -> dict[str, tuple[StoredVersion, Workflow]]:
    """All workflows below one that are stored and not deleted, by id, each at its newest version."""
    found: dict[str, tuple[StoredVersion, Workflow]] = {}
    waiting = list(children_of(workflow))
    seen = set(waiting)
    while waiting and len(found) < CHILDREN_MAX:
        name = waiting.pop()
        row = await find(context, name)
        if row is None or row.deleted:
            continue
        definition = await stored_definition(context, row.newest)
        found[name] = row.newest, definition
        new = [one for one in children_of(definition) if one not in seen]
        seen.update(new)
        waiting += new
    return found


async def pinned(context: ReadContext, name: str, workflow: Workflow) -> dict[str, Pinned]:
    """What is below a workflow at the versions that it has now. Raises Refused where one is missing, or in a circle."""
    found = {child: Pinned(version.version, one) for child, (version, one) in (await below(context, workflow)).items()}
    if len(found) >= CHILDREN_MAX:
        raise Refused(f"more than {CHILDREN_MAX} workflows are below {name}")
    for parent, one in ((name, workflow), *((child, each.definition) for child, each in found.items())):
        for step in one.steps:
            if step.workflow and step.workflow not in found:
                what = f"workflow {step.workflow}, which step {step.id} of {parent} runs, is not stored"
                mend = f"maestro workflow create {step.workflow} --definition FILE"
                raise NotFound(what, mend=mend, sought=("workflow", step.workflow))
    cycle = cycle_of(name, workflow, {child: one.definition for child, one in found.items()})
    if cycle:
        raise Refused(f"the workflows run each other: {' → '.join(cycle)}", mend="store one of them without the other")
    return found
