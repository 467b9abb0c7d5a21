"""The health of agents: the one rule that lists, checks, dispatches and releases follow.

The row of an agent says which checks failed when they were made last. Not everybody can make every check: what lies on
a node's disks is seen there only, whether a node is lost stands in the log. A recorded failure stays until somebody who
can make that check finds it passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from maestro.model.agent import Agent, decide_health, decide_restart
from maestro.model.errors import Refused
from maestro.model.events import AgentHealthChanged, NewEvent
from maestro.model.node import Node

NODE: Final = "node"
WORKSPACE: Final = "workspace"
HEARTBEAT: Final = "heartbeat"
HEARTBEAT_S_MAX: Final = 60.0


class Check(msgspec.Struct, frozen=True):
    """The result of one check of an agent. detail: what was seen, for people; notable: it holds, and wants a look."""

    name: str
    ok: bool
    detail: str
    notable: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """The health of an agent. failed: names of the checks that do not hold; reason: what was seen of them."""

    failed: tuple[str, ...]
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether all checks hold."""
        return not self.failed


class SeenWorkspace(msgspec.Struct, frozen=True):
    """What a node sees of a workspace. there: the folder exists; problem: why it cannot be used, or "".

    shown: which folder of which file system its path leads to, "" where that is unknown.
    """

    there: bool
    problem: str = ""
    shown: str = ""


class RememberedWorkspace(msgspec.Struct, frozen=True):
    """What a node remembers of a workspace that it has made or seen for an agent.

    assigned_at: the time of that assignment, ms; shown: as in `SeenWorkspace`.
    """

    workspace: str
    assigned_at: int
    shown: str = ""


def examines(here: str, agent: Agent, nodes: Mapping[str, Node]) -> bool:
    """Whether the node `here` makes an agent's checks for a command: two nodes would contradict each other.

    A node examines its own agents; a free agent that runs nowhere is examined by the only node that is up.
    """
    if agent.node is not None:
        return agent.node == here
    return not agent.run and all(node.status != "up" for node in nodes.values() if node.id != here)


def is_fit(agent: Agent) -> bool:
    """Whether work may be given to an agent: it is healthy, and nobody has stopped it."""
    return agent.healthy and not agent.stopped


def verdict(row: Agent, checks: Sequence[Check]) -> Verdict:
    """The health of an agent whose row says what was found before, after `checks` were made."""
    made = {check.name: check for check in checks}
    failed = [name for name in row.failed_checks if name not in made or not made[name].ok]
    failed += [check.name for check in checks if not check.ok and check.name not in failed]
    if failed == row.failed_checks:
        return Verdict(tuple(failed), row.reason)
    told = (made[name].detail if name in made else f"{name} failed" for name in failed)
    return Verdict(tuple(failed), "; ".join(told))


def decide_checked(row: Agent, checks: Sequence[Check], floor: int = 0) -> list[NewEvent]:
    """Record what checks change about an agent's health; nothing where it is recorded already."""
    found = verdict(row, checks)
    return decide_health(row.id, row, found.failed, found.reason, floor)


def node_check(agent: Agent, nodes: Mapping[str, Node]) -> Check:
    """Check that the node that owns an agent's workspace is not lost. One that was shut down in order is not."""
    node = None if agent.node is None else nodes.get(agent.node)
    if agent.node is None:
        return Check(NODE, True, "any node will do")
    if node is None:
        return Check(NODE, True, f"node {agent.node} has not joined yet")
    return Check(NODE, node.status != "lost", f"node {node.id} is {node.status}")


