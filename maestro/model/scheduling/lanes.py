"""The lanes in which ready slots wait for an agent: a heap for each kind of slot that the same agents may take.

All heaps are cleaned lazily: an entry that is no longer true is dropped when it comes to the top. So a change costs
O(log n), and what waits is never looked through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple

from maestro.model.scheduling.sites import RUN_FOLDER, SHARED, Ground, Place, ground_of
from maestro.model.target import labels_of, who
from maestro.model.task import Slot, Task

__all__ = ["NOBODY", "NO_NODE", "SHARED", "Entry", "Holder", "Lane", "Lanes", "failed_it", "lane_of", "out_of_retries"]

Holder = tuple[str, str]
"""What holds a workspace: the run of a workflow and the instance of its step."""
NOBODY: Holder = ("", "")

_ANYWHERE = Ground()

NO_NODE = "-"
"""The origin of an entry that did not wait for room on a node. No node is called so."""


class Lane(NamedTuple):
    """A lane: slots that wait in the same one are interchangeable for agents. forced: sick agents may take it.

    avoid: agents that failed the slot before; strict: they may not have it again, else only if nobody else is free.
    ground: where it is to work; holder: of a workspace, where the slot's task is that of one. labels: of its node.
    """

    target: str
    forced: bool = False
    avoid: tuple[str, ...] = ()
    strict: bool = False
    ground: Ground = Ground()
    holder: Holder = NOBODY
    labels: tuple[str, ...] = ()


class Entry(NamedTuple):
    """A slot in its lane; the smallest is first. order: `Task.order_key`; position: the task's dispatch.

    origin: the node on which it waited for room, or NO_NODE.
    """

    order: int
    position: int
    slot: int
    task: str
    lane: Lane
    origin: str = NO_NODE


class Lanes:
    """The lanes of a plan. is_true: whether an entry still says what the plan says.

    offers: entries that may have become startable since the last decision. blocked: by node, entries whose agent was
    free while the node had no room. due: slots that wait for a retry time.
    """

    def __init__(self, is_true: Callable[[Entry], bool]) -> None:
        self.offers: list[Entry] = []
        self.blocked: dict[str, list[Entry]] = {}
        self.due: list[tuple[int, str, int]] = []
        self._is_true = is_true
        self._heaps: dict[Lane, list[Entry]] = {}
        self._by_target: dict[str, dict[Lane, None]] = {}
        self._labelled: dict[Lane, None] = {}
        self._by_spot: dict[Place | str, dict[Lane, None]] = {}

    def push(self, entry: Entry) -> None:
        """Put a ready slot into its lane; it is offered at once where it is the first there."""
        heap = self._heaps.get(entry.lane)
        if heap is None:
            heap = self._heaps[entry.lane] = []
            self._by_target.setdefault(entry.lane.target, {})[entry.lane] = None
            if entry.lane.labels:
                self._labelled[entry.lane] = None
            for spot in spots(entry.lane.ground):
                self._by_spot.setdefault(spot, {})[entry.lane] = None
        if not heap or heap[0] != entry:
            heappush(heap, entry)
        if heap[0] == entry:
            heappush(self.offers, entry)

    def first(self, lane: Lane, but: frozenset[tuple[str, int]] | set[tuple[str, int]] = frozenset()) -> Entry | None:
        """The first entry of a lane that still holds, and whose (task, slot) is not in `but`.

        What stands before it is dropped.
        """
        heap = self._heaps.get(lane)
        while heap:
            entry = heap[0]
            if (entry.task, entry.slot) not in but and self._is_true(entry):
                return entry
            heappop(heap)
        if heap is not None:
            del self._heaps[lane]
            del self._by_target[lane.target][lane]
            self._leave(lane)
        return None

    def _leave(self, lane: Lane) -> None:
        self._labelled.pop(lane, None)
        for spot in spots(lane.ground):
            waiting = self._by_spot[spot]
            del waiting[lane]
            if not waiting:
                del self._by_spot[spot]

    def offer_spot(self, spot: Place | str) -> None:
        """Offer the first of each lane that is to work at a place, or in an agent's workspace: it may be free."""
        for lane in list(self._by_spot.get(spot, ())):
            self.offer_lane(lane)

    def offer(self, target: str) -> None:
        """Offer the first of each lane of a target: an agent that answers to it may take work."""
        for lane in list(self._by_target.get(target, ())):
            self.offer_lane(lane)

    def offer_labelled(self) -> None:
        """Offer the first of each lane that asks for labels: a node may have come that has them."""
        for lane in list(self._labelled):
            self.offer_lane(lane)

    def labelled(self) -> list[Entry]:
        """The first entry of each lane that asks for labels."""
        return [entry for lane in list(self._labelled) if (entry := self.first(lane)) is not None]

    def offer_lane(self, lane: Lane) -> None:
        """Offer the first of a lane."""
        entry = self.first(lane)
        if entry is not None:
            heappush(self.offers, entry)

    def block(self, node: str, entry: Entry) -> None:
        """Have an entry wait for room on a node: an agent for it is free there."""
        heappush(self.blocked.setdefault(node, []), entry._replace(origin=node))

    def unblock(self, node: str) -> Entry | None:
        """The first entry that waits for room on a node, and still holds.

        An entry that does not hold any more gives its place to the next of its lane.
        """
        heap = self.blocked.get(node)
        while heap:
            entry = heappop(heap)
            if self._is_true(entry):
                return entry
            following = self.first(entry.lane)
            if following is not None:
                heappush(heap, following._replace(origin=node))
        self.blocked.pop(node, None)
        return None

    def sleep(self, until: int, task: str, slot: int) -> None:
        """Have a slot wait until a time in ms."""
        heappush(self.due, (until, task, slot))

    def woken(self, now: int) -> Iterator[tuple[str, int]]:
        """The slots (task, slot) whose time has come."""
        while self.due and self.due[0][0] <= now:
            _, task, slot = heappop(self.due)
            yield task, slot

    def fronts(self, begin: int, count: int) -> list[Entry]:
        """The first entries of up to `count` lanes, from lane number `begin` on; no entries behind the last lane."""
        lanes = islice(tuple(self._heaps), begin, begin + count)
        return [entry for lane in lanes if (entry := self.first(lane)) is not None]

    @property
    def count(self) -> int:
        """How many lanes there are."""
        return len(self._heaps)

    def wanted(self, target: str) -> bool:
        """Whether a slot waits for exactly this target."""
        return any(self.first(lane) is not None for lane in list(self._by_target.get(target, ())))

    def firsts(self, target: str) -> list[Entry]:
        """The first entry of each lane of slots that wait for exactly this target."""
        lanes = list(self._by_target.get(target, ()))
        return [entry for lane in lanes if (entry := self.first(lane)) is not None]

    def drain(self, target: str) -> Iterator[Entry]:
        """Take all entries of a target out, to be pushed anew under another key."""
        for lane in list(self._by_target.pop(target, ())):
            self._leave(lane)
            yield from self._heaps.pop(lane)

    def take_offers(self) -> list[Entry]:
        """The offers as a heap, which is then the caller's."""
        offers, self.offers = self.offers, []
        heapify(offers)
        return offers


