"""The recovery of runs at a daemon's start: appends the ends of those that this node's earlier daemon was executing.

That daemon is dead, as this one holds its lock, and its wardens have killed the process trees. Each run has left an
exit record, or none, and then it is lost. A guarded run that has ended badly ends in the log only when its workspace is
as it was: `restores/failsafe` sees to that.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from maestro.agents import outcome
from maestro.agents.definitions import Definition
from maestro.agents.verdict import Check
from maestro.model.agent import Agent
from maestro.model.events import AgentAssigned, AnyFact, GuardDropped, NewEvent, RunEnded
from maestro.model.ids import slot_of_run
from maestro.model.monitoring.failsafe import goes_back
from maestro.model.task import Run, Task
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.supervision.exit_record import read_record
from maestro.runtime.supervision.spec import End
from maestro.runtime.worker import carried_files, step_results
from maestro.runtime.worker.budget import exceeded, raised_by
from maestro.runtime.worker.preparation import lock_path, verification_of
from maestro.runtime.worker.run_end import (
    DAEMON_STOPPED,
    Seen,
    check_of,
    dead_at,
    ended,
    facts,
    redacted,
    with_return,
)
from maestro.runtime.worker.run_observer import RunObserver, is_heard, session_of
from maestro.runtime.worker.run_services import dispatch_of
from maestro.runtime.worker.step_definitions import definition_for, definition_of
from maestro.store.contract import Append, Committed
from maestro.workspaces.folders import RunFolder, recorded

LOOKED_BACK = 1000
"""How many events are read at once to find an earlier assignment."""


class LeftRun(NamedTuple):
    """A guarded run whose workspace has to go back. owner: whose that is; ended_at: when it was dead, Unix ns."""

    run: str
    owner: str
    ended_at: int


class Judged(NamedTuple):
    """The end of a run of an earlier daemon. facts: all that is told of it, `fact`, the last one, its end."""

    run: Run
    facts: list[AnyFact]
    fact: RunEnded
    observer: RunObserver


async def recover(context: Context, follower: Follower) -> list[LeftRun]:
    """Append the end of every run that the plan has as running on this node; those that are left for failsafe mode."""
    plan = follower.plan
    owners = {agent.guard.run: agent.id for agent in plan.agents.values() if agent.guard is not None}
    left = []
    async with Evaluator() as evaluator:
        for task in list(plan.tasks.values()):
            for slot in task.slots:
                if slot.runs and slot.runs[-1].status == "running" and slot.runs[-1].node == context.node:
                    run = slot.runs[-1]
                    of, owner = await judged(context, follower, evaluator, (task, run)), owners.get(run.id, "")
                    if owner and goes_back(of.fact.outcome, of.fact.restart):
                        left.append(LeftRun(run.id, owner, dead_at(recorded(run.folder)) or time.time_ns()))
                    else:
                        here = (context.node, run.workspace)
                        settled = next((a.id for a in plan.agents.values() if (a.node, a.workspace) == here), "")
                        await end(context, of if owner else await returned(context, of, settled), owner)
    return left


async def returned(context: Context, judged: Judged, owner: str) -> Judged:
    """The end of a run with what failsafe mode has done before it; the same one where that is nothing.

    owner: whose workspace it is, "" for nobody's.
    """
    if not owner:
        return judged
    fact = await with_return(context, judged.fact, owner, judged.run.token)
    return judged if fact is judged.fact else judged._replace(facts=[*judged.facts[:-1], fact], fact=fact)


async def judged(context: Context, follower: Follower, evaluator: Evaluator, of: tuple[Task, Run]) -> Judged:
    """Judge the end of a run that an earlier daemon of this node was executing."""
    task, run = of
    agent = follower.plan.crew.agent(run.agent)
    assert agent is not None
    folder = recorded(run.folder)  # the agent may have been given another root since
    dispatched = await dispatch_of(context, follower, task) if task.workflow else None
    definition = definition_for(await _definition(context, agent, run), dispatched)
    end = _record(folder.record, run)
    lost = _loss(end)
    end = end or End(run.id, run.token, lost=True)
    _, before = session_of(task.slots[slot_of_run(run.id)], task, run)
    observer = RunObserver(definition, run, folder, before)
    seen = Seen(lost=lost)
    if is_heard(definition):
        await observer.complete(end)
        budget = exceeded(definition.budget, task, run.id, observer.told.usage, raised_by(definition))
        seen = Seen(lost=lost, told=observer.told, budget=budget)
    found, seen_end = facts(end, folder, run.timeout_s, seen), end
    if dispatched is not None:
        found = await step_results.fitted(evaluator, definition, dispatched, folder, found)
    if Path(folder.verification).is_dir() and outcome.judge(definition, found).outcome == "ok":
        found = msgspec.structs.replace(found, check=_verified(folder, run))
    verdict = redacted(context, definition, outcome.judge(definition, found))
    files: carried_files.Files = {}
    if dispatched is not None:  # what it leaves could not be kept by the earlier daemon any more
        place = carried_files.Held(run.workspace, str(lock_path(context.settings.home, run.workspace)))
        verdict, files = await carried_files.capture(context, dispatched, verdict, place)
    fact = await context.insist(lambda: ended(context, task, run, verdict, seen_end))
    fact = msgspec.structs.replace(fact, files=files) if files else fact
    if dispatched is not None:
        fact = await step_results.completed(context, definition, dispatched, folder, (fact, found))
    return Judged(run, [*observer.news(), fact], fact, observer)


async def end(context: Context, judged: Judged, owner: str = "") -> None:
    """Append the end of a run. owner: whose workspace was guarded for it and stays as it is, "" for nobody's."""
    run, facts, fact, observer = judged
    subject = f"run:{run.id}"
    first, *others = facts
    events = [NewEvent(subject, first, run.version), *(NewEvent(subject, other) for other in others)]
    if owner:
        events.insert(0, NewEvent(f"agent:{owner}", GuardDropped(owner, run.id, fact.outcome == "ok")))
    result = await context.gateway.append(Append(tuple(events), f"worker:{context.node}", str(run.token)))
    observer.forget()
    kept = isinstance(result, Committed)
    log.info("run %s of the earlier daemon: %s%s", run.id, fact.outcome, "" if kept else " (already ended)")


