"""Ends of attempts and of rounds: what they mean for the instance, and for the loop."""

from __future__ import annotations

from typing import NamedTuple

from maestro.model.facts import BlobRef, Text
from maestro.model.facts.workflow import LoopTurned, StepEnded, WorkflowRunFinished
from maestro.model.outcome import exit_code_of
from maestro.model.workflow.definition import Step
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.run import LINKS, Run

UNTRIED = frozenset({"template", "spawn_error", "cancelled", "restore"})
"""Outcomes that no new attempt of the same agent can mend."""
_OUTCOMES = {"completed": "ok", "cancelled": "cancelled", "timed_out": "timeout"}
NO_FILES: dict[str, BlobRef] = {}


class End(NamedTuple):
    """How an attempt ended, as its task or child tells; the fields of that name of `StepEnded`."""

    status: str
    outcome: str = ""
    why: str = ""
    tokens: int = 0
    cost: float = 0.0
    exit_code: int | None = None
    agent: str = ""
    session: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    output: Text = ""
    result: Text = ""
    check: Text = ""
    error: str = ""
    files: dict[str, BlobRef] = NO_FILES


def ended(run: Run, instance: Instance, end: End, now: int) -> StepEnded:
    """What the end of an attempt means for its instance: it has ended, or another attempt follows."""
    following, at = "", 0
    goes_on = instance.id not in run.dropped and (not run.ends_as or run.admits(instance.step))
    if end.status not in ("completed", "skipped") and goes_on and instance.step not in run.failing:
        following, at = _next(run.steps[instance.step], instance, end, now)
    return StepEnded(run.id, instance.id, next=following, due=at, **end._asdict())


def exit_code(run: Run) -> tuple[int, str | None]:
    """The exit code of a run that has ended, and of the command that waited for it, with its source.

    It is that of the first agent that failed, in the order of the steps, in child runs too: `agent`; else `maestro`
    tells it.
    """
    place = {step: at for at, step in enumerate(run.graph.order)}
    failed = [one for one in run.instances.values() if one.status in ("failed", "timed_out") and one.id in run.told]
    codes = [run.told[one.id].exit_code for one in sorted(failed, key=lambda one: place[one.step])]
    found = next((code for code in codes if code), None)
    code = exit_code_of(run.status, found)
    return code, None if not code else "agent" if code == found else "maestro"


def ended_child(
    run: Run, instance: Instance, finished: WorkflowRunFinished, usage: tuple[int, float], code: int | None = None
) -> End:
    """The end of an attempt that was a run of another workflow. usage: tokens and cost of that run; code: its exit
    code, where it is that of an agent or of a timeout.
    """
    good = finished.status == "completed"
    why = (
        "" if good else f"run {finished.run} of {run.steps[instance.step].workflow}: {finished.why or finished.status}"
    )
    outcome = finished.outcome or _OUTCOMES.get(finished.status, "exit")
    return End(finished.status, outcome, why, usage[0], usage[1], code, result=finished.result)


def _next(step: Step, instance: Instance, end: End, now: int) -> tuple[str, int]:
    """What follows a failed attempt, and when: `agent`, `retry` or ""."""
    if end.outcome in LINKS and instance.link + 1 < len(step.agents):
        return "agent", now
    retry = step.retry
    if end.status == "cancelled" or end.outcome in UNTRIED or instance.retries >= retry.max:
        return "", 0
    delay = min(float(retry.backoff) * 2.0 ** min(instance.retries, 60), float(retry.max_delay))
    return "retry", now + int(delay * 1000)


def turned(run: Run, step: str, until: bool) -> LoopTurned:
    """The end of a round whose `until` was evaluated."""
    activation = run.current[step]
    again = run.steps[step].again
    assert again is not None
    if until:
        return LoopTurned(run.id, step, activation.round, again=False, outcome="ok")
    more = run.turns[step] < again.max
    return LoopTurned(run.id, step, activation.round, again=more, outcome="" if more else "no_convergence")