def spots(ground: Ground) -> list[Place | str]:
    """What a lane waits for besides an agent: a run's folder, or by its id the agent whose workspace is meant."""
    found: list[Place | str] = []
    if ground.place not in ("", RUN_FOLDER):
        found.append(ground.place)
    if ground.folder:
        found.append((ground.node, f"{ground.folder}/workspace"))
    return found


def lane_of(task: Task, slot: Slot, holder: Holder = NOBODY) -> Lane:
    """The lane of a waiting slot. The first try at going on with a session waits for the agent that has it.

    holder: what the task belongs to, where that holds a workspace.
    """
    ground = ground_of(task) if task.workflow else _ANYWHERE
    target, labels = who(slot.target), labels_of(slot.target)
    if not slot.pool or len(slot.runs) == slot.earlier:
        before = slot.resumable if task.resumes else None
        target = target if before is None else before.agent
        return Lane(target, task.forced, ground=ground, holder=holder, labels=labels)
    avoid = tuple(sorted(failed_it(slot)))
    return Lane(target, task.forced, avoid, out_of_retries(task, slot), ground, holder, labels)


def failed_it(slot: Slot) -> set[str]:
    """The agents that a pool's slot should leave: they lost it, or ran out of memory."""
    return {run.agent for run in slot.tries if run.outcome == "oom" or run.was_lost}


def out_of_retries(task: Task, slot: Slot) -> bool:
    """Whether only an agent that has not failed the slot may take it: the slot has used up its retries."""
    return slot.failures > task.retries
