"""Dispatches of attempts: each attempt of a step is a task, dispatched in one append with the start of the step."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from maestro.model.dispatch import DispatchState, decide_dispatch
from maestro.model.errors import Invalid
from maestro.model.events import NewEvent, StepStarted, TaskDispatched
from maestro.model.target import who
from maestro.model.workflow.definition import Step
from maestro.model.workflow.files import brought, left
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.overrides import stands_in, target_of
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.ids import id_of_key
from maestro.runtime.scheduler.workflows.evaluation import Evaluation, Rendered, Scope
from maestro.runtime.scheduler.workflows.live_run import LiveRun

TITLE_CHARS_MAX = 120


class Dispatches:
    """Makes the tasks of attempts."""

    def __init__(self, context: Context, follower: Follower, evaluation: Evaluation) -> None:
        self._context = context
        self._follower = follower
        self._evaluation = evaluation

    async def events(self, live: LiveRun, instance: Instance, _kind: str) -> list[NewEvent]:
        """The start of an attempt and the dispatch of its task.

        Raises TemplateFailed; NotFound and Refused where no agent may take it.
        """
        run, step = live.run, live.run.steps[instance.step]
        attempt = instance.attempts + 1
        scope = Scope(run, step.id, instance.id)
        told = await self._told(scope, step, instance)
        verify = await self._evaluation.text(scope._replace(key="verify"), step.verify, "script")
        target = target_of(run, instance)
        task = id_of_key(self._context.settings.namespace, f"workflow-run:{run.id}/{instance.id}/{attempt}")
        is_stand_in = stands_in(target)
        wanted = TaskDispatched(
            task=task,
            prompt="",
            title=_title(str(told.value)),
            targets=(target,),
            priority=step.priority if step.priority is not None else run.fact.priority,
            timeout_s=step.timeout,
            trace=run.fact.trace,
            verify="" if is_stand_in and "*" in run.fact.overrides else str(verify.value),
            workflow=run.id,
            step=instance.id,
            root=run.fact.root,
            command=step.shell if step.kind == "run" and not is_stand_in else "",
            place=_place(step, is_stand_in),
            node=run.fact.node,
            folder=run.fact.folder,
            alone=step.snapshot or step.retry.workspace == "restore",
            env=await self._env(scope, step),
            answer_schema=step.answer_schema,
            session=instance.session if step.retry.resume and instance.retries else "",
            leaves=() if is_stand_in else left(run.workflow, step.id),
            brings=brought(run, step, instance),
        )
        decided = self._decided(wanted)
        kept = await self._context.keep(str(told.value))
        tasks = [
            msgspec.structs.replace(one, fact=msgspec.structs.replace(one.fact, prompt=kept))
            if isinstance(one.fact, TaskDispatched)
            else one
            for one in decided
        ]
        start = StepStarted(run.id, instance.id, attempt, task, "", target, kept, told.read | verify.read)
        return [NewEvent(f"workflow-run:{run.id}", start), *tasks]

    async def _told(self, scope: Scope, step: Step, instance: Instance) -> Rendered:
        """The prompt or command of an attempt. Raises TemplateFailed, also where it is empty."""
        retry = step.retry
        text = retry.prompt if retry.prompt and instance.retries else step.run or step.prompt
        key = "retries.prompt" if text is retry.prompt else "run" if step.run else "prompt"
        told = await self._evaluation.text(scope._replace(key=key), text, "script" if step.run else "text")
        if not told.value or told.value.isspace():
            raise Invalid("the prompt is empty", f"step {step.id}")
        return told

    async def _env(self, scope: Scope, step: Step) -> dict[str, str]:
        values = {**scope.run.workflow.env, **step.env}
        found = {}
        for name, text in values.items():
            found[name] = str((await self._evaluation.text(scope._replace(key=f"env.{name}"), text)).value)
        return found

    def _decided(self, wanted: TaskDispatched) -> Sequence[NewEvent]:
        """The dispatch as any other is decided, on the plan."""
        plan = self._follower.plan
        agents = [agent for target in wanted.targets for agent in plan.crew.candidates(who(target))]
        return decide_dispatch(wanted, DispatchState(agents, (), None, plan.nodes, self._context.node, plan.floor))


def _title(text: str) -> str:
    """The first line of a prompt, shortened."""
    line = "".join(c if c.isprintable() else " " for c in text.strip().splitlines()[0])[: TITLE_CHARS_MAX + 1]
    return line if len(line) <= TITLE_CHARS_MAX else line[: TITLE_CHARS_MAX - 1] + "…"


def _place(step: Step, is_stand_in: bool) -> str:
    """Where an attempt works; what stands in for an agent touches no workspace but the run's."""
    if is_stand_in:
        return "run"
    return "" if step.kind == "run" and step.place != "run" else step.place
