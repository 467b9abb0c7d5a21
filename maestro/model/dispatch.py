"""Decisions on tasks: dispatch, cancel, retry, each from rows that the caller has read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import NewEvent, TaskCancelRequested, TaskDispatched, TaskRetried
from maestro.model.health import way_out, why_stopped
from maestro.model.ids import check_id, check_priority, check_text, shown
from maestro.model.node import Node, decide_resume
from maestro.model.outcome import FINISHED
from maestro.model.scheduling.sites import VIRTUAL
from maestro.model.target import check_target, is_pool, targets_of, who
from maestro.model.task import Task

RETRIES_MAX = 1000
TIMEOUT_S_MAX = 31_536_000
BUDGET_MAX = 1e15
TARGETS_MAX = 1000
ON_LOST = ("retry", "fail")


class DispatchState(msgspec.Struct, frozen=True):
    """What a dispatch must know.

    agents: the named ones and every member of the named pools (all agents will do). tasks: which of the named
    dependencies exist. existing: the task of that id, there already when a `--key` is used again. nodes, here: to end
    the hold of the nodes that it needs; `here` is the caller's. pending: why, in words, by agent, where a restore has
    yet to exchange its workspace.
    """

    agents: Sequence[Agent]
    tasks: Collection[str] = ()
    existing: Task | None = None
    nodes: Mapping[str, Node] = {}
    here: str = ""
    floor: int = 0
    pending: Mapping[str, str] = {}


def decide_dispatch(wanted: TaskDispatched, known: DispatchState) -> list[NewEvent]:
    """Queue a task; nothing where the same key made it before (then `known.existing` is the answer).

    Raises Invalid; NotFound for a target that nobody is and for an unknown dependency; Refused for a target that is
    stopped or unhealthy (`forced` overrides health).
    """
    _check_fields(wanted)
    if known.existing is not None:
        return []
    if wanted.task in wanted.depends_on:
        raise Refused(f"task {wanted.task} would depend on itself")
    for dependency in wanted.depends_on:
        if dependency not in known.tasks:
            raise NotFound(
                f"there is no task {shown(dependency)} to depend on",
                mend="maestro task list shows all",
                sought=("task", dependency),
            )
    members = Members(known.agents, wanted.targets, known.pending)
    chosen = [agent for target in wanted.targets for agent in members.able(target, wanted.forced)]
    fact = msgspec.structs.replace(wanted, depends_on=tuple(dict.fromkeys(wanted.depends_on)))
    return [
        NewEvent(f"task:{wanted.task}", fact, known.floor),
        *decide_resume(known.nodes, chosen, known.here, f"task {wanted.task} was dispatched"),
    ]


SAME = {
    "prompt": "prompt",
    "targets": "targets",
    "depends_on": "depends-on",
    "timeout_s": "timeout",
    "priority": "priority",
    "retries": "retries",
    "verify": "verify",
    "budget_tokens": "budget-tokens",
    "budget_cost": "budget-cost",
    "trace": "trace",
    "forced": "force",
    "on_lost": "on-lost",
}
"""The fields of `task.dispatched` that two dispatches of one key must have in common, as a user knows them."""

OF_STEPS = (
    *("workflow", "step", "command", "place", "node", "folder", "alone", "env", "answer_schema", "session"),
    *("leaves", "brings", "root"),
)
"""The fields that only the attempt of a workflow's step has, which no dispatch by key is."""


def differences(wanted: TaskDispatched, before: TaskDispatched) -> list[str]:
    """In what a dispatch differs from the one that its key made before, in the words of the command line.

    Dependencies are compared as a set; the order of targets counts, as the exit code goes by it.
    """
    found = []
    for field, name in SAME.items():
        one, other = getattr(wanted, field), getattr(before, field)
        if set(one) != set(other) if field == "depends_on" else one != other:
            found.append(name)
    return found


def decide_batch(wanted: Sequence[TaskDispatched], members: Members, known: DispatchState) -> list[NewEvent]:
    """Queue tasks together, in order; a task that its key made before is none of them. Raises as `decide_dispatch`, but
    looks at no dependency: who takes in a batch has found all of them.
    """
    chosen: dict[str, Agent] = {}
    events = []
    for each in wanted:
        _check_fields(each)
        chosen |= {agent.id: agent for target in each.targets for agent in members.able(target, each.forced)}
        fact = msgspec.structs.replace(each, depends_on=tuple(dict.fromkeys(each.depends_on)))
        events.append(NewEvent(f"task:{each.task}", fact, known.floor))
    return events + decide_resume(known.nodes, chosen.values(), known.here, "a batch was dispatched") if events else []


