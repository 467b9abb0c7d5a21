"""The endings that the scheduler decides: of tasks that are over or can never run, and of runs that no worker will end.

A decision that finishes a task settles its dependents in the same pass: they become ready, or end skipped, however
long the chain is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.events import NewEvent, RunEnded, RunParked, StateSet, TaskFinished, Text
from maestro.model.outcome import LOSSES_MAX, exit_code_of, status_of, worst
from maestro.model.scheduling.crew import Live
from maestro.model.scheduling.lanes import failed_it, out_of_retries
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import SHARED, ground_of, shown_agent
from maestro.model.target import who
from maestro.model.task import Run, Slot, Task

RESULT_TTL_MS: Final = 86_400_000


class Decision(msgspec.Struct, frozen=True):
    """Events for one append. hints: (stream, run, index of its `run.released` in events); cause: as of `Append`."""

    events: tuple[NewEvent, ...]
    hints: tuple[tuple[str, str, int], ...] = ()
    cause: str = ""


class Endings:
    """One pass over what changed in a plan. finished: tasks it ends, with their status; ready: tasks it makes ready."""

    def __init__(self, plan: Plan) -> None:
        self.finished: dict[str, str] = {}
        self.ready: dict[str, None] = {}
        self._plan = plan
        self._left: dict[str, int] = {}

    def decide(self) -> list[Decision]:
        """The decisions, each task's before those of the tasks that depend on it."""
        plan = self._plan
        found = list(self._adrift())
        work = deque(plan.changed)
        plan.changed.clear()
        while work:
            row = plan.tasks.get(work.popleft())
            if row is None or row.id in self.finished:
                continue
            events = self._end(row)
            if not events:
                continue
            found.append(Decision(tuple(events), (), str(plan.because[row.id])))
            plan.ended.append(row.id)
            if row.id in self.finished:
                work.extend(self._settle(row.id))
        return found

    def _settle(self, name: str) -> list[str]:
        """The dependents that must end as well, as the task has; the others may have become ready."""
        waiting = self._plan.dependencies.waiting.get(name, {})
        if self.finished[name] != "completed":
            return list(waiting)
        for other in waiting:
            unmet = self._plan.dependencies.unmet[other]
            if name in unmet:
                self._left[other] = self._left.get(other, len(unmet)) - 1
                if not self._left[other]:
                    self.ready[other] = None
        return []

    def _adrift(self) -> list[Decision]:
        plan, found = self._plan, []
        for name in list(plan.adrift):
            why = _why_adrift(plan, name)
            if not why:
                del plan.adrift[name]
            elif (pair := plan.run(name)) is not None:
                task, run = pair
                outcome = "cancelled" if task.cancel is not None or _is_stopped(plan, run) else "lost"
                found.append(
                    Decision((_run_ended(plan.floor, task, run, outcome, why),), (), str(plan.because[task.id]))
                )
        return found

    def _end(self, row: Task) -> list[NewEvent]:
        """The events that end the task, or those of its slots that can be ended now."""
        plan, events = self._plan, []
        failed = plan.dependencies.failed(row, self.finished)
        outcomes: list[str] = []
        for slot in row.slots:
            run = slot.live
            if slot.status == "ended":
                outcomes.append(slot.outcome)
            elif failed:
                outcomes.append("skipped")
            elif run is not None and run.status == "released" and row.cancel is not None:
                outcomes.append("cancelled")
                events.append(
                    _run_ended(plan.floor, row, run, "cancelled", row.cancel or "cancelled before it started")
                )
            elif slot.status == "waiting" and (why := _why_parked(plan, row, slot)):
                last = slot.runs[-1]
                outcomes.append("parked" if last.outcome == "lost" else last.outcome)
                parked = RunParked(last.id, row.id, last.agent, slot.losses, why)
                events.append(NewEvent(f"run:{last.id}", parked, max(last.version, plan.floor)))
        if len(outcomes) == len(row.slots):
            events.extend(finish(row, outcomes, plan.floor, failed))
            self.finished[row.id] = status_of(worst(outcomes))
        return events


def finish(row: Task, outcomes: Sequence[str], floor: int, reason: str = "") -> list[NewEvent]:
    """The end of a task whose slots end with these outcomes, and its result in the state where it completed."""
    outcome = worst(outcomes)
    status = status_of(outcome)
    exit_code, source = _exit_code(row, status)
    if status != "completed" and not reason:
        reason = _reason(row, outcomes, outcome)
    fact = TaskFinished(row.id, status, outcome, exit_code, source, reason)
    events = [NewEvent(f"task:{row.id}", fact, max(row.version, floor))]
    if status == "completed":
        key = f"task:{row.id}:result"
        events.append(NewEvent(f"state:{key}", StateSet(key, _result(row), RESULT_TTL_MS)))
    return events


def decide_stranded(task: Task, run: Run, floor: int = 0) -> NewEvent:
    """The end of a run on a lost node, for the user who moves its agent elsewhere (`agent.decide_assign`)."""
    return _run_ended(floor, task, run, "lost", f"agent {run.agent} was moved from the lost node {run.node}")


