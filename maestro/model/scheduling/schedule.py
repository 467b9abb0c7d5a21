"""The schedule: `decide(plan, now)` ends what is over and releases what may run, in order.

It is pure: all it knows is in the plan and in `now`, and both are in the events that it makes, so that a replay never
decides again. The scheduler appends each decision by itself, and follows the log until the plan has folded them before
it decides again; what the log refused, as another event came first, is then decided anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.events import NewEvent, RunReleased
from maestro.model.ids import run_id
from maestro.model.scheduling.crew import Place
from maestro.model.scheduling.endings import Decision, Endings
from maestro.model.scheduling.lanes import NO_NODE, SHARED, Entry, Lane
from maestro.model.scheduling.plan import Plan
from maestro.model.scheduling.sites import Site, shown_agent
from maestro.model.scheduling.waiting import why_waiting
from maestro.model.task import Task

__all__ = ["Decision", "Plan", "decide", "next_due", "why_waiting"]


def decide(plan: Plan, now: int) -> list[Decision]:
    """All that can be decided at `now` (server ms), in order. Costs O(what changed), never O(what is open)."""
    if plan.behind:
        return []
    plan.wake(now)
    plan.reopen_last_decision()
    endings = Endings(plan)
    found = endings.decide()
    return found + Releases(plan, endings.ready, now).decide()


def next_due(plan: Plan, now: int) -> int | None:
    """The time (ms) at which `decide` must be called though no event comes: the next retry, never before `now`."""
    due = plan.lanes.due
    while due:
        time, name, index = due[0]
        row = plan.tasks.get(name)
        slot = row.slots[index] if row is not None else None
        if slot is not None and slot.status == "waiting" and slot.retry_at == time:
            return max(time, now)
        heappop(due)
    return None


class Releases:
    """One pass over the slots that may have become startable, the most urgent first, while there is room.

    ready: tasks that this pass's endings made ready; they are not in their lanes before the log has that.
    """

    def __init__(self, plan: Plan, ready: Iterable[str], now: int) -> None:
        self._plan = plan
        self._now = now
        self._ready = set(ready)
        self._offers: list[Entry] = plan.lanes.take_offers()
        for name in self._ready:
            row = plan.tasks[name]
            for index in range(len(row.slots)):
                heappush(self._offers, plan.entry(row, index))
        self._taken: Counter[str] = Counter()
        self._agents: set[str] = set()
        self._places: dict[Place, bool] = {}  # whether all that was placed there now bears others
        self._slots: set[tuple[str, int]] = set()
        self._room = plan.crew.free_slots()

    def decide(self) -> list[Decision]:
        """The decisions that release runs."""
        for node in list(self._plan.lanes.blocked):
            for _ in range(self._room.get(node, 0)):
                self._refill(node)
        found = []
        while self._offers:
            entry = heappop(self._offers)
            placed = False
            if (entry.task, entry.slot) in self._slots:
                pass
            elif not self._holds(entry):
                self._offer_next(entry)
            else:
                chosen = self._choose(entry)
                placed = chosen is not None
                if chosen is not None:
                    found.append(self._release(entry, self._plan.tasks[entry.task], *chosen))
            if not placed and entry.origin != NO_NODE:
                self._refill(entry.origin)
        return found

    def foresee(self, row: Task) -> Decision | None:
        """The release of the one slot of a task that is not in the plan yet, if an agent can take it at once."""
        entry = self._plan.entry(row, 0)
        able = self._willing(entry.lane)
        agent = self._best(able, entry.lane)
        return None if agent is None else self._release(entry, row, agent, able[agent])

    def _holds(self, entry: Entry) -> bool:
        if entry.task not in self._ready:
            return self._plan.is_true(entry)
        return self._plan.tasks[entry.task].slots[entry.slot].status == "waiting"

    def _refill(self, node: str) -> None:
        """Offer the first entry that waits for room on a node."""
        if self._room.get(node, 0):
            entry = self._plan.lanes.unblock(node)
            if entry is not None:
                heappush(self._offers, entry)

    def _choose(self, entry: Entry) -> tuple[str, Site] | None:
        """The agent that takes the slot of an entry, and where; None where none can: what frees one offers it again."""
        plan, lane = self._plan, entry.lane
        able = self._willing(lane)
        best = self._best(able, lane)
        if best is not None:
            return best, able[best]
        nodes = {site.node: None for site in able.values()}
        if lane.labels and any(site.place is None for site in able.values()):
            nodes |= dict.fromkeys(self._labelled(lane.labels))  # whichever of them has room first
        for node in nodes:
            plan.lanes.block(node, entry)
        return None

    def _best(self, able: Mapping[str, Site], lane: Lane) -> str | None:
        """The least loaded of these agents whose node has room."""
        with_room = [name for name, site in able.items() if self._room.get(site.node, 0)]
        if len(with_room) < 2:
            return with_room[0] if with_room else None
        agents = self._plan.agents
        return min(with_room, key=lambda name: self._load(agents[name], able[name], lane.avoid))

    def _willing(self, lane: Lane) -> dict[str, Site]:
        """The agents that could take what waits in a lane if their nodes had room, with where they would work."""
        found = {}
        for agent in self._plan.crew.candidates(lane.target):
            if not (lane.strict and agent.id in lane.avoid) and (site := self._able(agent, lane)) is not None:
                found[agent.id] = site
        return found

    def _able(self, agent: Agent, lane: Lane) -> Site | None:
        """Where an agent can begin to work now for what waits in a lane; None where it cannot."""
        if agent.run or agent.id in self._agents or agent.stopped or not (agent.healthy or lane.forced):
            return None
        if agent.guard is not None:
            return None  # its workspace has yet to go back
        crew = self._plan.crew
        site = crew.site(lane.ground, agent)
        if site is not None and lane.labels:
            site = self._on_labelled(site, lane.labels)
        if site is None or site.place is None:
            return site
        owner = crew.agents.get(site.owner, agent)
        if owner.stopped or owner.guard is not None or not (owner.healthy or lane.forced):
            return None
        if self._plan.holds.keeps_out(site.place, lane.holder) or not crew.is_free(site.place, site.common):
            return None
        return site if site.place not in self._places or (site.common and self._places[site.place]) else None

    def _on_labelled(self, site: Site, labels: tuple[str, ...]) -> Site | None:
        """The site on a node with these labels: where any would do the one with most room; None where none is there."""
        if site.node != SHARED:
            node = self._plan.nodes.get(site.node)
            return site if node is not None and node.has(labels) else None
        names = self._labelled(labels)
        return site._replace(node=min(names, key=lambda name: (-self._room[name], name))) if names else None

    def _labelled(self, labels: tuple[str, ...]) -> list[str]:
        """The nodes that take work and have these labels."""
        return [name for name, node in self._plan.nodes.items() if node.takes_work and node.has(labels)]

    def _load(self, agent: Agent, site: Site, avoid: tuple[str, ...]) -> tuple[bool, bool, bool, int, bool, int, str]:
        """The sort key of an agent: healthy first, not failed the slot, wanted by nobody, on the node with most room,
        which has its workspace, longest rest.
        """
        wanted = self._plan.lanes.wanted(agent.id)
        first = not agent.healthy, agent.id in avoid, wanted
        return *first, -self._most_room(site.node), site.place is None, agent.last_run_at, agent.id

    def _most_room(self, node: str) -> int:
        """The room of a node; for what may run anywhere that of the node which has most."""
        if node != SHARED:
            return self._room.get(node, 0)
        return max((room for name, room in self._room.items() if name != SHARED), default=0)

    def _release(self, entry: Entry, row: Task, agent: str, site: Site) -> Decision:
        plan = self._plan
        slot = row.slots[entry.slot]
        attempt = len(slot.runs) + 1
        fact = RunReleased(
            run=run_id(row.id, entry.slot, attempt),
            task=row.id,
            slot=entry.slot,
            attempt=attempt,
            agent=agent,
            node=site.node or None,
            timeout_s=_timeout_s(plan, row, agent),
            decided_at=self._now,
            shared=site.node == SHARED or (site.place is None and self._is_free_agent(agent)),
            reason=_reason(row, entry, agent, site),
        )
        self._take(entry, agent, site)
        cause = max(plan.because.get(row.id, 0), plan.because.get(f"agent:{agent}", 0))
        event = NewEvent(f"run:{fact.run}", fact, plan.floor)
        return Decision((event,), ((site.node, fact.run, 0),), str(cause))

    def _is_free_agent(self, agent: str) -> bool:
        """Whether nothing but its labels binds an agent's run without a workspace to a node."""
        row = self._plan.crew.agent(agent)
        return row is not None and row.node is None

    def _take(self, entry: Entry, agent: str, site: Site) -> None:
        self._slots.add((entry.task, entry.slot))
        is_virtual = agent in self._plan.crew.virtual
        if not is_virtual:
            self._agents.add(agent)
        self._plan.released.append((entry, agent, site.place))
        if site.place is not None:
            self._places[site.place] = site.common
        self._taken[site.node] += 1
        self._room = self._plan.crew.free_slots(self._taken)
        if is_virtual or entry.lane.target != agent:
            self._offer_next(entry)

    def _offer_next(self, entry: Entry) -> None:
        """Offer the entry behind this one in its lane, which may be startable as well."""
        following = self._plan.lanes.first(entry.lane, but=self._slots)
        if following is not None:
            heappush(self._offers, following)


def _timeout_s(plan: Plan, row: Task, agent: str) -> float:
    """The timeout of a run: its task's, else its type's, else the plan's."""
    found = plan.crew.agent(agent)
    if row.timeout_s is not None or found is None:
        return row.timeout_s or plan.timeout_s
    return AgentDefinition(found.definition).timeout_s or plan.timeout_s


def _reason(row: Task, entry: Entry, agent: str, site: Site) -> str:
    slot = row.slots[entry.slot]
    if agent != entry.lane.target:
        why = f"{agent} is the least loaded of {slot.target}"
    elif shown_agent(agent) != agent:
        why = "its place is free"
    else:
        why = "its agent is free"
    if site.in_run_folder:
        why += ", in the run's folder"
    elif site.owner not in ("", agent):
        why += f", in the workspace of {site.owner}"
    if slot.tries:
        why += f", again after {slot.tries[-1].outcome}"
    return why
