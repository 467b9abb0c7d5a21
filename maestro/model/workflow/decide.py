"""What happens next in a run: facts that follow by themselves, and work that must be done before a fact can be told.

Pure: the same run, time and surroundings give the same answer. What is *work* (evaluating a template, starting an
attempt, cancelling one, archiving a workspace) is done by the scheduler, which then tells the fact that it makes:
`StepReadied`, `StepStarted`, what `turned` and `ended` give, a wish to a node. `busy` is work under way, so that
nothing is asked for twice: the `start` of what works is under way as long as its task waits for its turn. At most LIMIT
pieces are asked for at once.

What surrounds a run: `usage`, the tokens and cost of what works now, child runs included, which its budget counts;
`held`, `pause` or `budget` where a run above it is paused or over its budget, so that nothing new starts and no time
runs out, and `held_ms`, how long that was so since it started, which its times do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from itertools import islice
from typing import Literal, NamedTuple

import msgspec

from maestro.model.facts.workflow import (
    HandlerCalled,
    LoopTurned,
    StepApproved,
    StepEnded,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunPaused,
)
from maestro.model.workflow.definition import Approval
from maestro.model.workflow.folding.run_state import Wish
from maestro.model.workflow.instances import instance_id
from maestro.model.workflow.run import Run

LIMIT = 64
Usage = tuple[int, float]


class Work(NamedTuple):
    """What must be done before the run goes on.

    kind: `ready` (evaluate `when`, `for_each`, the approval's question), `start` (render, and dispatch or start a
    child), `turn` (evaluate `until`), `cancel` (end what works), `archive` and `restore` (ask the node of the workspace
    for it, before an attempt). subject: a step for `ready` and `turn`, else an instance.
    """

    kind: Literal["ready", "start", "turn", "cancel", "archive", "restore"]
    subject: str


RunFact = (
    HandlerCalled | LoopTurned | StepApproved | StepEnded | WorkflowRunEnding | WorkflowRunFinished | WorkflowRunPaused
)


class Around(NamedTuple):
    """What surrounds a run, as above."""

    usage: Usage = (0, 0.0)
    held: str = ""
    held_ms: int = 0
    starts: bool = False


def decide(
    run: Run,
    now: int,
    busy: Set[Work] = frozenset(),
    usage: Usage = (0, 0.0),
    held: str = "",
    held_ms: int = 0,
) -> list[RunFact | Work]:
    """The next fact, alone in the list, or work to do; [] where the run waits."""
    if run.ended:
        return []
    fact = _fact(run, now, Around(usage, held, held_ms, any(work.kind == "start" for work in busy)))
    if fact is not None:
        return [fact]
    return list(islice((work for work in _work(run, now, held) if work not in busy), LIMIT))


def due(run: Run, now: int, held: str = "", held_ms: int = 0) -> int:
    """When `decide` has something new to say though nothing happens until then, ms; 0 for never."""
    if run.ended or run.status == "queued" or run.paused or held:
        return 0
    times: list[int] = []
    if run.deadlines.first is not None:
        times.append(run.deadlines.first + held_ms)
    if run.retries.first is not None:
        times.append(run.retries.first)
    limit = timeout_ms(run)
    if limit and run.ticks_since and not run.ends_as:
        times.append(now + max(0, limit + held_ms - run.spent_ms(now)))
    return min(times, default=0)


def timeout_ms(run: Run) -> int:
    """The timeout of the whole run, its own or that of the step that it is a child of; 0 for none."""
    limits = [float(limit) for limit in (run.workflow.timeout, run.fact.timeout_s) if limit]
    return int(min(limits) * 1000) if limits else 0


def _fact(run: Run, now: int, around: Around) -> RunFact | None:
    """What follows by itself."""
    if run.status == "queued":
        return WorkflowRunFinished(run.id, run.ends_as, "", run.why) if run.ends_as else None
    ending = None if run.ends_as else _ending(run, now, around)
    if ending is not None:
        return ending
    if not (run.paused or around.held):
        for step in run.deadlines.due(now - around.held_ms):
            return _answered_by_time(run, step)
    told = _cut_short(run)
    if told is not None or run.working:
        return told
    has_done_all = run.paused == "budget" and not run.left  # nothing is left that more would be spent on
    return _close(run) if has_done_all or not (run.paused or around.held) else None


def _ending(run: Run, now: int, around: Around) -> RunFact | None:
    """What ends a run that goes on, or pauses it."""
    waits = run.paused or around.held
    limit = timeout_ms(run)
    if limit and not waits and run.spent_ms(now) - around.held_ms >= limit:
        return WorkflowRunEnding(run.id, "timed_out", f"the run's timeout of {limit / 1000:g} s passed", stops=True)
    if run.failures and run.paused != "asked" and around.held != "pause":
        step = run.failures[0]
        return WorkflowRunEnding(run.id, "failed", f"step {step} failed", step)
    if waits or run.workflow.budget is None:
        return None
    over = over_budget(run, around.usage)
    new = run.ready or run.startable or run.retrying or run.prepared or (over and (around.starts or _has_children(run)))
    if over and run.workflow.budget.on_exceeded == "stop" and (new or run.working):
        return WorkflowRunEnding(run.id, "failed", over, stops=True)
    return WorkflowRunPaused(run.id, "budget") if over and new else None


def _has_children(run: Run) -> bool:
    """Whether child runs are on, which may start something new."""
    return any(run.instances[id].child for id in run.working)


def _answered_by_time(run: Run, step: str) -> StepApproved:
    approval = run.steps[step].approval
    approved = isinstance(approval, Approval) and approval.on_timeout == "approve"
    id = instance_id(step, run.current[step].round)
    return StepApproved(run.id, id, approved, "nobody answered in time", timed_out=True)


def _cut_short(run: Run) -> StepEnded | None:
    """The end of an instance that waits and will not go on: the run ends, another item failed, its workspace did."""
    for id, error in run.broken.items():
        return msgspec.structs.replace(_last(run, id), status="failed", outcome="restore", why=error)
    for id in run.dropped:
        return _last(run, id)
    for step in run.failing:
        activation = run.current[step]
        waiting = (*islice(activation.queue, 1), *islice(activation.retrying, 1))
        for id in (*waiting, *islice((one for one in activation.taken if one not in run.working), 1)):
            told = _last(run, id)
            why = "another item failed (fail_fast)"
            return told if run.instances[id].attempts else msgspec.structs.replace(told, why=why)
    return None


def _last(run: Run, id: str) -> StepEnded:
    """The end of an instance as its last attempt told it, without that attempt's usage."""
    told = run.told.get(id)
    if told is None or not told.next:
        return StepEnded(run.id, id, "skipped", "", f"the run has {run.ends_as}" if run.ends_as else "")
    return msgspec.structs.replace(
        told, run=run.id, next="", due=0, tokens=0, cost=0.0, input_tokens=0, output_tokens=0
    )


