"""The reason why a slot waits, in words, in kinds for monitors, and with what would let it go on: always one, the first
that would have to go. All that tells why a task does not go on asks here (`explanation.py`).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from maestro.model.agent import Agent
from maestro.model.monitoring.failsafe import held
from maestro.model.monitoring.health_rules import DISK, NODE, STORE
from maestro.model.node import Node
from maestro.model.restore import STOP_REASON
from maestro.model.scheduling.census import DEPENDENCY, RETRY, START
from maestro.model.scheduling.lanes import SHARED, Holder, Lane
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import Ground, Site, shown_agent
from maestro.model.scheduling.ways import WAYS, way_on
from maestro.model.target import is_pool
from maestro.model.task import Task

KINDS: Final = ("ready", START, "slot", "node", "workspace", "agent", RETRY, DEPENDENCY, "paused")
"""What a slot can wait for: nothing (the next decision), that its node starts it, room there, a node that takes work, a
workspace, an agent, a time, another task, or a workflow's run that is paused.
"""


class Why(NamedTuple):
    """Why a slot waits. kind: one of KINDS, "" where it does not wait; text: in words.

    reason: one of `ways.REASONS`; about: whom or what its way on names, agent: the agent that is meant, where one is.
    since: since when that is so, server ms, 0 where it is not known apart from the wait itself. more: what else has to
    be done, in words.
    """

    kind: str = ""
    text: str = ""
    reason: str = ""
    about: str = ""
    agent: str = ""
    since: int = 0
    more: str = ""

    @property
    def way(self) -> str:
        """What would let it go on, in words."""
        way = way_on(self.reason, self.about, self.agent)
        return f"{way}; {self.more}" if self.more else way


class Around(NamedTuple):
    """What the plan does not know. pending: by agent, why a restore has yet to exchange its workspace; short: by node,
    why it is short of disk room. silent: nodes that hold no lease, and are taken for lost soon. since: since when it is
    so, server ms: of an agent that takes nothing, of `run:<id>` that is paused, of `node:<id>` that is short.
    """

    pending: Mapping[str, str] = {}
    short: Mapping[str, str] = {}
    silent: Collection[str] = ()
    since: Mapping[str, int] = {}


_NEAREST = ("slot", "node", "workspace", "agent")
_BY_ITSELF: Final = frozenset(("agent_busy", "node_full", "node_still", "workspace_shared", "workspace_held"))
"""Reasons that end without anybody's help."""
RUNS: Final = Why()
"""Of a slot that does not wait."""


def why_waiting(plan: Plan, task: Task, slot: int, now: int) -> str:
    """Why slot number `slot` of the task does not run at `now`, in words; "" where it runs or has ended."""
    return Reasons(plan).of(task, slot, now).text