def field_errors(wanted: TaskDispatched) -> Iterator[Invalid]:
    """What cannot be right about a dispatch, whatever else there is."""
    checks: tuple[Callable[[], object], ...] = (
        lambda: check_id(wanted.task, "task"),
        lambda: _check_targets(wanted.targets, VIRTUAL if wanted.workflow else frozenset()),
        lambda: check_priority(wanted.priority),
        lambda: _check_numbers(wanted),
        lambda: _check_budgets(wanted),
        lambda: None if wanted.key is None else check_text(wanted.key, "key"),
    )
    for check in checks:
        try:
            check()
        except Invalid as error:
            yield error


def _check_fields(wanted: TaskDispatched) -> None:
    for error in field_errors(wanted):
        raise error


def _check_targets(targets: Sequence[str], virtual: Collection[str]) -> None:
    if not 0 < len(targets) <= TARGETS_MAX:
        raise Invalid(f"{len(targets)} targets", mend=f"name 1 to {TARGETS_MAX} with --to")
    for target in targets:
        if target not in virtual:
            check_target(target)
    if len(set(targets)) < len(targets):
        twice = next(target for target in targets if targets.count(target) > 1)
        raise Invalid(f"target {shown(twice)} is named twice")


def _check_numbers(wanted: TaskDispatched) -> None:
    timeout_s = wanted.timeout_s
    if timeout_s is not None and not 0 < timeout_s <= TIMEOUT_S_MAX:
        raise Invalid(f"timeout {timeout_s} is out of range", mend="use seconds, more than 0, at most a year")
    if not 0 <= wanted.retries <= RETRIES_MAX:
        raise Invalid(f"retries {wanted.retries} is out of range", mend=f"use 0 to {RETRIES_MAX}")
    if wanted.on_lost not in ON_LOST:
        raise Invalid(f"on_lost {shown(wanted.on_lost)} is unknown", mend="use retry or fail")


def _check_budgets(wanted: TaskDispatched | TaskRetried) -> None:
    for name, limit in (("tokens", wanted.budget_tokens), ("cost", wanted.budget_cost)):
        if limit is not None and not 0 < limit < BUDGET_MAX:
            raise Invalid(f"budget of {name} {limit} is out of range", mend="use more than 0")


