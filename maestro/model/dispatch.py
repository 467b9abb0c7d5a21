"""Decisions on tasks: dispatch, cancel, retry, each from rows that the caller has read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import msgspec

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import NewEvent, TaskCancelRequested, TaskDispatched, TaskRetried
from maestro.model.health import way_out
from maestro.model.ids import check_id, check_priority, check_text, shown
from maestro.model.node import Node, decide_resume
from maestro.model.target import check_target, is_pool, targets_of
from maestro.model.task import Task

RETRIES_MAX = 1000
BUDGET_MAX = 1e15
TARGETS_MAX = 1000
ON_LOST = ("retry", "fail")


class DispatchState(msgspec.Struct, frozen=True):
    """What a dispatch must know.

    agents: the named ones and every member of the named pools (all agents will do). tasks: which of the named
    dependencies exist. existing: the task of that id, there already when a `--key` is used again. nodes, here: to end
    the hold of the nodes that it needs; `here` is the caller's.
    """

    agents: Sequence[Agent]
    tasks: Collection[str] = ()
    existing: Task | None = None
    nodes: Mapping[str, Node] = {}
    here: str = ""
    floor: int = 0


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
                mend="task list shows all",
                sought=("task", dependency),
            )
    chosen = [agent for target in wanted.targets for agent in _able(target, known.agents, wanted.forced)]
    fact = msgspec.structs.replace(wanted, depends_on=tuple(dict.fromkeys(wanted.depends_on)))
    return [
        NewEvent(f"task:{wanted.task}", fact, known.floor),
        *decide_resume(known.nodes, chosen, known.here, f"task {wanted.task} was dispatched"),
    ]


def nodes_to_start(wanted: TaskDispatched, known: DispatchState) -> dict[str, list[str]]:
    """Of the targets of a task that no agent on a node which is up can take, by target: the nodes that would have to
    be up.
    """
    up = {known.here, *(name for name, node in known.nodes.items() if node.status == "up")}
    away = [agent for agent in known.agents if agent.node is not None and agent.node not in up]
    found: dict[str, list[str]] = {}
    for target in wanted.targets if away else ():
        owners = {agent.node for agent in away if target in targets_of(agent) if agent.node is not None}
        if owners and all(agent in away for agent in known.agents if target in targets_of(agent)):
            found[target] = sorted(owners)
    return found


def _check_fields(wanted: TaskDispatched) -> None:
    check_id(wanted.task, "task")
    if not 0 < len(wanted.targets) <= TARGETS_MAX:
        raise Invalid(f"{len(wanted.targets)} targets", mend=f"name 1 to {TARGETS_MAX} with --to")
    for target in wanted.targets:
        check_target(target)
    if len(set(wanted.targets)) < len(wanted.targets):
        twice = next(target for target in wanted.targets if wanted.targets.count(target) > 1)
        raise Invalid(f"target {shown(twice)} is named twice")
    check_priority(wanted.priority)
    timeout_s = wanted.timeout_s
    if timeout_s is not None and not (math.isfinite(timeout_s) and timeout_s > 0):
        raise Invalid(f"timeout {timeout_s} is out of range", mend="use seconds, more than 0")
    if not 0 <= wanted.retries <= RETRIES_MAX:
        raise Invalid(f"retries {wanted.retries} is out of range", mend=f"use 0 to {RETRIES_MAX}")
    for name, limit in (("tokens", wanted.budget_tokens), ("cost", wanted.budget_cost)):
        if limit is not None and not 0 < limit < BUDGET_MAX:
            raise Invalid(f"budget of {name} {limit} is out of range", mend="use more than 0")
    if wanted.on_lost not in ON_LOST:
        raise Invalid(f"on_lost {shown(wanted.on_lost)} is unknown", mend="use retry or fail")
    if wanted.key is not None:
        check_text(wanted.key, "key")


def _able(target: str, agents: Sequence[Agent], forced: bool) -> list[Agent]:
    """The agents that answer to a target and could take the task now. Raises NotFound, Refused."""
    matching = [agent for agent in agents if target in targets_of(agent)]
    if not matching:
        what = "no agent matches" if is_pool(target) else "there is no agent"
        raise NotFound(
            f"{what} {shown(target)}", mend="agent list shows all, agent assign makes one", sought=("target", target)
        )
    started = [agent for agent in matching if not agent.stopped]
    able = [agent for agent in started if agent.healthy or forced]
    if able or forced:
        return able or matching
    if is_pool(target):
        raise Refused(f"no agent of {shown(target)} is healthy", mend="agent list shows why; --force overrides health")
    agent = matching[0]
    if agent.stopped:
        raise Refused(f"agent {agent.id} is stopped", mend=f"agent restart {agent.id}")
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
    task: str, row: Task | None, floor: int = 0, resume: Mapping[str, Agent] | None = None
) -> list[NewEvent]:
    """Queue a finished task again. resume: the agents by id, where each is to go on with its last session.

    Raises NotFound; Refused while it is open, and where a session is not there or cannot be gone on with.
    """
    row = _known(task, row)
    if row.open:
        raise Refused(f"task {task} has not finished: {row.status}", mend=f"task cancel {task} ends it")
    if resume is not None:
        _check_sessions(row, resume)
    return [NewEvent(f"task:{task}", TaskRetried(task, resume is not None), max(row.version, floor))]


def _check_sessions(row: Task, agents: Mapping[str, Agent]) -> None:
    """Check that each agent of a task can go on with a session. Raises Refused."""
    again = f"task retry {row.id} starts anew"
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
        raise NotFound(f"there is no task {shown(task)}", mend="task list shows all", sought=("task", task))
    return row
