"""The reason why a slot waits, in words, for `queue status`: always one, the first that would have to go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from maestro.model.agent import Agent
from maestro.model.node import Node
from maestro.model.scheduling.lanes import SHARED, Lane
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import Site, shown_agent
from maestro.model.task import Slot, Task


def why_waiting(plan: Plan, task: Task, slot: int, now: int) -> str:
    """Why slot number `slot` of the task does not run at `now`; "" where it runs or has ended.

    The plan may hold just the tasks of interest and their dependencies, with all agents and nodes.
    """
    what = task.slots[slot]
    run = what.live
    if what.status == "ended":
        return ""
    if run is not None:
        return "" if run.status == "running" else _why_not_started(plan, run.node)
    if not task.begun:
        for name in task.depends_on:
            if plan.dependencies.settled.get(name) != "completed":
                return f"task {name}"
    if what.retry_at > now:
        return f"retry in {max(1, (what.retry_at - now + 999) // 1000)} s"
    if paused := plan.pauses.paused(task.workflow):
        return f"workflow run {paused}, which is paused"
    return _why_nobody(plan, task, what)


def _why_not_started(plan: Plan, node: str | None) -> str:
    if node is None:
        return "a node to start it"
    return _why_no_node(plan, node) or f"node {node} to start it"


def _why_nobody(plan: Plan, task: Task, slot: Slot) -> str:
    lane = plan.lane(task, slot)
    members = plan.crew.candidates(slot.target)
    if lane.strict:
        members = [agent for agent in members if agent.id not in lane.avoid]
    if not members:
        return f"another agent of {slot.target}" if slot.pool else f"agent {slot.target} to be assigned"
    reasons = [_why_not_agent(plan, agent, lane) for agent in members]
    if "" in reasons:
        return "its turn"
    if len(reasons) == 1 or not slot.pool:
        return reasons[0]
    return f"an agent of {slot.target} ({'; '.join(reasons[:3])}{'; ...' if len(reasons) > 3 else ''})"


def _why_not_agent(plan: Plan, agent: Agent, lane: Lane) -> str:
    if why := _why_not_able(agent, lane.forced):
        return why
    if agent.run:
        return f"agent {agent.id} is busy with task {agent.task}"
    site = plan.crew.site(lane.ground, agent)
    if site is None:
        return f"agent {lane.ground.place}, whose workspace it needs, to be assigned"
    if site.owner not in ("", agent.id) and (why := _why_not_able(plan.agents[site.owner], lane.forced)):
        return f"{why}, whose workspace it needs" if why.endswith("stopped") else why
    if site.place is not None and (why := _why_not_place(plan, site, lane)):
        return why
    if site.node != SHARED and (why := _why_no_node(plan, site.node)):
        return why
    return _why_no_room(plan, site.node)


def _why_not_able(agent: Agent, forced: bool) -> str:
    if agent.stopped:
        return f"agent {agent.id} is stopped"
    if not agent.healthy and not forced:
        return f"agent {agent.id} is unhealthy: {agent.reason or ', '.join(agent.failed_checks)}"
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


def _why_no_node(plan: Plan, name: str) -> str:
    node = plan.nodes.get(name)
    if node is None:
        return f"node {name} has not joined"
    if node.held:
        return f"node {name} is held: {node.hold or node.reason}"
    return "" if node.status == "up" else f"node {name} is {'lost' if node.status == 'lost' else 'down'}"


def _why_no_room(plan: Plan, name: str) -> str:
    """Why a node has no room, or for SHARED none; runs are counted from the agents, too, as running tasks may not be in
    the plan.
    """
    busy = Counter(other.node or SHARED for other in plan.agents.values() if other.run)
    free = plan.crew.free_slots()
    able = [node for node in plan.nodes.values() if node.takes_work]
    if name != SHARED:
        full = not free.get(name, 0) or busy[name] >= plan.nodes[name].max_concurrent
        return f"a slot on node {name}" if full else ""
    if not able:
        return "a node that takes work"
    full = not free[SHARED] or sum(busy.values()) >= sum(node.max_concurrent for node in able)
    return "a slot on any node" if full else ""


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