class Members:
    """Who answers to each target. wanted: the targets that matter, None for all: then each agent is looked at once for
    any number of tasks. pending: as in `DispatchState`.
    """

    def __init__(
        self,
        agents: Iterable[Agent],
        wanted: Collection[str] | None = None,
        pending: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._pending = pending
        self.of: dict[str, list[Agent]] = {}
        names = None if wanted is None else set(map(who, wanted))
        self._able: dict[tuple[str, bool], list[Agent]] = {}
        for agent in agents:
            for target in targets_of(agent):
                if names is None or target in names:
                    self.of.setdefault(target, []).append(agent)

    def able(self, target: str, forced: bool) -> list[Agent]:
        """The agents that answer to a target and could take a task now. Raises NotFound, Refused."""
        if (target, forced) not in self._able:
            self._able[target, forced] = _able(target, self.of.get(who(target), []), forced, self._pending)
        return self._able[target, forced]


def _able(target: str, matching: list[Agent], forced: bool, pending: Mapping[str, str]) -> list[Agent]:
    if not matching:
        what = "no agent matches" if is_pool(target) else "there is no agent"
        mend = "maestro agent list shows all, maestro agent assign makes one"
        raise NotFound(f"{what} {shown(target)}", mend=mend, sought=("target", target))
    started = [agent for agent in matching if not agent.stopped]
    able = [agent for agent in started if agent.healthy or forced]
    if able or forced:
        return able or matching
    if matching[0].id in pending and all(agent.id in pending for agent in matching):
        raise why_stopped(matching[0], pending[matching[0].id])
    if is_pool(target):
        mend = "maestro agent list shows why; --force overrides health"
        raise Refused(f"no agent of {shown(target)} is healthy", mend=mend)
    agent = matching[0]
    if agent.stopped:
        raise why_stopped(agent, pending.get(agent.id, ""))
    checks = ", ".join(agent.failed_checks) or "health"
    why = f" ({agent.reason})" if agent.reason else ""
    raise Refused(f"agent {agent.id} is unhealthy: {checks} failed{why}", mend=way_out(agent))


def decide_cancel(task: str, row: Task | None, reason: str = "", floor: int = 0) -> list[NewEvent]:
    """Ask for the end of a task; nothing where that was asked before. Raises NotFound; Refused when it has finished."""
    row = _known(task, row)
    if not row.open:
        raise Refused(f"task {task} has finished: {row.status}")
    if row.cancel is not None:
        return []
    return [NewEvent(f"task:{task}", TaskCancelRequested(task, reason), max(row.version, floor))]


def decide_retry(
    task: str,
    row: Task | None,
    floor: int = 0,
    resume: Mapping[str, Agent] | None = None,
    needed: Mapping[str, str] = MappingProxyType({}),
    budget: tuple[int | None, float | None] = (None, None),
) -> list[NewEvent]:
    """Queue a finished task again. resume: the agents by id, where each is to go on with its last session; needed: the
    status of each task that it depends on; budget: tokens and cost, None as before. Raises NotFound, Invalid; Refused
    while it is open, where it would be skipped for a dependency, and where no session can be gone on with.
    """
    row = _known(task, row)
    if row.workflow:
        what = f"task {task} is an attempt of step {row.step} of workflow run {row.workflow}, which decides on more"
        raise Refused(what, mend=f"maestro workflow status {row.workflow} shows the run")
    if row.open:
        raise Refused(f"task {task} has not finished: {row.status}", mend=f"maestro task cancel {task} ends it")
    for name, status in needed.items():
        if status in FINISHED and status != "completed":
            what = f"task {task} would be skipped at once: it depends on task {name}, which is {status}"
            raise Refused(what, mend=f"maestro task retry {name} --with-dependants")
    if resume is not None:
        _check_sessions(row, resume)
    _check_budgets(fact := TaskRetried(task, resume is not None, *budget))
    return [NewEvent(f"task:{task}", fact, max(row.version, floor))]


def skipped_for(tasks: Iterable[str], rows: Iterable[Task]) -> list[Task]:
    """The tasks that were skipped for these, directly or for another that was or is open again: dependencies first.

    rows: skipped and open tasks in the order of their dispatch, in which no task comes before what it depends on.
    """
    behind, found = set(tasks), []
    for row in rows:
        if not behind.isdisjoint(row.depends_on):
            behind.add(row.id)
            if row.status == "skipped":
                found.append(row)
    return found


def decide_retry_dependants(
    task: str, dependants: Sequence[Task], statuses: Mapping[str, str], floor: int = 0
) -> tuple[list[NewEvent], dict[str, str]]:
    """Queue again what was skipped for a task; and for each that would be skipped once more, the reason.

    dependants: as `skipped_for` gives them; statuses: of all else that they depend on, where it has ended.
    """
    events: list[NewEvent] = []
    left: dict[str, str] = {}
    for row in dependants:
        why = next(
            (
                f"it depends on task {name} too: {'skipped' if name in left else statuses[name]}"
                for name in row.depends_on
                if name != task and (name in left or statuses.get(name, "completed") != "completed")
            ),
            "",
        )
        if why:
            left[row.id] = why
        else:
            events.append(NewEvent(f"task:{row.id}", TaskRetried(row.id), max(row.version, floor)))
    return events, left


def _check_sessions(row: Task, agents: Mapping[str, Agent]) -> None:
    """Check that each agent of a task can go on with a session. Raises Refused."""
    again = f"maestro task retry {row.id} starts anew"
    for slot in row.slots:
        before = next((run for run in reversed(slot.runs) if run.session), None)
        if before is None:
            raise Refused(f"no run of {slot.target} has told a session to go on with", mend=again)
        agent = agents.get(before.agent)
        if agent is None or not AgentDefinition(agent.definition).can_resume:
            kind = "" if agent is None else f" (type {agent.type} has no `resume`)"
            raise Refused(f"agent {before.agent} cannot go on with a session{kind}", mend=again)


def _known(task: str, row: Task | None) -> Task:
    if row is None:
        raise NotFound(f"there is no task {shown(task)}", mend="maestro task list shows all", sought=("task", task))
    return row
