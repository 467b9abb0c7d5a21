"""An agent: an instance of a type, bound to a workspace on a node, with a role and a priority."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec

from maestro.model.agent_row import Agent as Agent, AgentType as AgentType, Guard as Guard
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import (
    AgentAssigned,
    AgentHealthChanged,
    AgentRegistered,
    AgentReset,
    AgentRestarted,
    AgentStopped,
    AnyFact,
    Event,
    FailsafeKept,
    FailsafeReturned,
    GuardDropped,
    NewEvent,
    RunEnded,
    RunReleased,
    RunStarted,
    RunUsageReported,
    WorkspaceGuarded,
)
from maestro.model.ids import check_id, check_priority, check_text, shown


class Assignment(msgspec.Struct, frozen=True):
    """The assignment that a command asks for. None keeps what the agent has: workspace and node, role or priority (else
    3).

    definition: the type as resolved now. workspace: an absolute path that the caller has checked. node: its owner.
    """

    agent: str
    type: str
    definition: dict[str, Any]
    workspace_root: str
    workspace: str | None = None
    role: str | None = None
    priority: int | None = None
    node: str | None = None


def evolve(row: Agent | None, event: Event) -> Agent | None:
    """The agent after the event, changed in place. Facts that do not concern it leave it as it is."""
    fact = event.fact
    if isinstance(fact, AgentAssigned):
        return assigned(row, fact, event)
    change = CHANGES.get(fact.__class__)
    if row is not None and change is not None:
        change(row, fact, event)
    return row


def _released(row: Agent, fact: RunReleased, _event: Event) -> None:
    if not row.run:  # a second release of the agent will be withdrawn, so it changes nothing
        row.run, row.running, row.task = fact.run, False, fact.task


def _started(row: Agent, fact: RunStarted, event: Event) -> None:
    row.run, row.running, row.task = fact.run, True, fact.task
    row.last_task, row.last_run_at = fact.task, event.at
    row.runs += 1


def _ended(row: Agent, fact: RunEnded, _event: Event) -> None:
    if row.run == fact.run:
        row.run, row.running, row.task = "", False, ""


def _usage_reported(row: Agent, fact: RunUsageReported, _event: Event) -> None:
    row.input_tokens += fact.input_tokens
    row.output_tokens += fact.output_tokens
    row.cost += fact.cost
    row.cached_tokens += fact.cached_tokens


def _stopped(row: Agent, fact: AgentStopped, event: Event) -> None:
    row.version, row.stopped, row.reason = event.seq, True, fact.reason


def _restarted(row: Agent, _fact: AgentRestarted, event: Event) -> None:
    row.version = event.seq
    _mended(row)


def _reset(row: Agent, _fact: AgentReset, event: Event) -> None:
    row.version, row.guard = event.seq, None
    _mended(row)


def _health_changed(row: Agent, fact: AgentHealthChanged, event: Event) -> None:
    row.version, row.healthy, row.reason = event.seq, fact.healthy, fact.reason
    row.failed_checks = list(fact.failed)


def _guarded(row: Agent, fact: WorkspaceGuarded, event: Event) -> None:
    row.version = event.seq
    row.guard = Guard(fact.run, fact.task, fact.workspace, fact.snapshot, fact.node)


def _returned(row: Agent, fact: FailsafeReturned, event: Event) -> None:
    row.version, row.guard, row.returns = event.seq, None, fact.in_a_row


def _kept(row: Agent, _fact: FailsafeKept, event: Event) -> None:
    row.version, row.guard = event.seq, None


def _dropped(row: Agent, fact: GuardDropped, event: Event) -> None:
    row.version = event.seq
    if row.guard is not None and row.guard.run == fact.run:
        row.guard = None
    if fact.good:
        row.returns = 0


CHANGES: dict[type[AnyFact], Callable[[Agent, Any, Event], None]] = {
    AgentStopped: _stopped,
    AgentRestarted: _restarted,
    AgentReset: _reset,
    AgentHealthChanged: _health_changed,
    RunReleased: _released,
    RunStarted: _started,
    RunUsageReported: _usage_reported,
    RunEnded: _ended,
    WorkspaceGuarded: _guarded,
    FailsafeReturned: _returned,
    FailsafeKept: _kept,
    GuardDropped: _dropped,
}
"""How each fact changes its agent. A table, as a replay folds hundreds of thousands of events a second."""


def evolve_type(row: AgentType | None, event: Event) -> AgentType | None:
    """The type after the event; None where it was never registered."""
    fact = event.fact
    if not isinstance(fact, AgentRegistered):
        return row
    return AgentType(fact.slug, event.seq, fact.definition, fact.source, event.at)


def provisional(fact: AgentAssigned, at: int = 0) -> Agent:
    """The agent that an assignment will make, for a decision in the same append."""
    return assigned(None, fact, Event(0, f"agent:{fact.agent}", at, "", "", 0, fact))


def assigned(row: Agent | None, fact: AgentAssigned, event: Event) -> Agent:
    """The agent after an assignment, changed in place."""
    if row is None:
        row = Agent(fact.agent, event.seq, fact.type, fact.definition, fact.workspace_root)
    row.version, row.assigned_at = event.seq, event.at
    if row.guard is not None and (row.workspace, row.node) != (fact.workspace, fact.node):
        row.guard = None  # whoever moves the agent leaves the other workspace as it is
    row.type, row.definition, row.workspace_root = fact.type, fact.definition, fact.workspace_root
    row.workspace, row.role, row.priority, row.node = fact.workspace, fact.role, fact.priority, fact.node
    _mended(row)
    return row


def _mended(row: Agent) -> None:
    """Let the agent take work again; it counts as healthy until a check says otherwise."""
    row.stopped, row.healthy, row.failed_checks, row.reason, row.returns = False, True, [], "", 0


def decide_register(wanted: AgentRegistered, row: AgentType | None, floor: int = 0) -> list[NewEvent]:
    """Register a validated definition; nothing where it is registered as it is. Raises Invalid."""
    check_id(wanted.slug, "type")
    if row is not None and row.definition == wanted.definition and row.source == wanted.source:
        return []
    return [NewEvent(f"type:{wanted.slug}", wanted, _version(row, floor))]


def decide_assign(
    wanted: Assignment, row: Agent | None, stranded: NewEvent | None = None, floor: int = 0, lost: Collection[str] = ()
) -> list[NewEvent]:
    """Create an agent, move it, or change its role and priority. It then takes work, also if it was stopped.

    stranded: the end of its run where that is on a lost node (`assignment.stranded_end`): it goes with the move. lost:
    the nodes that are lost. To force a move the caller first stops the agent and waits for its run to end. Raises
    Invalid; Refused when the id is another type's, when the agent would move while it runs, or to a lost node.
    """
    check_id(wanted.agent, "agent")
    check_priority(wanted.priority)
    if wanted.role:
        check_text(wanted.role, "role")
    fact = _placed(wanted, row)
    moved = row is not None and (row.workspace, row.node) != (fact.workspace, fact.node)
    events = []
    if fact.node in lost and (row is None or moved):
        raise Refused(
            f"node {fact.node} is lost", where="--node", mend="start its daemon there (maestro up), or name another"
        )
    if row is not None and row.running and moved:
        if stranded is None:
            raise Refused(
                f"agent {row.id} runs task {row.task}", mend="wait for it, or --force stops it before the move"
            )
        events.append(stranded)
    return [*events, NewEvent(f"agent:{wanted.agent}", fact, _version(row, floor))]


def _placed(wanted: Assignment, row: Agent | None) -> AgentAssigned:
    workspace, node, role, priority = wanted.workspace, wanted.node, wanted.role, wanted.priority
    if workspace is not None and (not workspace.startswith("/") or "\0" in workspace):
        raise Invalid(f"workspace {shown(workspace)} is no absolute path")
    if row is not None:
        if row.type != wanted.type:
            raise Refused(
                f"agent {row.id} is of type {row.type}, not {wanted.type}", mend="choose another id with --name"
            )
        role = row.role if role is None else role
        priority = row.priority if priority is None else priority
        if workspace is None:
            workspace, node = row.workspace, node or row.node
    if workspace is not None and node is None:
        raise Invalid(f"workspace {shown(workspace)} is on no node", mend="name it with --node")
    if node is not None:
        check_id(node, "node")
    return AgentAssigned(
        agent=wanted.agent,
        type=wanted.type,
        definition=wanted.definition,
        workspace_root=wanted.workspace_root,
        workspace=workspace,
        role=role or "",
        priority=3 if priority is None else priority,
        node=node,
    )


def decide_stop(agent: str, row: Agent | None, reason: str = "", force: bool = False, floor: int = 0) -> list[NewEvent]:
    """Stop an agent: it takes no more work, and its run is stopped, at once with force.

    Nothing where it is stopped and has no run. Raises NotFound.
    """
    row = _known(agent, row)
    if row.stopped and not row.run:
        return []
    return [NewEvent(f"agent:{agent}", AgentStopped(agent, reason, force), _version(row, floor))]


def decide_restart(agent: str, row: Agent | None, floor: int = 0) -> list[NewEvent]:
    """Let an agent take work again. Raises NotFound."""
    row = _known(agent, row)
    return [NewEvent(f"agent:{agent}", AgentRestarted(agent), _version(row, floor))]


def decide_reset(agent: str, row: Agent | None, snapshot: str | None = None, floor: int = 0) -> list[NewEvent]:
    """Record that an agent's workspace was made anew, after the caller has stopped the agent.

    Raises NotFound; Refused while a run holds it.
    """
    row = _known(agent, row)
    if row.run:
        raise Refused(f"agent {agent} runs task {row.task}", mend=f"stop it first: maestro agent stop {agent}")
    return [NewEvent(f"agent:{agent}", AgentReset(agent, snapshot), _version(row, floor))]


def decide_clear(agent: str, row: Agent | None) -> None:
    """Check that an agent's files may be deleted, as no run of its uses them. Raises NotFound; Refused
    while one does.
    """
    row = _known(agent, row)
    if row.running:
        raise Refused(f"agent {agent} runs task {row.task} again", mend=f"stop it first: maestro agent stop {agent}")


def _known(agent: str, row: Agent | None) -> Agent:
    if row is None:
        raise NotFound(
            f"there is no agent {shown(agent)}", mend="maestro agent list shows all", sought=("agent", agent)
        )
    return row


def _version(row: Agent | AgentType | None, floor: int) -> int:
    return floor if row is None else max(row.version, floor)
