"""The reason why a slot waits, for `queue status` in words and for monitors in kinds: always one, the first that would
have to go.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from maestro.model.agent import Agent
from maestro.model.node import Node
from maestro.model.scheduling.census import DEPENDENCY, RETRY, START
from maestro.model.scheduling.lanes import SHARED, Holder, Lane
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import Ground, Site, shown_agent
from maestro.model.target import is_pool
from maestro.model.task import Run, Task

KINDS: Final = ("ready", START, "slot", "node", "workspace", "agent", RETRY, DEPENDENCY, "paused")
"""What a slot can wait for: nothing (the next decision), that its node starts it, room there, a node that takes work, a
workspace, an agent, a time, another task, or a workflow's run that is paused.
"""


class Why(NamedTuple):
    """Why a slot waits. kind: one of KINDS, "" where it does not wait; text: in words."""

    kind: str = ""
    text: str = ""


_NEAREST = ("slot", "node", "workspace", "agent")
"""Of a pool's agents the one that lacks least says of what kind the reason is."""
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

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._lanes: dict[Lane, Why] = {}
        self._simple: dict[tuple[str, bool], Why] = {}
        self._agents: dict[tuple[str, bool, Ground, Holder, tuple[str, ...]], Why] = {}
        self._rooms: dict[str, Why] = {}

    def of(self, task: Task, slot: int, now: int) -> Why:
        """Why slot number `slot` of the task does not run at `now`."""
        plan, what = self._plan, task.slots[slot]
        if what.status != "waiting":
            return self._not_started(what.runs[-1].node) if what.status == "released" else RUNS
        if task.depends_on and not task.begun:
            for name in task.depends_on:
                if plan.dependencies.settled.get(name) != "completed":
                    return Why(DEPENDENCY, f"task {name}")
        if what.retry_at > now:
            return Why(RETRY, f"retry in {max(1, (what.retry_at - now + 999) // 1000)} s")
        if task.workflow and (paused := plan.pauses.paused(task.workflow)):
            return Why("paused", f"workflow run {paused}, which is paused")
        if task.workflow or what.runs:
            return self.of_lane(plan.lane(task, what))
        alike = what.target, task.forced
        why = self._simple.get(alike)
        if why is None:
            why = self._simple[alike] = self.of_lane(plan.lane(task, what))
        return why

    def _not_started(self, node: str | None) -> Why:
        if node is None:
            return Why(START, "a node to start it")
        gone = _why_no_node(self._plan, node)
        return Why(START, f"node {node} to start it" if gone is None else gone.text)

    def of_lane(self, lane: Lane) -> Why:
        """Why nobody takes what waits in a lane, where its workflow's run is not paused."""
        why = self._lanes.get(lane)
        if why is None:
            why = self._lanes[lane] = self._why_nobody(lane)
        return why

    def _why_nobody(self, lane: Lane) -> Why:
        target, pool = lane.target, is_pool(lane.target)
        members = self._plan.crew.candidates(target)
        if lane.strict:
            members = [agent for agent in members if agent.id not in lane.avoid]
        if not members:
            return Why("agent", f"another agent of {target}" if pool else f"agent {target} to be assigned")
        reasons = []
        for agent in members:
            why = self._of_agent(agent, lane)
            if why == RUNS:
                return Why("ready", "its turn")
            reasons.append(why)
        if len(reasons) == 1:
            return reasons[0]
        told = "; ".join(each.text for each in reasons[:3])
        nearest = min((each.kind for each in reasons), key=_NEAREST.index)
        return Why(nearest, f"an agent of {target} ({told}{'; ...' if len(reasons) > 3 else ''})")

    def _of_agent(self, agent: Agent, lane: Lane) -> Why:
        """As `_not_agent`, which is asked once for all lanes of a kind."""
        key = agent.id, lane.forced, lane.ground, lane.holder, lane.labels
        why = self._agents.get(key)
        if why is None:
            why = self._agents[key] = self._not_agent(agent, lane)
        return why

    def _not_agent(self, agent: Agent, lane: Lane) -> Why:
        """Why an agent does not take what waits in a lane; RUNS where it can."""
        plan = self._plan
        if why := _why_not_able(agent, lane.forced):
            return Why("agent", why)
        if agent.run:
            return Why("agent", f"agent {agent.id} is busy with task {agent.task}")
        site = plan.crew.site(lane.ground, agent)
        if site is None:
            return Why("agent", f"agent {lane.ground.place}, whose workspace it needs, to be assigned")
        if lane.labels and (unfit := self._why_not_labelled(site, lane.labels)):
            return unfit
        if site.owner not in ("", agent.id) and (why := _why_not_able(plan.agents[site.owner], lane.forced)):
            return Why("agent", f"{why}, whose workspace it needs" if why.endswith("stopped") else why)
        if site.place is not None and (why := _why_not_place(plan, site, lane)):
            return Why("workspace", why)
        if site.node != SHARED and (gone := _why_no_node(plan, site.node)):
            return gone
        return self._no_room(site.node)

    def _why_not_labelled(self, site: Site, labels: tuple[str, ...]) -> Why | None:
        """Why no node with these labels takes it; None where one does, or where that is the node's own affair."""
        told = f"a node with the label{'s' if len(labels) > 1 else ''} {' and '.join(labels)}"
        nodes = [node for node in self._plan.nodes.values() if node.has(labels) and not node.forgotten]
        if site.node != SHARED:
            is_there = any(node.id == site.node for node in nodes)
            return None if is_there else Why("node", f"{told}, which {site.node} has not")
        if not nodes:
            return Why("node", f"{told}, which none has")
        taking = [node for node in nodes if node.takes_work]
        if not taking:
            return _why_no_node(self._plan, nodes[0].id) or Why("node", told)
        return RUNS if any(self._free.get(node.id, 0) for node in taking) else Why("slot", f"a slot on {told}")

    def _no_room(self, name: str) -> Why:
        """Why a node has no room, or for SHARED none; RUNS where there is some."""
        if name not in self._rooms:
            self._rooms[name] = self._why_no_room(name)
        return self._rooms[name]

    def _why_no_room(self, name: str) -> Why:
        if name == SHARED and not any(node.takes_work for node in self._plan.nodes.values()):
            return Why("node", "a node that takes work")
        if self._free.get(name, 0):
            return RUNS
        return Why("slot", "a slot on any node" if name == SHARED else f"a slot on node {name}")

    @functools.cached_property
    def _free(self) -> dict[str, int]:
        """The room of each node. Runs of tasks that are not in the plan are counted from the agents."""
        crew = self._plan.crew
        others = [agent for agent in self._plan.agents.values() if agent.run and agent.run not in crew.live]
        return crew.free_slots(Counter(agent.node or SHARED for agent in others))


