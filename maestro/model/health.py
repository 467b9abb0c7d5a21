"""The health of agents: the one verdict that lists, checks, dispatches and releases follow.

`monitoring/health_rules.py` makes checks out of what was seen. The row of an agent says which of them failed when they
were made last. Not everybody can make every check: what lies on a node's disks is seen there only, whether a node is
lost stands in the log. A recorded failure stays until somebody who can make that check finds it passed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from maestro.model.agent import Agent, decide_restart
from maestro.model.errors import Refused
from maestro.model.events import AgentHealthChanged, CheckFound, NewEvent
from maestro.model.monitoring.failsafe import held
from maestro.model.monitoring.health_rules import (
    HEARTBEAT as HEARTBEAT,
    NODE as NODE,
    OF_THE_RUN,
    WORKSPACE as WORKSPACE,
    Check as Check,
    checks_of as checks_of,
    is_remembered as is_remembered,
    mend_node,
    mend_workspace,
    workspace_check as workspace_check,
)
from maestro.model.monitoring.sights import (
    RememberedWorkspace as RememberedWorkspace,
    SeenHeartbeat as SeenHeartbeat,
    SeenWorkspace as SeenWorkspace,
    Sight as Sight,
)
from maestro.model.node import Node
from maestro.model.restore import STOP_REASON


class Verdict(msgspec.Struct, frozen=True):
    """The health of an agent. failed: names of the checks that do not hold; reason: what was seen of them."""

    failed: tuple[str, ...]
    reason: str

    @property
    def healthy(self) -> bool:
        """Whether all checks hold."""
        return not self.failed


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
    same = failed == row.failed_checks and not (failed and is_other(row, checks))
    if same or row.stopped:  # why it is stopped is what its row tells, and what helps
        return Verdict(tuple(failed), row.reason)
    told = (made[name].detail if name in made else f"{name} failed" for name in failed)
    return Verdict(tuple(failed), "; ".join(told))


def is_other(row: Agent, checks: Iterable[Check]) -> bool:
    """Whether a check that failed before fails for another reason by now. What was measured is none."""
    return not row.stopped and any(not check.ok and check.kind not in row.reason for check in checks)


def decide_checked(row: Agent, checks: Sequence[Check], floor: int = 0) -> list[NewEvent]:
    """Record what checks change about an agent's health, with their evidence; nothing where it is recorded already."""
    found = verdict(row, checks)
    is_same = list(found.failed) == row.failed_checks and found.healthy == row.healthy
    if is_same and (found.healthy or not is_other(row, checks)):
        return []
    concerned = {*row.failed_checks, *found.failed}
    run, task = (row.run, row.task) if row.running else ("", "")
    by_run = bool(run) and not OF_THE_RUN.isdisjoint(found.failed)
    evidence = _evidence(checks, concerned)
    fact = AgentHealthChanged(row.id, found.healthy, found.failed, found.reason, evidence, run, task, by_run)
    return [NewEvent(f"agent:{row.id}", fact, max(row.version, floor))]


def _evidence(checks: Sequence[Check], names: Collection[str]) -> tuple[CheckFound, ...]:
    return tuple(
        CheckFound(check.name, check.ok, check.detail, check.value, check.unit, check.limit, check.mend)
        for check in checks
        if check.name in names
    )


def check_kept(row: Agent | None, workspace: str | None) -> None:
    """Check that an assignment that names no workspace keeps one that can be used.

    Raises Refused: to have the workspace made anew, a user names it.
    """
    if workspace is None and row is not None and WORKSPACE in row.failed_checks:
        why = f"{row.workspace} failed when it was looked at last" if row.stopped else row.reason
        raise Refused(f"agent {row.id} cannot keep its workspace: {why}", mend=way_out(row))


def decide_health_by_nodes(agents: Iterable[Agent], nodes: Mapping[str, Node], floor: int = 0) -> list[NewEvent]:
    """Agents of lost nodes become unhealthy; those whose nodes are back become healthy, if they were ill of
    that only.
    """
    seen = Sight(nodes=nodes)
    return [event for agent in agents for event in decide_checked(agent, checks_of(agent, seen), floor)]


def why_away(agent: Agent, nodes: Mapping[str, Node], here: str) -> str:
    """Why an agent takes nothing as another node is away, in words; "" where that is not so. here: the node that tells,
    whose daemon is started where it is needed.
    """
    node = nodes.get(agent.node or "")
    if node is None or node.id == here or node.status == "up":
        return ""
    return f"node {node.id} {'is lost' if node.status == 'lost' else 'has left'}"


def still_lost(agent: str, node: Node | None) -> list[NewEvent]:
    """Behind an event that makes an agent healthy again: unhealthy once more, where its node is lost."""
    if node is None or node.status != "lost":
        return []
    return [NewEvent(f"agent:{agent}", AgentHealthChanged(agent, False, (NODE,), f"node {node.id} is lost"))]


def decide_taking_work(agent: str, row: Agent | None, nodes: Mapping[str, Node], floor: int = 0) -> list[NewEvent]:
    """A user lets an agent take work again; it stays unhealthy where its node is lost. Raises NotFound."""
    node = None if row is None or row.node is None else nodes.get(row.node)
    return [*decide_restart(agent, row, floor), *still_lost(agent, node)]


def why_stopped(agent: Agent, pending: str = "") -> Refused:
    """The refusal of work for an agent that is stopped, with what lets it go on. pending: why its workspace is not
    exchanged yet, where a restore over several nodes has stopped it; "" where that is not so.
    """
    if pending:
        return Refused(f"agent {agent.id} takes nothing yet: {pending}", mend="then try again")
    if why := held(agent):
        return Refused(f"agent {agent.id} is held: {why}")
    if agent.reason.startswith(f"{STOP_REASON} "):
        mend = "" if "`" in agent.reason else "wait for its end"  # it names the command where one is needed
        return Refused(f"agent {agent.id} is stopped for {agent.reason}", mend=mend)
    return Refused(f"agent {agent.id} is stopped", mend=f"maestro agent restart {agent.id}")


def way_out(agent: Agent, failed: Sequence[str] | None = None) -> str:
    """What a user can do about an unhealthy agent, in words. failed: the failed checks, else those that are
    recorded.
    """
    names = agent.failed_checks if failed is None else failed
    if NODE in names:
        return mend_node(agent)
    if WORKSPACE in names:
        return mend_workspace(agent)
    return f"maestro agent health {agent.id} says what to do about it; --force overrides"
