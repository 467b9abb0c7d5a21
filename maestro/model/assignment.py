"""Everything that an assignment appends: the type, the agent, the end of a stranded run, its health, its place."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

import msgspec

from maestro.model.agent import Agent, AgentType, Assignment, decide_assign, decide_register
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Refused
from maestro.model.events import AgentAssigned, AgentRegistered, NewEvent
from maestro.model.health import check_kept, still_lost
from maestro.model.monitoring.health_rules import assigned_anew
from maestro.model.node import Node
from maestro.model.placement import decide_claim
from maestro.model.scheduling.endings import decide_stranded, find_stranded
from maestro.model.task import Task


class AssignmentState(msgspec.Struct, frozen=True):
    """What an assignment must know. agent, type: as they are recorded, None for new ones; task: that the agent runs;
    nodes: all, by id; places: the version of all places (`placement.PLACES`), read before the agents.
    """

    agent: Agent | None
    type: AgentType | None
    task: Task | None
    nodes: Mapping[str, Node]
    places: int
    floor: int = 0

    @property
    def lost(self) -> set[str]:
        """The nodes that are lost."""
        return {node.id for node in self.nodes.values() if node.status == "lost"}


def decide_assignment(wanted: Assignment, known: AssignmentState, stopped: bool = False) -> list[NewEvent]:
    """Assign an agent to a place that the guards have checked. stopped: decide as if the agent's run had ended.

    The type is registered with it where it is new, a run on a lost node ends with a move, the agent is unhealthy where
    its node is lost, and its place is claimed where it is another one. Raises Invalid, Refused as `decide_assign`, and
    Refused where the agent cannot keep the workspace that it has.
    """
    row = known.agent
    check_kept(row, wanted.workspace)
    stranded = None if row is None else stranded_end(row, known.task, known.lost, known.floor)
    if row is not None and stopped:
        row = msgspec.structs.replace(row, running=False)
    source = AgentDefinition(wanted.definition).source
    registered = decide_register(AgentRegistered(wanted.type, wanted.definition, source), known.type, known.floor)
    assigned = decide_assign(wanted, row, stranded, known.floor, known.lost)
    fact = assigned_in(assigned)
    unhealthy = still_lost(fact.agent, known.nodes.get(fact.node or ""))
    return [*registered, *assigned, *unhealthy, *decide_claim(fact, row, known.places)]


def stays_on(row: Agent | None, node: str | None, workspace: str | None) -> str:
    """The node that an assignment goes to where nobody has named one: that of the agent, as a folder is named by its
    path alone; "" where it has none, so that any would do.
    """
    return "" if row is None or node is not None or workspace is None else row.node or ""


def told_move(row: Agent | None, fact: AgentAssigned) -> str:
    """What an assignment to another node leaves behind, and how to go back to it, in words; "" where nothing is left.

    row: the agent as it was.
    """
    if row is None or row.workspace is None or row.node in (None, fact.node):
        return ""
    left = f"what agent {row.id} has in {row.workspace} stays on node {row.node}, and is not in {fact.workspace}"
    return f"{left}; to go back to it: {assigned_anew(row)} {shlex.quote(row.workspace)}"


def away_with_agent(agent: Agent, node: Node | None, here: str) -> Refused:
    """The refusal of another folder for an agent whose node is away, as whoever names no node has it stay there."""
    how = "is lost" if node is not None and node.status == "lost" else "is away"
    what = f"agent {agent.id} is on node {agent.node}, which {how}: nothing was begun"
    elsewhere = f"maestro agent assign {agent.id} --from-snapshot newest --node {here}"
    anew = f"maestro agent assign {agent.type} --name {agent.id} --node {here} --to-workspace <folder>"
    mend = f"start its daemon there (maestro up); or go on here: {elsewhere} with what it had, {anew} without"
    return Refused(what, mend=mend)


def decide_renewal(agent: Agent, registered: AgentRegistered, version: int | None = None) -> NewEvent:
    """Have an agent work by another definition of its type from its next run on, and keep all else that it has.

    version: of the agent, None behind an event of its own in the same append. It takes work then, also if it was
    stopped.
    """
    fact = AgentAssigned(
        agent=agent.id,
        type=agent.type,
        definition=registered.definition,
        workspace_root=agent.workspace_root,
        workspace=agent.workspace,
        role=agent.role,
        priority=agent.priority,
        node=agent.node,
    )
    return NewEvent(f"agent:{agent.id}", fact, version)


def why_not_renewed(agent: Agent, here: str) -> str:
    """Why an agent does not take another definition that the node `here` registers, in words; "" where it does.

    On another node the program may be another one; a stopped agent would take work again.
    """
    if agent.node not in (None, here):
        return f"is on node {agent.node}: maestro agent register {agent.type}, there, takes it"
    if agent.stopped or not agent.healthy:
        return f"is {agent.state}: maestro agent restart {agent.id} takes it"
    return ""


def check_left_behind(agent: Agent, nodes: Mapping[str, Node], here: str, answers: bool) -> None:
    """Check that an agent's workspace lies on a node that is away, so that it may go on here from an archive.

    answers: whether that node does. Raises Refused.
    """
    if agent.workspace is None:
        what = f"agent {agent.id} has no workspace of its own, and works wherever there is room"
        raise Refused(what, mend="there is nothing to do")
    if agent.node == here:
        mend = f"maestro state restore <snapshot> --workspace {agent.id} puts it back"
        raise Refused(f"the workspace of agent {agent.id} is on this node", mend=mend)
    node = nodes.get(agent.node or "")
    if node is not None and node.status == "up":
        if not answers:
            what = f"node {node.id} is silent, and is taken for lost within 15 s if it stays so"
            raise Refused(what, mend="then run this again")
        what = f"the workspace of agent {agent.id} is on node {node.id}, which is up"
        raise Refused(what, mend=f"maestro node drain {node.id} has it leave first")


def stranded_end(agent: Agent, task: Task | None, lost: Collection[str], floor: int = 0) -> NewEvent | None:
    """The end of the run that an agent has on a lost node, None where it has none. task: the one that it runs."""
    run = find_stranded(agent, task, lost)
    return None if run is None or task is None else decide_stranded(task, run, floor)


def assigned_in(events: Sequence[NewEvent]) -> AgentAssigned:
    """The assignment among the events that one appends. Raises Refused where there is none."""
    fact = next((event.fact for event in events if isinstance(event.fact, AgentAssigned)), None)
    if fact is None:
        raise Refused("there is nothing to assign")
    return fact


def decide_first_use(assigned: Sequence[AgentAssigned], places: int, floor: int = 0) -> list[NewEvent]:
    """Register types and assign to each the agent of its name, which nobody has done before a task named them.

    places: the version of all places, read before the agents. The first claim of the append stands for all.
    """
    events: list[NewEvent] = []
    claims: list[NewEvent] = []
    for fact in assigned:
        source = AgentDefinition(fact.definition).source
        events.append(NewEvent(f"type:{fact.type}", AgentRegistered(fact.type, fact.definition, source)))
        events.append(NewEvent(f"agent:{fact.agent}", fact, floor))
        claims += decide_claim(fact, None, None if claims else places)
    return events + claims
