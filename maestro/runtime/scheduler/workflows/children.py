"""Child runs: what a step with `workflow` starts, and what the end of that run is to the step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from maestro.model.errors import NotFound
from maestro.model.events import NewEvent, StepStarted
from maestro.model.workflow.files import brought
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.run import Run
from maestro.model.workflow.stored.params import from_texts, merged
from maestro.model.workflow.stored.starting import Pinned, Place, Target, Wish, canonical, start_of
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.ids import id_of_key
from maestro.runtime.scheduler.workflows.evaluation import Evaluation, Scope
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns

DEFINITION_INLINE_MAX = 1024
"""Bytes that a definition may have in the event of a run; runs of one version share the blob of a larger one."""


_pinned = msgspec.json.Decoder(dict[str, Pinned])


class Children:
    """Starts child runs."""

    def __init__(self, context: Context, follower: Follower, runs: LiveRuns, evaluation: Evaluation) -> None:
        self._context = context
        self._follower = follower
        self._runs = runs
        self._evaluation = evaluation

    async def events(self, live: LiveRun, instance: Instance, _kind: str) -> list[NewEvent]:
        """The start of an attempt with that of its run. Raises TemplateFailed, Invalid."""
        run, step = live.run, live.run.steps[instance.step]
        attempt = instance.attempts + 1
        pinned = _pinned.decode(await self._context.content(run.fact.children) or b"{}").get(step.workflow)
        if pinned is None:
            raise NotFound(f"workflow {step.workflow} was not there when run {run.id} started")
        workflow = pinned.definition
        scope = Scope(run, step.id, instance.id)
        given = await self._evaluation.tree(scope._replace(key="with"), step.params)
        id = id_of_key(self._context.settings.namespace, f"workflow-run:{run.id}/{instance.id}/{attempt}")
        definition = await self._context.keep(canonical(workflow), DEFINITION_INLINE_MAX)
        params = merged(workflow, from_texts(workflow, _texts(given), "with") | _others(given), "with")
        target = Target(step.workflow, pinned.version, workflow, definition, {})
        place = Place(run.fact.node, str(PurePosixPath(run.fact.folder).parent / id))
        priority = step.priority if step.priority is not None else run.fact.priority
        wish = Wish(priority, run.fact.trace, overrides=run.fact.overrides)
        group = await self._group(live, Run(start_of(id, target, params, "", place, wish), 0, workflow))
        fact = msgspec.structs.replace(
            start_of(id, target, params, group, place, wish),
            children=run.fact.children,
            parent=run.id,
            instance=instance.id,
            root=run.fact.root or run.id,
            timeout_s=step.timeout or 0.0,
            brings=brought(run, step, instance),
        )
        start = StepStarted(run.id, instance.id, attempt, "", id, read={})
        return [
            NewEvent(f"workflow-run:{run.id}", start),
            NewEvent(f"workflow-run:{id}", fact, self._follower.plan.floor),
        ]

    async def _group(self, live: LiveRun, child: Run) -> str:
        """The group of a child, "" for none: one that a run above it holds is shared."""
        concurrency = child.workflow.concurrency
        if concurrency is None:
            return ""
        group = str((await self._evaluation.text(Scope(child, "", key="concurrency.group"), concurrency.group)).value)
        held = {above.run.fact.group for above in (live, *self._runs.parents(live))}
        return "" if group in held else group


def _texts(given: Mapping[str, Any]) -> dict[str, str]:
    """The values that are texts: each is read as its var's default asks for."""
    return {name: value for name, value in given.items() if isinstance(value, str)}


def _others(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if not isinstance(value, str)}
