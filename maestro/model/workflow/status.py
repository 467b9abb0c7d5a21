"""The status of a run as its users get it: each instance, what it waits for, since when; steps that wait for others.

Ready for JSON. Costs what it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from maestro.model.facts import BlobRef, Text
from maestro.model.workflow.definition import Step
from maestro.model.workflow.instances import ENDED, Activation, Instance, instance_id
from maestro.model.workflow.run import Run

INLINE_MAX = 1024
"""Characters of a result that a status shows."""
PERMISSION = "permission"
"""What a step waits for that runs, and whose agent asks leave for something."""
Row = dict[str, Any]


class Surroundings(msgspec.Struct, frozen=True):
    """What surrounds a run at a time. now: ms; when: how a time in ms is written.

    held: `pause` or `budget` where a run above it is so; holder: the run that it waits for in its group. tasks: what
    tasks of its instances wait for that do not run yet, by task: `agent`, `slot`, `group` …, and since when, ms;
    reasons: the same in words, by task. idle: why no node takes work, "" where one does. usage: of what works now, by
    task or child run. held_at: since when the run above is so, ms, 0 for unknown. asking: what the agent of a task that
    runs asks leave for, in words, and since when, ms.
    """

    now: int
    when: Callable[[int], str | None]
    held: str = ""
    holder: str = ""
    tasks: Mapping[str, tuple[str, int]] = {}
    reasons: Mapping[str, str] = {}
    idle: str = ""
    usage: Mapping[str, Mapping[str, Any]] = {}
    held_at: int = 0
    asking: Mapping[str, tuple[str, int]] = {}


def status_of(run: Run, around: Surroundings) -> Row:
    """A run with all its steps."""
    fact, budget = run.fact, run.workflow.budget
    row: Row = {
        "id": run.id,
        "workflow": fact.workflow,
        "version": fact.version,
        "title": run.workflow.name or None,
        "status": run.status,
        "why": run.why or _held_why(fact.group, around),
        "paused": run.paused or None,
        "idle": around.idle or None,
        "params": fact.params,
        "parent": fact.parent or None,
        "resumed_from": fact.resumed_from or None,
        "group": fact.group or None,
        "started_at": around.when(run.started_at),
        "ended_at": around.when(run.ended_at),
        "usage": {
            "tokens": run.tokens, "input_tokens": run.input_tokens, "output_tokens": run.output_tokens, "cost": run.cost
        },
        "budget": None,
    }  # fmt: skip
    if budget is not None:
        limits = {"tokens": run.tokens_max or None, "cost": run.cost_max or None}
        row["budget"] = {**limits, "on_exceeded": budget.on_exceeded}
    row |= _text("result", run.result)
    row["steps"] = list(steps_of(run, around))
    return row


def _held_why(group: str, around: Surroundings) -> str | None:
    """Why a run as a whole does not go on, though it was not paused itself."""
    if around.held:
        return "a run above it is paused" if around.held == "pause" else "a run above it is over its budget"
    return f"run {around.holder} has the group {group}" if around.holder else None


def steps_of(run: Run, around: Surroundings) -> Iterator[Row]:
    """A row for each instance in the order of the steps, and one for each step that has none yet."""
    by_step: dict[str, list[Instance]] = {step: [] for step in run.steps}
    for one in run.instances.values():
        by_step[one.step].append(one)
    for step, instances in by_step.items():
        instances.sort(key=lambda one: (one.round, -1 if one.item is None else one.item))
        for one in instances:
            yield instance_row(run, one, around)
        activation = run.current[step]
        if not any(one.round == activation.round for one in reversed(instances)):
            yield _step_row(run, activation, around)


def instance_row(run: Run, one: Instance, around: Surroundings) -> Row:
    """The row of an instance."""
    step, told = run.steps[one.step], run.told.get(one.id)
    status, waiting_for, since = _state(run, one, around)
    outcome, why = one.outcome, one.why
    last = run.current[one.step]
    if last.outcome and last.round == one.round and one.item is None:  # its loop found no end
        status, outcome, why = "failed", last.outcome, last.why or _not_true(run, step)
    row: Row = {
        "id": one.id,
        "step": one.step,
        "round": one.round,
        "item": one.item,
        "status": status,
        "waiting_for": waiting_for or None,
        **_reason(waiting_for, around, one.task if one.id in run.working else ""),
        "since": around.when(since),
        "agent": named(one.agent),
        "attempt": one.attempts,
        "attempts_max": 1 + step.retry.max + one.link,
        "outcome": outcome or None,
        "why": why or None,
        "task": one.task or None,
        "reused": run.fact.resumed_from if one.id in run.fact.reused else None,
        "child": one.child or None,
        "due": around.when(one.due or (one.until if waiting_for == "approval" else 0)),
        "started_at": around.when(one.started_at),
        "ended_at": around.when(one.ended_at),
        "usage": {
            "tokens": one.tokens, "input_tokens": one.input_tokens, "output_tokens": one.output_tokens, "cost": one.cost
        },
        "exit_code": told.exit_code if told is not None else None,
    }  # fmt: skip
    now = around.usage.get(one.child or one.task) if one.id in run.working else None
    if now is not None:
        row["usage"] = {key: value + now.get(key, 0) for key, value in row["usage"].items()}
    if told is not None:
        row |= _text("result", told.result) | _text("check", told.check)
        row["error"] = told.error or None
    if one.approval is not None:
        row["prompt"] = one.approval
        row |= _answer(run, one, around)
    return row


def _not_true(run: Run, step: Step) -> str:
    """Why a loop failed that had all its rounds."""
    return f"after {run.turns[step.id]} rounds `{step.again.until}` is not true" if step.again is not None else ""


def _answer(run: Run, one: Instance, around: Surroundings) -> Row:
    """Who answered the approval of an instance, or of all items of its step."""
    answer = run.answers.get(instance_id(one.step, one.round))
    if answer is None:
        return {}
    by = {"by": answer.actor or None, "at": around.when(answer.at), "timed_out": answer.timed_out}
    return {"answer": {"approved": answer.approved, "reason": answer.reason or None, **by}}


def _step_row(run: Run, activation: Activation, around: Surroundings) -> Row:
    """The row of a step that has no instance in its present round: it waits for others, or never began."""
    status, waiting_for, needs = activation.status, "", list[str]()
    step, why = activation.step, ""
    if not activation.done:
        status = "waiting"
        needs = list(unfinished(run, step))
        waiting_for = "needs" if activation.status == "waiting" else _blocked(run, around) or "slot"
        if step in run.graph.handlers and step not in run.called:
            why = _called_when(run, step)
    return {
        "id": instance_id(step, activation.round),
        "step": step,
        "round": activation.round,
        "item": None,
        "status": status,
        "waiting_for": waiting_for or None,
        **_reason(waiting_for, around),
        "since": around.when(activation.since),
        "why": why or activation.why or None,
        "outcome": activation.outcome or None,
        **({"needs": needs} if waiting_for == "needs" else {}),
    }


def _called_when(run: Run, step: str) -> str:
    """When a step runs that others do not lead to."""
    if step == run.workflow.final:
        return "runs at the end"
    of = [one.id for one in run.workflow.steps if one.on_failure == step]
    return f"runs only after a failure of {', '.join(of)}" if of else "runs only after a failure"


def _reason(waiting_for: str, around: Surroundings, task: str = "") -> Row:
    """What is waited for, in words, where the word for it leaves open why."""
    told = around.reasons.get(task, "") if waiting_for in ("agent", "slot") else ""
    told = told or (around.asking[task][0] if waiting_for == PERMISSION else "")
    told = told or (around.idle if waiting_for in ("agent", "slot", "retry") else "")
    return {"reason": told} if told else {}


def unfinished(run: Run, step: str) -> Iterator[str]:
    """The needs of a step that have not ended well, or whose loop has not."""
    for need in run.graph.needs[step]:
        inside, status = run.loops_of.get(need, ()), run.current[need].status
        loops_on = any(end not in run.turned and step not in run.graph.loops[end].body for end in inside)
        is_well = status in ("completed", "skipped") or (status in ENDED and run.steps[need].on_failure == "continue")
        if loops_on or not is_well:
            yield need


def _state(run: Run, one: Instance, around: Surroundings) -> tuple[str, str, int]:
    """What an instance does: its status, what it waits for, since when."""
    if one.id in run.working:
        if one.child:
            return "waiting", "child", one.since
        waits = around.tasks.get(one.task)
        if waits is None and (asked := around.asking.get(one.task)) is not None:
            return "running", PERMISSION, asked[1]
        if waits is None:
            return "running", "", one.since
        return "waiting", _blocked(run, around) or waits[0], waits[1]
    if one.ended:
        return one.status, "", one.since
    if one.waiting_for in ("approval", "restore"):
        return "waiting", one.waiting_for, one.since
    if one.due > around.now and one.waiting_for == "retry":
        return "waiting", "retry", one.since
    blocked = _blocked(run, around)
    if not blocked and one.id not in run.prepared and run.room(one.step) <= 0:
        blocked = "items"
    return "waiting", blocked or "slot", one.since


def _blocked(run: Run, around: Surroundings) -> str:
    """Why nothing new starts in a run; "" where something may."""
    if run.status == "queued":
        return "group"
    if run.paused:
        return "budget" if run.paused == "budget" else "pause"
    return around.held


def named(agent: str) -> str | None:
    """An agent as users know it: those that are always there have a dot before their name."""
    return agent.removeprefix(".") or None


def _text(key: str, text: Text) -> Row:
    """A text, or the blob that has it; a long one is cut."""
    if isinstance(text, BlobRef):
        return {key: None, f"{key}_blob": text.blob, f"{key}_size": text.size}
    if len(text) > INLINE_MAX:
        return {key: text[: INLINE_MAX - 1] + "…", f"{key}_size": len(text.encode())}
    return {key: text or None}


def step_states(run: Run) -> dict[str, str]:
    """By step, how it is in its newest round, and how many of its items have ended: for drawings."""
    found: dict[str, str] = {}
    for step, one in run.current.items():
        found[step] = one.status if one.done else "running" if one.taken or one.retrying else "waiting"
        if (step, one.round) in run.sizes and one.total:
            failed = f", {one.failed} failed" if one.failed else ""
            found[step] += f" {one.ended}/{one.total}{failed}"
    return found