def _why_not_able(agent: Agent, forced: bool) -> str:
    if agent.stopped:
        return f"agent {agent.id} is stopped"
    if not agent.healthy and not forced:
        return f"agent {agent.id} is unhealthy: {agent.reason or ', '.join(agent.failed_checks)}"
    if agent.guard is not None and agent.run != agent.guard.run:
        return f"the workspace of agent {agent.id} to be as it was before run {agent.guard.run}"
    return ""


def _why_not_place(plan: Plan, site: Site, lane: Lane) -> str:
    """Why nobody may begin to write to a workspace now. Agents are asked, too, as running tasks may not be there."""
    place = site.place
    assert place is not None
    what = "the folder of its run" if site.in_run_folder else f"workspace {site.workspace}"
    if plan.holds.keeps_out(place, lane.holder):
        run, step = plan.holds.holder(place) or ("", "")
        return f"{what} is held by step {step} of workflow run {run}"
    for other in plan.crew.sharers.get(place, ()):
        if plan.agents[other].run:
            return f"{what} is in use by agent {other}"
    if plan.crew.is_free(place, site.common):
        return ""
    live = plan.crew.live[min(plan.crew.writers[place])]
    return f"{what} is in use by task {live.task} of agent {shown_agent(live.agent)}"


def _why_no_node(plan: Plan, name: str) -> Why | None:
    node = plan.nodes.get(name)
    if node is None:
        return Why("node", f"node {name} has not joined")
    if node.held:
        return Why("node", f"node {name} is held: {node.hold or node.reason}")
    if name in plan.crew.still:
        return Why("node", f"node {name} holds still for snapshot {plan.crew.still[name]}")
    if node.drained:
        return Why("node", f"node {name}, which is drained (maestro node drain {name} --undo)")
    if node.status == "up":
        return None
    return Why("node", f"node {name} is {'lost' if node.status == 'lost' else 'down'}")


def why_stranded(run: Run | None, nodes: Iterable[Node]) -> str:
    """What a run that is on waits for, in words: its node, where that is lost; "" for nothing."""
    if (
        run is None
        or run.status != "running"
        or not any(node.id == run.node and node.status == "lost" for node in nodes)
    ):
        return ""
    elsewhere = f"maestro agent assign {run.agent} --from-snapshot newest --node <node>"
    return f"node {run.node}, which is lost; start its daemon there (maestro up), or go on elsewhere: {elsewhere}"


def why_not_over(task: Task | None, nodes: Mapping[str, Node], leased: Collection[str]) -> str:
    """What the end of a task's first live run waits for, in words; "" where none is on. leased: nodes that answer."""
    run = next((slot.live for slot in task.slots if slot.live is not None), None) if task is not None else None
    if run is None:
        return ""
    node = nodes.get(run.node or "")
    if node is None:
        return f"run {run.id}, which no node has taken"
    told = f"run {run.id} on node {node.id}"
    if node.status == "lost":
        return f"{told}, which is lost"
    return told if node.id in leased else f"{told}, which is silent and is taken for lost soon"
