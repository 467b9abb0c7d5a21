"""The crew: agents and nodes, and what occupies them: live runs, and the workspaces that these write to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from maestro.model.agent import Agent
from maestro.model.node import Node
from maestro.model.scheduling.lanes import SHARED
from maestro.model.target import targets_of
from maestro.model.task import Task

Place = tuple[str, str]
"""A workspace: the node that owns it and its path."""


class Live(msgspec.Struct):
    """A run that is released or running. node: where, SHARED until a node starts it; token: position of its release.

    started: whether it runs; shared: whether any node may start it; place: the workspace that it writes to.
    """

    task: str
    slot: int
    token: int
    agent: str
    node: str
    started: bool
    shared: bool
    place: Place | None


class Crew:
    """Agents and nodes by id, live runs by id, and what follows from them.

    used: live runs by node; unstarted: released ones; writers: live runs by place; members: agents by target;
    sharers: agents by place.
    """

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.nodes: dict[str, Node] = {}
        self.live: dict[str, Live] = {}
        self.unstarted: dict[str, None] = {}
        self.used: Counter[str] = Counter()
        self.writers: dict[Place, set[str]] = {}
        self.members: dict[str, dict[str, None]] = {}
        self.sharers: dict[Place, dict[str, None]] = {}
        self._answers: dict[str, list[str]] = {}
        self._at: dict[str, Place] = {}

    def place(self, row: Agent) -> None:
        """Take in an agent that is new, or was assigned anew."""
        for target in self._answers.get(row.id, ()):
            self.members[target].pop(row.id, None)
        before = self._at.pop(row.id, None)
        if before is not None:
            self.sharers[before].pop(row.id, None)
        self.agents[row.id] = row
        self._answers[row.id] = targets_of(row)
        for target in self._answers[row.id]:
            self.members.setdefault(target, {})[row.id] = None
        place = place_of(row)
        if place is not None:
            self._at[row.id] = place
            self.sharers.setdefault(place, {})[row.id] = None

    def answers(self, agent: str) -> list[str]:
        """The targets that the agent answers to."""
        return self._answers.get(agent, [])

    def track(self, task: Task, index: int) -> list[str]:
        """Take in what the last run of a slot is now; the agents of the workspace that it has left, if any."""
        slot = task.slots[index]
        if not slot.runs:
            return []
        run = slot.runs[-1]
        left = self._untrack(run.id)
        place = None
        if slot.live is not None:
            started = run.status == "running"
            node = run.node or SHARED
            agent = self.agents.get(run.agent)
            place = (node, run.workspace) if started else place_of(agent) if agent else None
            self.live[run.id] = Live(task.id, index, run.token, run.agent, node, started, run.shared, place)
            self.used[node] += 1
            if not started:
                self.unstarted[run.id] = None
            if place is not None:
                self.writers.setdefault(place, set()).add(run.id)
        return [] if left is None or left == place else list(self.sharers.get(left, ()))

    def _untrack(self, run: str) -> Place | None:
        live = self.live.pop(run, None)
        if live is None:
            return None
        self.used[live.node] -= 1
        self.unstarted.pop(run, None)
        if live.place is not None:
            self.writers[live.place].discard(run)
            if not self.writers[live.place]:
                del self.writers[live.place]
        return live.place

    def free_slots(self, extra: Mapping[str, int] | None = None) -> dict[str, int]:
        """How many more runs each node has room for, and SHARED the shared stream. extra: runs to be added, by node.

        Hints on the shared stream may land on any node, so they count against the sum of all.
        """
        used = self.used if extra is None else self.used + Counter(extra)
        free = {
            name: max(0, node.max_concurrent - used[name]) if node.takes_work else 0
            for name, node in self.nodes.items()
        }
        total = max(0, sum(free.values()) - used[SHARED])
        return {**{name: min(room, total) for name, room in free.items()}, SHARED: total}


def place_of(agent: Agent) -> Place | None:
    """The workspace that an agent writes to, None for one that works in its run folders."""
    return None if agent.workspace is None else (agent.node or SHARED, agent.workspace)


def stream_of(agent: Agent) -> str:
    """The work stream that the agent's runs go to: its node's, or the shared one for an agent that is on no node."""
    return agent.node or SHARED
