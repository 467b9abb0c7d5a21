"""Wishes to nodes: that a workspace be archived before a step, or put back to its archive before the next attempt."""

from __future__ import annotations

from maestro.model.agent import Agent
from maestro.model.errors import Refused
from maestro.model.events import NewEvent, WorkspaceArchiveWanted, WorkspaceRestoreWanted
from maestro.model.scheduling.plan import Plan
from maestro.model.workflow.definition import Step
from maestro.model.workflow.instances import Instance
from maestro.model.workflow.overrides import COMMANDS, ECHO, target_of
from maestro.model.workflow.run import Run
from maestro.runtime.node.follower import Follower
from maestro.runtime.scheduler.workflows.live_run import LiveRun


class Wishes:
    """Makes wishes to the nodes that own the workspaces."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    async def events(self, live: LiveRun, instance: Instance, kind: str) -> list[NewEvent]:
        """The wish to archive or restore what an instance works in. Raises Refused where no agent may take it."""
        run, step = live.run, live.run.steps[instance.step]
        target, owner, node, workspace = place_of(self._follower.plan, run, step, instance)
        fact: WorkspaceArchiveWanted | WorkspaceRestoreWanted
        if kind == "archive":
            why = f"before step {instance.id} of run {run.id}"
            is_point = step.retry.workspace != "restore" and not run.fact.restores
            fact = WorkspaceArchiveWanted(run.id, instance.id, node, workspace, owner, why, is_point, target)
        else:
            goes_back = run.fact.restores and not instance.returned
            snapshot = run.fact.archives[instance.id].snapshot if goes_back else instance.snapshot
            force = run.fact.force and goes_back
            fact = WorkspaceRestoreWanted(run.id, instance.id, node, workspace, snapshot, owner, force, target)
        return [NewEvent(f"workflow-run:{run.id}", fact)]


def place_of(plan: Plan, run: Run, step: Step, instance: Instance) -> tuple[str, str, str, str]:
    """Who works for an instance, and in whose workspace, "" for the run's folder: (target, owner, node, path).

    A member of a pool is chosen here, and the instance stays with it. Raises Refused.
    """
    folder = ("", run.fact.node, f"{run.fact.folder}/workspace")
    target = target_of(run, instance)
    if target in (COMMANDS, ECHO):
        return target, *folder
    agent = _chosen(plan, target, instance.item or 0)
    owner = plan.agents.get(step.place) if step.place not in ("", "run") and step.kind == "agent" else agent
    if step.place == "run" or owner is None or owner.workspace is None or owner.node is None:
        return agent.id, *folder
    return agent.id, owner.id, owner.node, owner.workspace


def _chosen(plan: Plan, target: str, item: int) -> Agent:
    """An agent of a pool: one that is healthy, free before busy, the longest rested.

    Items that are asked for at once are spread over those that are free: none of them holds anything yet.
    """
    members = [plan.agents[name] for name in plan.crew.members.get(target, ())]
    able = [agent for agent in members if agent.healthy and not agent.stopped]
    if not able:
        raise Refused(f"no agent answers to {target}, healthy and not stopped: maestro agent list shows why")
    able.sort(key=lambda agent: (agent.last_run_at, agent.id))
    free = [agent for agent in able if not (agent.run or _is_held(plan, agent))] or able
    return free[item % len(free)]


def _is_held(plan: Plan, agent: Agent) -> bool:
    """Whether an instance of a run holds the workspace of an agent."""
    if agent.node is None or agent.workspace is None:
        return False
    return plan.holds.holder((agent.node, agent.workspace)) is not None


def works_in_folder(plan: Plan, run: Run) -> bool:
    """Whether a step of a run has worked, or works, in the run's own folder."""
    for one in run.instances.values():
        step = run.steps[one.step]
        if not one.attempts or step.kind in ("workflow", "approval") or step.place not in ("", "run"):
            continue
        agent = plan.agents.get(one.agent or target_of(run, one))
        if step.place == "run" or step.kind == "run" or agent is None or agent.workspace is None:
            return True
    return False