class Reasons:
    """The reasons of a plan at one moment; of many slots they cost little, as those of one lane have the same.

    The plan may hold just the tasks of interest and their dependencies, with all agents and nodes. What it learns
    later is told of slots whose lane was not looked at yet.
    """

    def __init__(self, plan: Plan, around: Around = Around()) -> None:  # noqa: B008 - it is a constant
        self.plan = plan
        self.around = around
        self._lanes: dict[Lane, Why] = {}
        self._simple: dict[tuple[str, bool], Why] = {}
        self._agents: dict[tuple[str, bool, Ground, Holder, tuple[str, ...]], Why] = {}
        self._rooms: dict[str, Why] = {}

    def of(self, task: Task, slot: int, now: int) -> Why:
        """Why slot number `slot` of the task does not run at `now`."""
        plan, what = self.plan, task.slots[slot]
        if what.status != "waiting":
            return self._not_started(what.runs[-1].node) if what.status == "released" else RUNS
        if task.depends_on and not task.begun:
            for name in task.depends_on:
                if plan.dependencies.settled.get(name) != "completed":
                    return Why(DEPENDENCY, f"task {name}", "dependency", name)
        if what.retry_at > now:
            return Why(RETRY, f"retry in {max(1, (what.retry_at - now + 999) // 1000)} s", "retry")
        if task.workflow and (paused := plan.pauses.paused(task.workflow)):
            since = self.around.since.get(f"run:{paused}", 0)
            if plan.pauses.why(paused) == "budget":
                told = f"workflow run {paused}, whose budget is used up"
                return Why("paused", told, "budget", paused, since=since)
            return Why("paused", f"workflow run {paused}, which is paused", "pause", paused, since=since)
        if task.workflow or what.runs:
            return self.of_lane(plan.lane(task, what))
        alike = what.target, task.forced
        why = self._simple.get(alike)
        if why is None:
            why = self._simple[alike] = self.of_lane(plan.lane(task, what))
        return why

    def _not_started(self, node: str | None) -> Why:
        if node is None:
            return Why(START, "a node to start it", "start")
        gone = _why_no_node(self.plan, node)
        if gone is not None:
            return gone._replace(kind=START)
        if node in self.around.short:
            told = f"node {node} to start it, which is short: {self.around.short[node]}"
            return Why(START, told, "disk", node, since=self.around.since.get(f"node:{node}", 0))
        if node in self.around.silent:
            return Why(START, f"node {node} to start it, which is silent", "node_silent", node)
        return Why(START, f"node {node} to start it", "start", node)

    def of_lane(self, lane: Lane) -> Why:
        """Why nobody takes what waits in a lane, where its workflow's run is not paused."""
        why = self._lanes.get(lane)
        if why is None:
            why = self._lanes[lane] = self._why_nobody(lane)
        return why

    def _why_nobody(self, lane: Lane) -> Why:
        target, pool = lane.target, is_pool(lane.target)
        members = self.plan.crew.candidates(target)
        if lane.labels and not self._labelled(lane.labels):
            return Why("node", f"{_told_of(lane.labels)}, which none has", "label", ", ".join(lane.labels))
        if lane.strict:
            members = [agent for agent in members if agent.id not in lane.avoid]
        if not members:
            if pool:
                return Why("agent", f"another agent of {target}", "pool_empty", target)
            return Why("agent", f"agent {target} to be assigned", "agent_missing", target)
        reasons = []
        for agent in members:
            why = self._of_agent(agent, lane)
            if why == RUNS:
                return Why("ready", "its turn", "ready")
            reasons.append(why)
        if len(reasons) == 1:
            return reasons[0]
        told = "; ".join(each.text for each in reasons[:3])
        return min(reasons, key=_far)._replace(text=f"an agent of {target} ({told}{'; ...' if reasons[3:] else ''})")

    def _of_agent(self, agent: Agent, lane: Lane) -> Why:
        """As `_not_agent`, which is asked once for all lanes of a kind."""
        key = agent.id, lane.forced, lane.ground, lane.holder, lane.labels
        why = self._agents.get(key)
        if why is None:
            why = self._agents[key] = self._not_agent(agent, lane)
        return why

    def _not_agent(self, agent: Agent, lane: Lane) -> Why:
        """Why an agent does not take what waits in a lane; RUNS where it can."""
        plan = self.plan
        site = plan.crew.site(lane.ground, agent)
        if site is not None and site.node != SHARED and (unfit := self._why_not_labelled(site, lane.labels, agent.id)):
            return unfit  # first, as nothing that the agent does would change it
        if why := self._why_not_able(agent, lane.forced):
            return why
        if agent.run:
            bound = None if site is None or site.node == SHARED else _why_no_node(plan, site.node, agent.id)
            if bound is not None and bound.reason not in _BY_ITSELF:
                return bound  # it would be in the way when the run has ended, too
            live = plan.run(agent.run)
            since = 0 if live is None else live[1].released_at
            return Why(
                "agent", f"agent {agent.id} is busy with task {agent.task}", "agent_busy", agent.task, since=since
            )
        if site is None:
            name = lane.ground.place
            return Why("agent", f"agent {name}, whose workspace it needs, to be assigned", "agent_missing", name)
        if unfit := self._why_not_labelled(site, lane.labels, agent.id):
            return unfit
        if site.owner not in ("", agent.id) and (why := self._why_not_able(plan.agents[site.owner], lane.forced)):
            return why._replace(text=f"{why.text}, whose workspace it needs") if why.text.endswith("stopped") else why
        if site.place is not None and (why := _why_not_place(plan, site, lane)):
            return why
        if site.node != SHARED and (gone := _why_no_node(plan, site.node, site.owner or agent.id)):
            return gone
        return self._no_room(site.node)

    def _why_not_able(self, agent: Agent, forced: bool) -> Why | None:
        """Why an agent takes nothing, whatever it is; None where it does."""
        name = agent.id
        if agent.stopped:
            if name in self.around.pending:
                told = self.around.pending[name]
                return Why("agent", f"agent {name}: {told}", "pending" if WAYS["pending"] in told else "restore", name)
            restored, held_as = agent.reason.startswith(f"{STOP_REASON} "), held(agent)
            reason = "restore" if restored else "agent_held" if held_as else "agent_stopped"
            return Why("agent", f"agent {name} is stopped", reason, name, since=self.around.since.get(name, 0))
        if not agent.healthy and not forced:
            told = agent.reason or ", ".join(agent.failed_checks)
            lost = self.plan.nodes.get(agent.node or "") if NODE in agent.failed_checks else None
            since = self.around.since.get(name, 0)
            if lost is not None and lost.status == "lost":
                since = since or lost.changed_at  # which is that of a drain, where one came behind the loss
                what = f"agent {name} is unhealthy: {told}"
                return Why("agent", what, "node_lost", lost.id, name, since, drained_too(lost))
            reason = next((word for word in (DISK, STORE) if word in agent.failed_checks), "agent_unhealthy")
            return Why("agent", f"agent {name} is unhealthy: {told}", reason, name, since=since)
        if agent.guard is not None and agent.run != agent.guard.run:
            told = f"the workspace of agent {name} to be as it was before run {agent.guard.run}"
            return Why("agent", told, "agent_guarded", name)
        return None

    def _why_not_labelled(self, site: Site, labels: tuple[str, ...], agent: str) -> Why | None:
        """Why no node with these labels takes it; None where one does, or where that is the node's own affair."""
        if not labels:
            return None
        told, named, nodes = _told_of(labels), ", ".join(labels), self._labelled(labels)
        if site.node != SHARED:
            is_there = any(node.id == site.node for node in nodes)
            lacks = f"{told}, which {site.node}, where agent {shown_agent(agent)} is, has not"
            return None if is_there else Why("node", lacks, "label", named)
        taking = [node for node in nodes if node.takes_work]
        if not taking:
            return _why_no_node(self.plan, nodes[0].id) or Why("node", told, "label", named)
        if any(self._free.get(node.id, 0) for node in taking):
            return RUNS
        return Why("slot", f"a slot on {told}", "node_full", told)

    def _labelled(self, labels: tuple[str, ...]) -> list[Node]:
        return [node for node in self.plan.nodes.values() if node.has(labels) and not node.forgotten]

    def _no_room(self, name: str) -> Why:
        """Why a node has no room, or for SHARED none; RUNS where there is some."""
        if name not in self._rooms:
            self._rooms[name] = self._why_no_room(name)
        return self._rooms[name]

    def _why_no_room(self, name: str) -> Why:
        if name == SHARED and not any(node.takes_work for node in self.plan.nodes.values()):
            return Why("node", "a node that takes work", "no_node")
        if self._free.get(name, 0):
            return RUNS
        if name == SHARED:
            return Why("slot", "a slot on any node", "node_full", "any node")
        return Why("slot", f"a slot on node {name}", "node_full", f"node {name}")

    @functools.cached_property
    def _free(self) -> dict[str, int]:
        """The room of each node. Runs of tasks that are not in the plan are counted from the agents."""
        crew = self.plan.crew
        others = [agent for agent in self.plan.agents.values() if agent.run and agent.run not in crew.live]
        return crew.free_slots(Counter(agent.node or SHARED for agent in others))


