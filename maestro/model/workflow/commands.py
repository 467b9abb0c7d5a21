"""What people ask of a run: to answer an approval, to stop, to pause, to go on. From the run to facts, or why not.

Asked for twice, a thing is done once: the second time there are no facts, and a note says what is so already.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.facts.workflow import (
    StepApproved,
    WorkflowRunEnding,
    WorkflowRunPaused,
    WorkflowRunResumed,
)
from maestro.model.ids import nearest, shown
from maestro.model.workflow.decide import Usage, over_budget
from maestro.model.workflow.folding.run_state import Answer
from maestro.model.workflow.instances import instance_id, parse_instance
from maestro.model.workflow.run import Run

RunFact = StepApproved | WorkflowRunEnding | WorkflowRunPaused | WorkflowRunResumed


class Decided(msgspec.Struct, frozen=True):
    """What is to be told, () for nothing; note: what is so already; instance: which one is meant."""

    facts: tuple[RunFact, ...] = ()
    note: str = ""
    instance: str = ""


def decide_approval(
    run: Run, name: str, approved: bool, reason: str = "", when: Callable[[int], str | None] = str
) -> Decided:
    """Answer an approval. name: a step, which is its round that waits, else the newest; or an instance.

    when: how a time in ms is written. The same answer twice is a note. Raises NotFound for an unknown step, Refused
    where it was answered otherwise, does not wait yet, or asks nobody.
    """
    step, round = _asked(run, name)
    id = instance_id(step, round)
    answer = run.answers.get(id)
    word = "approved" if approved else "rejected"
    if answer is not None:
        said = _said(id, answer, when)
        if answer.approved == approved:
            return Decided(note=said, instance=id)
        raise Refused(f"{said}, and cannot be {word} now")
    if run.ended or run.ends_as:
        raise Refused(f"run {run.id} {_has_ended(run)}, and {id} was not answered before")
    if step not in run.asking or run.current[step].round != round:
        mend = "it waits for: " + ", ".join(run.asking) if run.asking else f"maestro workflow status {run.id}"
        raise Refused(f"step {id} does not wait for an answer yet", mend=mend)
    return Decided((StepApproved(run.id, id, approved, reason),), instance=id)


def _asked(run: Run, name: str) -> tuple[str, int]:
    """The step and the round that a name means. Raises NotFound, Refused."""
    parsed = parse_instance(name)
    asks = [step.id for step in run.workflow.steps if step.approval]
    if parsed is None or parsed[0] not in run.steps:
        near = nearest(parsed[0] if parsed else name, list(run.steps))
        mend = f"did you mean {' or '.join(near)}?" if near else "the steps are " + ", ".join(list(run.steps)[:20])
        raise NotFound(f"run {run.id} has no step {shown(name)}", mend=mend)
    step, round, item = parsed
    if step not in asks:
        mend = "these do: " + ", ".join(asks) if asks else "none of this workflow does"
        raise Refused(f"step {step} asks nobody", mend=mend)
    now = run.current[step].round
    if item is not None:
        raise Refused(f"step {step} asks once for all its items", mend=f"name it {instance_id(step, now)}")
    if "#" in name:
        return step, round
    while now > 1 and step not in run.asking and instance_id(step, now) not in run.answers:
        now -= 1
    return step, now if step in run.asking or instance_id(step, now) in run.answers else run.current[step].round


def _said(id: str, answer: Answer, when: Callable[[int], str | None]) -> str:
    word = "approved" if answer.approved else "rejected"
    by = "by its timeout" if answer.timed_out else f"by {answer.actor or 'somebody'}"
    return f"{id} was {word} {by} at {when(answer.at)}" + (f": {answer.reason}" if answer.reason else "")


def _has_ended(run: Run) -> str:
    return f"has ended: {run.status}" if run.ended else f"is about to end: {run.ends_as}"


def decide_stop(run: Run, why: str = "asked") -> Decided:
    """Cancel what works, and mark the run cancelled; what was called before is cancelled too, `finally` still runs.

    Raises Refused where the run has ended.
    """
    if run.ended:
        raise Refused(f"run {run.id} {_has_ended(run)}")
    if run.ends_as == "cancelled" and run.stops and run.cut == frozenset(run.called):
        return Decided(note=f"run {run.id} is being stopped already")
    return Decided((WorkflowRunEnding(run.id, "cancelled", why, stops=True),))


def decide_pause(run: Run) -> Decided:
    """Start nothing new. Raises Refused where the run has ended, or is about to."""
    if run.ended or run.ends_as:
        raise Refused(f"run {run.id} {_has_ended(run)}")
    if run.paused == "asked":
        return Decided(note=f"run {run.id} is paused already")
    return Decided((WorkflowRunPaused(run.id),))  # over one that the budget made, as it is asked for now


def decide_resume(run: Run, tokens: int = 0, cost: float = 0.0, usage: Usage = (0, 0.0)) -> Decided:
    """Go on, with so much added to the budget. usage: of what works now.

    Raises Refused where the run has ended, or has used up its budget and still has with the addition; Invalid for an
    addition to a budget that it does not have.
    """
    if run.ended:
        raise Refused(f"run {run.id} {_has_ended(run)}")
    for added, most, name in ((tokens, run.tokens_max, "tokens"), (cost, run.cost_max, "cost")):
        if added < 0 or added != added or added == float("inf"):
            raise Invalid(f"{name}={added:g} is no addition", "--add-budget", "give a number above 0")
        if added and not most:
            raise Invalid(
                f"run {run.id} has no budget of {name}", "--add-budget", "it has no limit there; leave it out"
            )
    if not run.paused and not (tokens or cost):
        return Decided(note=f"run {run.id} is not paused")
    if run.paused or over_budget(run, usage):
        _check_above(run, tokens, cost, usage)
    return Decided((WorkflowRunResumed(run.id, tokens, cost),))


def _check_above(run: Run, tokens: int, cost: float, usage: Usage) -> None:
    """Raise Refused where a budget is used up, and still is with an addition."""
    spent = run.tokens + usage[0], run.cost + usage[1]
    wanted: list[str] = []
    if run.tokens_max and spent[0] >= run.tokens_max + tokens:
        wanted.append(f"tokens={spent[0] - run.tokens_max + 1}")
    if run.cost_max and spent[1] >= run.cost_max + cost:
        wanted.append(f"cost={spent[1] - run.cost_max + 0.01:.2f}")
    if wanted:
        mend = f"add more than that: maestro workflow resume {run.id} --add-budget {','.join(wanted)}"
        raise Refused(f"run {run.id}: {over_budget(run, usage)}", mend=mend)


def addition(run: Run, usage: Usage = (0, 0.0)) -> str:
    """What `resume --add-budget` takes for a run to go on: what it has spent too much, and the budget once more.

    "" where none of its budgets is used up. usage: of what works now.
    """
    tokens, cost = run.tokens + usage[0], run.cost + usage[1]
    wanted: list[str] = []
    if run.tokens_max and tokens >= run.tokens_max:
        wanted.append(f"tokens={tokens}")
    if run.cost_max and cost >= run.cost_max:
        wanted.append(f"cost={cost + 0.01:.2f}")
    return ",".join(wanted)
