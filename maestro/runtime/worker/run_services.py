"""The services that a worker gives to its runs: what a run needs of the worker that executes it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.handover import TaskEnds
from maestro.runtime.node.pause import StartGate
from maestro.runtime.server.sockets import RunSockets
from maestro.runtime.worker.launcher_client import LauncherClient


class Definitions:
    """The definitions of agents, each decoded once for as long as the agent's row has the same."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[object, Definition]] = {}

    def of(self, agent: Agent) -> Definition:
        """How to run this agent. Raises Invalid where its definition cannot be read."""
        source, known = self._known.get(agent.id, (None, None))
        if known is None or source is not agent.definition:
            known = Definition.from_dict(agent.definition)
            self._known[agent.id] = (agent.definition, known)
        return known


@dataclass(frozen=True)
class RunServices:
    """The services of one worker, which its runs share.

    context, follower: of the node. launcher: starts their programs. sockets: lent to them. gate: every start goes
    through it. definitions: how to run agents. task_ends: what may be appended with the end of a run. actor: who
    appends their events. departing: whether a signal has asked for the end of the daemon.
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
