"""The whole check of a definition, by itself and against this installation; all that was found goes to the client."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from itertools import islice

import msgspec
import trio

from maestro.agents.definitions import Definition
from maestro.agents.known_types import known_types, with_agents
from maestro.documents.workflow_file import FOUND_MAX, SHOWN_MAX, Reading, complaint, read_workflow
from maestro.model.target import targets_of, who
from maestro.model.workflow.checking.installation import Surroundings, installation_findings
from maestro.model.workflow.definition import Workflow
from maestro.runtime.handlers.workflows import library
from maestro.runtime.node.context import Call
from maestro.runtime.provision.type_binding import caller_settings


async def inspected(call: Call, text: str, file: str, name: str, stood_in: Collection[str] = ()) -> Reading:
    """Read and check a definition. What was found is sent as Items.

    name: as what it is stored. stood_in: agents for whom others stand in, `*` for all; they need not be there.
    """
    reading = await trio.to_thread.run_sync(read_workflow, text, file)
    workflow, document = reading.workflow, reading.document
    if workflow is not None and document is not None:
        here = await surroundings(call, workflow, stood_in)
        found = await trio.to_thread.run_sync(
            lambda: list(islice(installation_findings(workflow, here, name), FOUND_MAX))
        )
        found = [one for one in found if not one.if_written or document.node(one.finding.path) is not None]
        more = {complaint(document, one.finding, one.level) for one in found}
        reading = Reading(document, workflow, tuple(sorted({*reading.complaints, *more})))
    await tell(call, reading, file)
    return reading


async def tell(call: Call, reading: Reading, file: str) -> None:
    """Send what was found as Items, up to `SHOWN_MAX`."""
    for one in reading.complaints[:SHOWN_MAX]:
        await call.item({"file": file, **msgspec.structs.asdict(one), "text": one.text(file)})
    left = len(reading.complaints) - SHOWN_MAX
    if left > 0:
        await call.note(f"{file}: {left} more")


async def surroundings(call: Call, workflow: Workflow, stood_in: Collection[str] = ()) -> Surroundings:
    """What a definition may name here, as far as this one needs it; those for whom others stand in among it."""
    context = call.context
    stored = {name: one for name, (_, one) in (await library.below(context, workflow)).items()}
    agents = await context.agents()
    registered = {row.slug: row.definition for row in await context.rows(context.views.types)}
    targets: dict[str, frozenset[str]] = {}
    for agent in agents:
        for target in targets_of(agent):
            targets[target] = targets.get(target, frozenset()) | {agent.type}
    named = {who(target) for one in (workflow, *stored.values()) for step in one.steps for target in step.agents}
    places = {step.place for step in workflow.steps}
    for target in named | places if "*" in stood_in else stood_in:
        targets.setdefault(target, frozenset())
    slugs = {slug for target in named | places for slug in (target.removeprefix("type:"), *targets.get(target, ()))}
    dirs = caller_settings(call).agents_dirs
    types = await trio.to_thread.run_sync(partial(known_types, dirs, slugs))
    recorded = {slug: data for slug, data in registered.items() if slug in slugs or slug not in types.all}
    recorded |= {agent.type: agent.definition for agent in agents if agent.type in slugs}
    types = with_agents(types, {slug: Definition.from_dict(data) for slug, data in recorded.items()})
    names = frozenset(row.id for row in await context.rows(context.views.workflows))
    guarded = types.in_failsafe(context.settings.failsafe_mode)
    return Surroundings(targets, types.all, types.silent, types.resuming, stored, names, guarded)