def find_stranded(agent: Agent, task: Task | None, lost: Collection[str]) -> Run | None:
    """The run that an agent has on a lost node, which nobody but its user or that node will end. task: the agent's."""
    runs = [slot.live for slot in task.slots if slot.live is not None] if task is not None else []
    found = next((run for run in runs if run.id == agent.run and run.status == "running"), None)
    return found if found is not None and found.node in lost else None


def _run_ended(floor: int, task: Task, run: Run, outcome: str, why: str) -> NewEvent:
    fact = RunEnded(run.id, task.id, run.agent, outcome, source="maestro", evidence=why)
    return NewEvent(f"run:{run.id}", fact, max(run.version, floor))


def _is_stopped(plan: Plan, run: Run) -> bool:
    """Whether a run that has started belongs to an agent that was stopped: as on a living node it ends cancelled."""
    live = plan.crew.live.get(run.id)
    names = (run.agent, "" if live is None else live.owner)
    return run.status == "running" and any(plan.agents[name].stopped for name in names if name in plan.agents)


def _why_adrift(plan: Plan, name: str) -> str:
    """Why the scheduler must end a run that no worker will, or ""."""
    live = plan.crew.live.get(name)
    if live is None:
        return ""
    if live.started:
        return _why_stranded(plan, live)
    task = plan.tasks[live.task]
    agent = plan.crew.agent(live.agent)
    if agent is None or task.cancel is not None:
        return ""
    site = plan.crew.site(ground_of(task), agent)
    owner = agent if site is None else plan.agents.get(site.owner, agent)
    if live.place is not None and plan.holds.keeps_out(live.place, (task.workflow, task.step)):
        return "withdrawn: its workspace is held by a step of a workflow"
    for one in (agent, owner):
        if one.stopped:
            return f"withdrawn: agent {one.id} was stopped before it started"
    if agent.run != name and agent.id not in plan.crew.virtual:
        return f"withdrawn: agent {agent.id} has another run"
    if live.shared and live.node != SHARED and not plan.nodes[live.node].takes_work:
        return f"withdrawn: node {live.node} takes no work any more"
    moved = site is None or site.node not in ((SHARED, live.node) if live.shared else (live.node,))
    return f"withdrawn: agent {owner.id} was moved before it started" if moved else ""


def _why_stranded(plan: Plan, live: Live) -> str:
    """Why a run that has started on a lost node ends without it, or "".

    What may run anywhere does. What is bound to that node's workspace waits for it, unless somebody wants its end: the
    task was cancelled, the agent, or that whose workspace it is, stopped or moved away. What works in the folder of a
    workflow's run ends: the folder is lost with the node, or it runs again when that is back.
    """
    node = plan.nodes.get(live.node)
    if node is None or node.status != "lost":
        return ""
    gone = f"node {live.node} was lost"
    task = plan.tasks[live.task]
    if live.shared or task.cancel is not None:
        return gone
    agent = plan.crew.agent(live.agent)
    if agent is None or agent.stopped:
        return f"{gone}, agent {live.agent} was stopped"
    site = plan.crew.site(ground_of(task), agent)
    if site is not None and site.in_run_folder:
        return f"{gone}, and the folder of the workflow's run with it"
    owner = agent if site is None else plan.agents.get(site.owner, agent)
    if owner.stopped:
        return f"{gone}, agent {owner.id} was stopped"
    return f"{gone}, agent {owner.id} was moved" if site is None or site.node != live.node else ""


def _why_parked(plan: Plan, row: Task, slot: Slot) -> str:
    if slot.losses > LOSSES_MAX:
        return f"lost {slot.losses} times"
    if slot.pool and len(slot.runs) > slot.earlier and out_of_retries(row, slot):
        others = plan.crew.members.get(who(slot.target), {}).keys() - failed_it(slot)
        return "" if others else f"no other agent of {slot.target} is left"
    return ""


def _exit_code(row: Task, status: str) -> tuple[int, str]:
    """The task's exit code, which is the first of its agents' that is not 0, in target order; and whose it is."""
    first = next((run for slot in row.slots for run in slot.tries[-1:] if run.exit_code), None)
    if status == "failed" and first is not None:
        return exit_code_of(status, first.exit_code), first.source
    return exit_code_of(status, None), "agent" if status == "completed" else "maestro"


def _reason(row: Task, outcomes: Sequence[str], outcome: str) -> str:
    if outcome == "cancelled" and row.cancel:
        return row.cancel
    slot = row.slots[list(outcomes).index(outcome)]
    evidence = slot.tries[-1].evidence if slot.tries else ""
    return f"{shown_agent(slot.target)}: {outcome}" + (f", {evidence}" if evidence else "")


def _result(row: Task) -> Text:
    """The task's result: the final text of its one run, or a JSON object of final texts by agent."""
    if len(row.slots) == 1:
        return row.slots[0].runs[-1].result
    results: dict[str, Text] = {}
    for slot in row.slots:
        run = slot.runs[-1]
        results[slot.target if run.agent in results else run.agent] = run.result
    return msgspec.json.encode(results, order="deterministic").decode()