def _far(why: Why) -> tuple[int, int]:
    """How far one agent of a pool is from taking a task: the nearest says of what kind the reason is. What ends by
    itself comes first, a label that its node lacks last, as no wait would mend that.
    """
    return 0 if why.reason in _BY_ITSELF else 2 if why.reason == "label" else 1, _NEAREST.index(why.kind)


def _told_of(labels: tuple[str, ...]) -> str:
    return f"a node with the label{'s' if len(labels) > 1 else ''} {' and '.join(labels)}"


def _why_not_place(plan: Plan, site: Site, lane: Lane) -> Why | None:
    """Why nobody may begin to write to a workspace now. Agents are asked, too, as running tasks may not be there."""
    place = site.place
    assert place is not None
    what = "the folder of its run" if site.in_run_folder else f"workspace {site.workspace}"
    if plan.holds.keeps_out(place, lane.holder):
        run, step = plan.holds.holder(place) or ("", "")
        return Why("workspace", f"{what} is held by step {step} of workflow run {run}", "workspace_held", run)
    for other in plan.crew.sharers.get(place, ()):
        if plan.agents[other].run:
            busy = plan.agents[other].task
            return Why("workspace", f"{what} is in use by agent {other}", "workspace_shared", busy, other)
    if plan.crew.is_free(place, site.common):
        return None
    live = plan.crew.live[min(plan.crew.writers[place])]
    told = f"{what} is in use by task {live.task} of agent {shown_agent(live.agent)}"
    return Why("workspace", told, "workspace_shared", live.task, live.agent)


def _why_no_node(plan: Plan, name: str, agent: str = "") -> Why | None:
    """Why nothing is released to a node; None where something is. agent: the one that is bound to it."""
    node = plan.nodes.get(name)
    if node is None:
        return Why("node", f"node {name} has not joined", "node_unknown", name)
    at = node.changed_at
    if node.held:
        return Why("node", f"node {name} is held: {node.hold or node.reason}", "node_held", name, since=at)
    if name in plan.crew.still:
        snapshot = plan.crew.still[name]
        return Why("node", f"node {name} holds still for snapshot {snapshot}", "node_still", snapshot)
    if node.drained:
        told = f"node {name}, which is drained (maestro node drain {name} --undo)"
        more = "" if node.status == "up" else "and start its daemon there (maestro up)"
        return Why("node", told, "node_drained", name, agent, at, more)
    if node.status == "up":
        return None
    if node.status == "lost":
        return Why("node", f"node {name} is lost", "node_lost" if agent else "node_down", name, agent, at)
    return Why("node", f"node {name} is down", "node_down", name, agent, at)


def drained_too(node: Node) -> str:
    """What has to be done beside starting the daemon of a node that is away; "" where it is not drained."""
    return f"and it is drained, too: maestro node drain {node.id} --undo" if node.drained else ""
