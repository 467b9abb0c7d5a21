"""Ends of attempts: what the end of a task, or of a child run, is to the step that it was an attempt of."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.events import NewEvent, WorkflowRunFinished
from maestro.model.state import decide_set
from maestro.model.task import Task
from maestro.model.workflow.folding.endings import End, ended, ended_child, exit_code
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.template import TemplateFailed
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.workflows.attempts import runs_of
from maestro.runtime.scheduler.workflows.evaluation import Evaluation
from maestro.runtime.scheduler.workflows.live_run import LiveRun


class Endings:
    """Tells the ends of attempts."""

    def __init__(self, follower: Follower, evaluation: Evaluation) -> None:
        self._follower = follower
        self._evaluation = evaluation

    async def events(self, live: LiveRun, now: int) -> list[NewEvent]:
        """The ends of all attempts that have ended and are not told yet, each with the state that its step sets."""
        found: list[NewEvent] = []
        for id, row in list(live.ends.items()):
            one = live.run.instances.get(id)
            if one is not None and id in live.run.working and one.task == row.id:
                found += await self._of(live, one, end_of(row), now)
            elif not live.is_ahead:  # else the log may refuse what was foreseen of it
                del live.ends[id]
        for id, child in list(live.child_ends.items()):
            one = live.run.instances.get(id)
            if one is not None and id in live.run.working and one.child == child.id:
                finished = WorkflowRunFinished(child.id, child.status, child.outcome, child.why, child.result)
                code, source = exit_code(child)
                told = code if source == "agent" or child.status == "timed_out" else None
                end = ended_child(live.run, one, finished, (child.tokens, child.cost), told)
                found += await self._of(live, one, end, now)
            elif not live.is_ahead:
                del live.child_ends[id]
        return found

    async def _of(self, live: LiveRun, instance: Instance, end: End, now: int) -> list[NewEvent]:
        """The end of one attempt. One whose outputs are not in its JSON has failed."""
        outputs = live.run.steps[instance.step].outputs
        state: list[NewEvent] = []
        if end.status == "completed" and outputs:
            try:
                state = await self._outputs(outputs, end.result)
            except TemplateFailed as error:
                end = end._replace(status="failed", outcome="template", why=f"outputs: {error.what}")
        return [NewEvent(f"workflow-run:{live.id}", ended(live.run, instance, end, now)), *state]

    async def _outputs(self, outputs: dict[str, str], result: Any) -> list[NewEvent]:
        answer = await self._evaluation.json(result)
        found: list[NewEvent] = []
        for key, name in outputs.items():
            if not isinstance(answer, dict) or name not in answer:
                raise TemplateFailed(f"the answer has no `{name}`")
            value = answer[name]
            found += decide_set(key, value if isinstance(value, str) else msgspec.json.encode(value).decode())
        return found


def end_of(row: Task) -> End:
    """How an attempt ended, as its task tells: what it told is that of its last run, what it used that of all."""
    runs = runs_of(row)
    why = row.reason or (runs[-1].evidence if runs else "")
    end = End(row.status, row.outcome, why, exit_code=row.exit_code)
    if not runs:
        return end
    last = runs[-1]
    inputs, outputs = sum(run.input_tokens for run in runs), sum(run.output_tokens for run in runs)
    return end._replace(
        tokens=inputs + outputs,
        cost=sum(run.cost for run in runs),
        agent=last.agent,
        session=last.session,
        input_tokens=inputs,
        output_tokens=outputs,
        output=last.output,
        result=last.result,
        check=last.check,
        error=last.error,
        files=last.files,
    )