def heartbeat_check(agent: Agent, nodes: Mapping[str, Node], age_s: float | None, now: int) -> Check:
    """Check that the node of an agent has sent a heartbeat lately.

    age_s: since the last one, None where none is known. A node that is down, that has just started, or to which the
    agent has just been assigned, need not have sent one. now: server ms.
    """
    owners = nodes.values() if agent.node is None else [nodes[agent.node]] if agent.node in nodes else []
    since = [max(node.joined_at, agent.assigned_at) for node in owners if node.status == "up"]
    due = any(now - at > HEARTBEAT_S_MAX * 1000 for at in since)
    if age_s is not None and age_s < HEARTBEAT_S_MAX:
        return Check(HEARTBEAT, True, f"{age_s:.1f} s ago")
    told = f"no heartbeat in the last {HEARTBEAT_S_MAX:.0f} s"
    if not due:
        return Check(HEARTBEAT, True, f"{told}: its node is down, or has just started, or has just got the agent")
    return Check(HEARTBEAT, False, f"{told}: is the daemon of its node up?")


def is_remembered(agent: Agent, known: RememberedWorkspace | None) -> bool:
    """Whether a node remembers to have seen the workspace since the agent was assigned to it."""
    return known is not None and known.workspace == agent.workspace and known.assigned_at >= agent.assigned_at


def workspace_check(agent: Agent, seen: SeenWorkspace, known: RememberedWorkspace | None) -> Check:
    """Check that an assigned workspace can be used, and is the folder that it was. One that is gone is not
    made again.
    """
    path, remembered = agent.workspace or "", is_remembered(agent, known)
    if seen.problem:
        return Check(WORKSPACE, False, f"{path} {seen.problem}")
    if not seen.there:
        was_in_it = not agent.run and agent.runs > 0 and agent.last_run_at >= agent.assigned_at
        if remembered or was_in_it:
            return Check(WORKSPACE, False, f"{path} was there and is gone")
        return Check(WORKSPACE, True, f"{path} is to be made")
    if remembered and known is not None and known.shown and seen.shown not in ("", known.shown):
        what = f"{path} is another folder than it was ({seen.shown}, before {known.shown}): is a mount new or missing?"
        return Check(WORKSPACE, False, what)
    return Check(WORKSPACE, True, f"{path} can be used")


def check_kept(row: Agent | None, workspace: str | None) -> None:
    """Check that an assignment that names no workspace keeps one that can be used.

    Raises Refused: to have the workspace made anew, a user names it.
    """
    if workspace is None and row is not None and WORKSPACE in row.failed_checks:
        raise Refused(f"agent {row.id} cannot keep its workspace: {row.reason}", mend=way_out(row))


def decide_health_by_nodes(agents: Iterable[Agent], nodes: Mapping[str, Node], floor: int = 0) -> list[NewEvent]:
    """Agents of lost nodes become unhealthy; those whose nodes are back become healthy, if they were ill of
    that only.
    """
    return [event for agent in agents for event in decide_checked(agent, [node_check(agent, nodes)], floor)]


def still_lost(agent: str, node: Node | None) -> list[NewEvent]:
    """Behind an event that makes an agent healthy again: unhealthy once more, where its node is lost."""
    if node is None or node.status != "lost":
        return []
    return [NewEvent(f"agent:{agent}", AgentHealthChanged(agent, False, (NODE,), f"node {node.id} is lost"))]


def decide_taking_work(agent: str, row: Agent | None, nodes: Mapping[str, Node], floor: int = 0) -> list[NewEvent]:
    """A user lets an agent take work again; it stays unhealthy where its node is lost. Raises NotFound."""
    node = None if row is None or row.node is None else nodes.get(row.node)
    return [*decide_restart(agent, row, floor), *still_lost(agent, node)]


def way_out(agent: Agent, failed: Sequence[str] | None = None) -> str:
    """What a user can do about an unhealthy agent, in words. failed: the failed checks, else those that are
    recorded.
    """
    names = agent.failed_checks if failed is None else failed
    again = f"agent assign {agent.type} --name {agent.id} --to-workspace"
    if NODE in names:
        return f"start the daemon of its node (maestro up), or move the agent: {again} <folder> --node <node>"
    if WORKSPACE in names:
        path = agent.workspace or "<folder>"
        return f"{again} {path} takes or makes it anew, state restore <snapshot> --workspace {path} brings it back"
    return f"agent health {agent.id}; --force overrides"
