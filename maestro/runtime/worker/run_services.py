"""The services that a worker gives to its runs: what a run needs of the worker that executes it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import TaskDispatched
from maestro.model.task import Task
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.handover import Failsafe, TaskEnds
from maestro.runtime.node.pause import StartGate
from maestro.runtime.server.sockets import RunSockets
from maestro.runtime.worker.launcher_client import LauncherClient
from maestro.runtime.worker.step_definitions import definition_of


class Definitions:
    """The definitions of agents, each decoded once for as long as the agent's row has the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Definition]] = {}

    def of(self, agent: Agent) -> Definition:
        """How to run this agent. Raises Invalid where its definition cannot be read."""
        source, known = self._known.get(agent.id, (None, None))
        if known is None or source is not agent.definition:
            known = definition_of(agent)
            self._known[agent.id] = (agent.definition, known)
        return known


@dataclass(frozen=True)
class RunServices:
    """The services of one worker, which its runs share.

    context, follower: of the node. launcher: starts their programs. sockets: lent to them. gate: every start goes
    through it. definitions: how to run agents. task_ends: what may be appended with the end of a run. actor: who
    appends their events. departing: whether a signal has asked for the end of the daemon.
    failsafe: guards workspaces. evaluator: checks answers. furnishing: held by whoever makes the folder of a workflow's
    run.
    """

    context: Context
    follower: Follower
    launcher: LauncherClient
    sockets: RunSockets
    gate: StartGate
    definitions: Definitions
    task_ends: TaskEnds
    actor: str
    departing: Callable[[], bool]
    failsafe: Failsafe
    evaluator: Evaluator
    furnishing: trio.Lock

    async def dispatch_of(self, task: Task) -> TaskDispatched:
        """How a task was dispatched. Raises MaestroError where the log does not have that."""
        return await dispatch_of(self.context, self.follower, task)


async def dispatch_of(context: Context, follower: Follower, task: Task) -> TaskDispatched:
    """How a task was dispatched. Raises MaestroError where the log does not have that."""
    known = follower.dispatched(task.id)
    if known is not None:
        return known
    ask = partial(context.gateway.ask, context.store.log.event, task.position)
    event = await context.insist(ask)
    if event is None or not isinstance(event.fact, TaskDispatched):
        raise MaestroError(f"event {task.position}, the dispatch of {task.id}, is not in the log")
    return event.fact
