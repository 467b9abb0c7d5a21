"""The crew: agents and nodes, and what occupies them: live runs, and the workspaces that these write to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from maestro.model.agent import Agent
from maestro.model.node import Node
from maestro.model.scheduling.sites import SHARED, Ground, Place, Site, ground_of, site_of, virtual_agents
from maestro.model.target import targets_of
from maestro.model.task import Run, Task

__all__ = ["Crew", "Live", "Place"]


class Live(msgspec.Struct):
    """A run that is released or running. node: where, SHARED until a node starts it; token: position of its release.

    started: whether it runs; shared: whether any node may start it; place: the workspace that it writes to; owner: the
    agent whose workspace that is, "" for nobody's; common: others may write there at the same time.
    """

    task: str
    slot: int
    token: int
    agent: str
    node: str
    started: bool
    shared: bool
    place: Place | None
    owner: str = ""
    common: bool = False


class Crew:
    """Agents and nodes by id, live runs by id, and what follows from them.

    used: live runs by node; unstarted: released ones; writers: live runs by place; members: agents by target;
    sharers: agents by place. virtual: agents that are always there, and in no view. still: nodes that hold still for a
    snapshot, which it names: nothing is released to them.
    """

    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}
        self.virtual = virtual_agents()
        self.nodes: dict[str, Node] = {}
        self.live: dict[str, Live] = {}
        self.unstarted: dict[str, None] = {}
        self.used: Counter[str] = Counter()
        self.writers: dict[Place, set[str]] = {}
        self.members: dict[str, dict[str, None]] = {}
        self.sharers: dict[Place, dict[str, None]] = {}
        self.still: dict[str, str] = {}
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
        place = _place_of(row)
        if place is not None:
            self._at[row.id] = place
            self.sharers.setdefault(place, {})[row.id] = None

    def answers(self, agent: str) -> list[str]:
        """The targets that the agent answers to."""
        return self._answers.get(agent, [])

    def agent(self, name: str) -> Agent | None:
        """An agent by id, a virtual one too."""
        return self.virtual.get(name) or self.agents.get(name)

    def candidates(self, target: str) -> list[Agent]:
        """The agents that answer to a target."""
        if target in self.virtual:
            return [self.virtual[target]]
        return [self.agents[name] for name in self.members.get(target, ())]

    def site(self, ground: Ground, agent: Agent) -> Site | None:
        """Where an agent would work now; None where the agent is not there whose workspace is asked for."""
        return site_of(ground, agent, self.agents)

    def is_free(self, place: Place, common: bool) -> bool:
        """Whether a run may begin to write to a workspace beside those that do. common: it bears others there."""
        writers = self.writers.get(place, ())
        return not writers or (common and all(self.live[run].common for run in writers))

    def track(self, task: Task, index: int) -> Place | None:
        """Take in what the last run of a slot is now; the workspace that it has left, if any."""
        slot = task.slots[index]
        if not slot.runs:
            return None
        run = slot.runs[-1]
        left = self._untrack(run.id)
        place = None
        if slot.live is not None:
            started = run.status == "running"
            node = run.node or SHARED
            agent = self.agent(run.agent)
            site = None if agent is None else self.site(ground_of(task), agent)
            if started:
                site = _site_of_started(task, run, site)
            place, owner, common = (None, "", False) if site is None else (site.place, site.owner, site.common)
            live = Live(task.id, index, run.token, run.agent, node, started, run.shared, place, owner, common)
            self.live[run.id] = live
            self.used[node] += 1
            if not started:
                self.unstarted[run.id] = None
            if place is not None:
                self.writers.setdefault(place, set()).add(run.id)
        return None if left == place else left

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
            name: max(0, node.max_concurrent - used[name]) if node.takes_work and name not in self.still else 0
            for name, node in self.nodes.items()
        }
        total = max(0, sum(free.values()) - used[SHARED])
        return {**{name: min(room, total) for name, room in free.items()}, SHARED: total}


def _site_of_started(task: Task, run: Run, now: Site | None) -> Site:
    """Where a run works that has started: agents may have been moved since. now: where it would start now."""
    in_folder = bool(task.folder) and run.workspace == f"{task.folder}/workspace"
    owner = "" if in_folder or now is None else now.owner
    return Site(run.node or SHARED, run.workspace, owner, in_folder and not task.alone)


def _place_of(agent: Agent) -> Place | None:
    """The workspace that an agent writes to, None for one that works in its run folders."""
    return None if agent.workspace is None else (agent.node or SHARED, agent.workspace)