async def _definition(context: Context, agent: Agent, run: Run) -> Definition:
    """The definition that a run was started with: its agent may have taken another one since."""
    found, upto = agent.definition, run.token
    while agent.assigned_at > run.started_at and upto > 0:
        after = max(0, upto - LOOKED_BACK)
        ask = partial(context.gateway.ask, context.store.log.read, after, upto - after)
        facts_then = [event.fact for event in await context.insist(ask)]
        assigned = [fact for fact in facts_then if isinstance(fact, AgentAssigned) and fact.agent == agent.id]
        if assigned:
            found = assigned[-1].definition
            break
        upto = after
    return definition_of(msgspec.structs.replace(agent, definition=found))


def _verified(folder: RunFolder, run: Run) -> Check:
    """How the run was verified; lost where the verification has left no record."""
    end = _record(f"{folder.verification}/exit.json", run)
    return check_of(end or End(run.id, run.token, lost=True), verification_of(folder), folder, _loss(end))


def _loss(end: End | None) -> str | None:
    """Why the run is lost; None where it ended by itself, by a rule, or by a user's command."""
    if end is not None and end.stopped == DAEMON_STOPPED:
        return DAEMON_STOPPED
    if end is None or end.worker_gone or end.lost:
        return "the daemon of its node ended"
    return None


def _record(path: str, run: Run) -> End | None:
    try:
        end = read_record(Path(path).parent)
    except ValueError as error:
        log.warning("%s", error)
        return None
    return end if end is not None and end.token == run.token else None