def over_budget(run: Run, usage: Usage = (0, 0.0)) -> str:
    """Which part of its budget a run has used up, in words; "" for none. usage: of what works now."""
    tokens, cost = run.tokens + usage[0], run.cost + usage[1]
    if run.tokens_max and tokens >= run.tokens_max:
        return f"{tokens} of {run.tokens_max} tokens are used"
    if run.cost_max and cost >= run.cost_max:
        return f"{cost:g} of a budget of {run.cost_max:g} are spent"
    return ""


def _close(run: Run) -> RunFact | None:
    """The way to the end, once nothing works: the main part, handlers of steps, of the run, `finally`, the end."""
    if run.ready or run.startable or run.turning or run.asking or run.retrying or run.wishes or run.prepared:
        return None
    if not run.ends_as:
        if run.left:
            return None
        if run.workflow.final:
            return WorkflowRunEnding(run.id, "completed")
        return WorkflowRunFinished(run.id, "completed", "ok")
    for step in _handlers(run):
        if step not in run.called:
            return HandlerCalled(run.id, step)
    failed = any(run.graph.below[step] for step in run.failures)
    status = "failed" if failed and run.ends_as == "completed" else run.ends_as
    why = run.why or (f"step {run.failures[-1]} failed" if status == "failed" and run.failures else "")
    return WorkflowRunFinished(run.id, status, "ok" if status == "completed" else "", why)


def _handlers(run: Run) -> Iterator[str]:
    """The steps that the end of a run calls, in order."""
    if run.ends_as in ("failed", "timed_out"):
        for step in run.failures:
            if run.steps[step].on_failure in run.steps and not run.graph.below[step]:
                yield run.steps[step].on_failure
        if run.workflow.on_failure in run.steps:
            yield run.workflow.on_failure
    if run.workflow.final in run.steps:
        yield run.workflow.final


def _work(run: Run, now: int, held: str) -> Iterator[Work]:
    """What can be done now, in order: what ends first, then what goes on, then what is new."""
    if run.stops:
        yield from (Work("cancel", id) for id in run.working if _is_stopped(run, run.instances[id].step))
    for step in run.failing:
        yield from (Work("cancel", id) for id in run.current[step].taken if id in run.working)
    if run.status == "queued" or run.paused or held:
        return
    yield from (Work("turn", step) for step in run.turning)
    for id in run.prepared:
        if id not in run.dropped and run.admits(run.instances[id].step):
            yield Work(run.next_work(run.instances[id]), id)
    taken: dict[str, int] = {}
    for step in run.retries.due(now):
        if run.admits(step):
            ids = list(islice(run.current[step].retrying.due(now), min(run.room(step), LIMIT)))
            taken[step] = len(ids)
            yield from (Work(run.next_work(run.instances[id]), id) for id in ids)
    for step in run.startable:
        if run.admits(step):
            room = run.room(step) - taken.get(step, 0)
            ids = list(islice(run.current[step].queue, min(room, 2 * LIMIT)))
            yield from (Work(run.next_work(run.instances[id]), id) for id in ids)
    yield from (Work("ready", step) for step in run.ready if run.admits(step))


def _is_stopped(run: Run, step: str) -> bool:
    """Whether a stop of the run concerns what works for a step: the main part, and handlers that were called before."""
    below = run.graph.below[step]
    return not below or bool(below & run.cut)


def unanswered(run: Run) -> list[Wish]:
    """What nodes were asked to do to workspaces, and have not answered: asked again where one began anew."""
    return list(run.wishes.values())
