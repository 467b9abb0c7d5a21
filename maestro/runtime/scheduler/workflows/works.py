"""The works that a run asks for: evaluate what a step needs, begin an attempt of an instance, end a round."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.errors import MaestroError
from maestro.model.events import AnyFact, NewEvent, StepReadied
from maestro.model.workflow.decide import Work
from maestro.model.workflow.definition import Approval, Step
from maestro.model.workflow.folding.endings import End, ended, turned
from maestro.model.workflow.template import TemplateFailed
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.workflows.children import Children
from maestro.runtime.scheduler.workflows.dispatches import Dispatches
from maestro.runtime.scheduler.workflows.evaluation import Evaluation, Scope
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns
from maestro.runtime.scheduler.workflows.wishes import Wishes

ITEMS_MAX = 10_000


class Works:
    """Does the work of runs. Each answers with the events that tell it."""

    def __init__(self, context: Context, follower: Follower, runs: LiveRuns, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._dispatches = Dispatches(context, follower, evaluation)
        self._children = Children(context, follower, runs, evaluation)
        self._wishes = Wishes(follower)

    async def do(self, live: LiveRun, work: Work, now: int) -> list[NewEvent]:
        """The events of one piece of work; what fails is told as the end of its instance, or the step's."""
        match work.kind:
            case "ready":
                return [_of(live, await self._ready(live, live.run.steps[work.subject], now))]
            case "turn":
                return [_of(live, await self._turn(live, live.run.steps[work.subject]))]
            case "archive" | "restore":
                return await self._attempted(live, work, now, self._wishes.events)
        step = live.run.steps[live.run.instances[work.subject].step]
        begin = self._children.events if step.kind == "workflow" else self._dispatches.events
        return await self._attempted(live, work, now, begin)

    async def _attempted(self, live: LiveRun, work: Work, now: int, begin: Any) -> list[NewEvent]:
        """What begins an attempt; or its end, where it cannot begin."""
        instance = live.run.instances[work.subject]
        try:
            return list(await begin(live, instance, work.kind))
        except TemplateFailed as error:
            end = End("failed", "template", error.what)
        except MaestroError as error:
            mend = error.mend.partition("; --force")[0]  # a step has no options
            end = End("failed", _outcome(error), f"{error.what}; {mend}" if mend else error.what)
        return [_of(live, ended(live.run, instance, end, now))]

    async def _ready(self, live: LiveRun, step: Step, now: int) -> StepReadied:
        """Evaluate what decides whether a step runs, for which items, and who is asked first."""
        run = live.run
        fact = StepReadied(run.id, step.id, run.current[step.id].round)
        scope = Scope(run, step.id)
        try:
            if not (await self._when(scope, step)):
                return msgspec.structs.replace(fact, verdict="skip", why=f"when: {step.when}")
            items = await self._items(scope, step)
            asked = await self._question(scope, step)
        except TemplateFailed as error:
            return msgspec.structs.replace(fact, verdict="fail", why=error.what)
        approval = step.approval
        limit = approval.timeout if isinstance(approval, Approval) else None
        until = 0 if asked is None or limit is None else now + int(limit * 1000)
        return msgspec.structs.replace(fact, items=items, approval=asked, until=until)

    async def _when(self, scope: Scope, step: Step) -> bool:
        if isinstance(step.when, bool):
            return step.when
        return bool((await self._evaluation.value(scope._replace(key="when"), step.when)).value)

    async def _items(self, scope: Scope, step: Step) -> list[Any] | None:
        if step.for_each is None:
            return None
        if isinstance(step.for_each, str):
            items = (await self._evaluation.value(scope._replace(key="for_each"), step.for_each)).value
        else:
            items = await self._evaluation.tree(scope._replace(key="for_each"), list(step.for_each))
        if not isinstance(items, list):
            raise TemplateFailed(f"for_each gives {_kind(items)}, no list")
        if len(items) > ITEMS_MAX:
            raise TemplateFailed(f"for_each gives {len(items)} items, more than {ITEMS_MAX}")
        return items

    async def _question(self, scope: Scope, step: Step) -> str | None:
        if not step.approval:
            return None
        text = step.approval.prompt if isinstance(step.approval, Approval) else ""
        return str((await self._evaluation.text(scope._replace(key="approval.prompt"), text)).value)

    async def _turn(self, live: LiveRun, step: Step) -> AnyFact:
        """Whether a loop has come to its end; one whose `until` cannot be evaluated has failed."""
        assert step.again is not None
        try:
            value = (await self._evaluation.value(Scope(live.run, step.id, key="until"), step.again.until)).value
        except TemplateFailed as error:
            fact = turned(live.run, step.id, until=False)
            return msgspec.structs.replace(fact, again=False, outcome="template", why=error.what)
        return turned(live.run, step.id, bool(value))


def _of(live: LiveRun, fact: AnyFact) -> NewEvent:
    return NewEvent(f"workflow-run:{live.id}", fact)


def _outcome(error: MaestroError) -> str:
    """Why an attempt could not begin: there is no such agent, or it takes nothing."""
    return "unhealthy" if error.exit_code == 4 else "spawn_error"


def _kind(value: Any) -> str:
    names = {str: "a text", dict: "a mapping", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing" if value is None else "something else")
