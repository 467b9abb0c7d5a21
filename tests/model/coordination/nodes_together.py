"""Nodes that take part in snapshots, a leader and askers, as a game of one step after the other, on a log in memory.

Each step is one that could come next in the real thing: an append arrives late or twice, a node dies, starts anew or
thaws what it held, a leader decides on what it knew a while ago. What holds in all of them is asserted as it happens.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.coordination.open_works import OpenWorks
from maestro.model.coordination.snapshot_parts import (
    THAW_AFTER_MS,
    decide_asked,
    decide_given_up,
    decide_snapshots,
    wanted_of,
)
from maestro.model.coordination.world import Move, World
from maestro.model.events import AnyFact, Event, NewEvent
from maestro.model.node import Node, evolve as evolve_node
from maestro.model.snapshot import Snapshot, evolve

NODES = ("north", "south", "west")
Step = Callable[[], object]
LIKELY = 4
"""So many times likelier is what brings a snapshot on than what hinders it."""


class Held(msgspec.Struct):
    """What a daemon knows of its part. until: when it thaws without a cut; still: nothing has moved since `ready`."""

    until: int
    ready: bool = False
    still: bool = True
    cut: int = 0
    read: bool = False
    over: bool = False


class Together:
    """The game. now: server time, ms. flying: appends that were sent, and arrive when they do."""

    def __init__(self) -> None:
        self.now = 1_000
        self.log: list[Event] = []
        self.rows: dict[str, Snapshot] = {}
        self.nodes: dict[str, Node] = {}
        self.works = OpenWorks()
        self.up: dict[str, str] = {}
        self.heard: dict[str, int] = {}
        self.held: dict[str, dict[str, Held]] = {name: {} for name in NODES}
        self.good: set[tuple[str, str]] = set()
        """Parts that were read as they were at the cut, by (snapshot, node)."""
        self.flying: list[tuple[NewEvent, bool]] = []
        self.stale: World | None = None
        self.asked: dict[str, int] = {}
        self.agents = {name: Agent(f"at-{name}", 0, "shell", {}, "", workspace=f"/w/{name}") for name in NODES}
        for name in NODES:
            self.start(name)

    # ---- the log ----

    def append(self, event: NewEvent) -> bool:
        version = max((each.seq for each in self.log if each.subject == event.subject), default=0)
        if event.expected is not None and event.expected != version:
            return False
        told = Event(len(self.log) + 1, event.subject, self.now, "test", "", version, event.fact)
        self.log.append(told)
        if event.subject.startswith("node:"):
            name = event.subject.removeprefix("node:")
            row = evolve_node(self.nodes.get(name), told)
            assert row is not None
            self.nodes[name] = row
            return True
        name = event.subject.removeprefix("snapshot:")
        self._judge(told, self.rows.get(name))
        row = evolve(self.rows.get(name), told)
        assert row is not None
        self.rows[name] = row
        self.works.apply(msgspec.structs.replace(told), told.fact)  # type: ignore[arg-type]
        begun = [each for each in self.rows.values() if each.state in ("open", "taking")]
        assert len(begun) <= 1, "two are on at once"
        return True

    def _judge(self, event: Event, row: Snapshot | None) -> None:
        """What must hold where something is appended."""
        fact = event.fact
        if isinstance(fact, e.SnapshotOpened):
            before = [each for each in self.rows.values() if each.state == "asked" and each.id != fact.snapshot]
            assert all(self.asked[each.id] > self.asked[fact.snapshot] for each in before), "out of turn"
        if isinstance(fact, e.SnapshotTaken):
            assert row is not None
            assert all((row.id, part.node) in self.good for part in fact.parts), "read what had moved since the cut"
            told = {each.agent for each in fact.workspaces} | {each.agent for each in fact.missing}
            assert told == set(row.agents)
            assert fact.parts and {each.node for each in fact.workspaces} == {part.node for part in fact.parts}
        if isinstance(fact, e.SnapshotFailed):
            assert fact.reason

    # ---- who acts ----

    def steps(self) -> list[Step]:
        """All that could come next."""
        found: list[Step] = [lambda: self.wait(700), lambda: self.wait(6_000)]
        found += [lambda: self.lead(self.world())] * LIKELY
        if self.stale is not None:
            stale = self.stale
            found.append(lambda: self.lead(stale))
        found.append(self.remember)
        if len(self.asked) < 4:
            found += [lambda: self.ask(NODES, False), lambda: self.ask(NODES[:2], False), lambda: self.ask(NODES, True)]
        found += [lambda name=name: self.give_up(name) for name in self.asked]
        found += [lambda at=at: self.arrive(at) for at in range(len(self.flying))] * LIKELY
        for name in NODES:
            if name in self.up:
                if self.heard[name] < len(self.log):
                    found += [lambda name=name: self.hear(name)] * LIKELY
                found += [lambda name=name: self.die(name), lambda name=name: self.leave(name)]
                for snapshot, held in self.held[name].items():
                    if not held.ready and held.still and not held.over:
                        found += [lambda name=name, snapshot=snapshot: self.ready(name, snapshot)] * LIKELY
                    if held.cut and not held.read and not held.over:
                        found += [
                            lambda name=name, snapshot=snapshot, ok=ok: self.read(name, snapshot, ok)
                            for ok in (1, 1, 1, 0)
                        ]
            else:
                found.append(lambda name=name: self.start(name))
            if self.nodes[name].status == "up":
                found.append(lambda name=name: self.lose(name))
        return found

    def world(self) -> World:
        rows = msgspec.json.decode(msgspec.json.encode(self.works.current), type=list[Snapshot])
        nodes = msgspec.json.decode(msgspec.json.encode(self.nodes), type=dict[str, Node])
        agents = {row.id: row for row in self.agents.values()}
        return World(now=self.now, nodes=nodes, agents=agents, snapshots=rows, works=list(self.works.works))

    def remember(self) -> None:
        """A leader that is cut off decides later on what it knows now."""
        self.stale = self.world()

    def lead(self, world: World) -> list[Move]:
        moves = decide_snapshots(world)
        assert moves == decide_snapshots(world)
        for move in moves:
            for event in move.events:
                self.append(event)
        return moves

    def ask(self, nodes: tuple[str, ...], allow_missing: bool) -> None:
        name = f"s{len(self.asked) + 1}"
        parts = tuple(e.PartWanted(node, (self.agents[node].id,), True) for node in nodes)
        fact = e.SnapshotAsked(name, "asked", nodes[0], parts, allow_missing=allow_missing)
        self.asked[name] = len(self.log) + 1
        assert self.append(decide_asked(fact, None, 0)[0])

    def give_up(self, snapshot: str) -> None:
        for event in decide_given_up(self.rows[snapshot], "interrupted", 0):
            assert self.append(event)

    def arrive(self, at: int) -> None:
        event, again = self.flying.pop(at)
        self.append(event)
        if again:
            self.flying.append((event, False))

    def send(self, snapshot: str, fact: AnyFact, again: bool = True) -> None:
        self.flying.append((NewEvent(f"snapshot:{snapshot}", fact), again))

    # ---- a node ----

    def start(self, node: str) -> None:
        self.up[node] = f"{node}-{len(self.log)}"
        self.heard[node] = len(self.log)
        joined = e.NodeJoined(node, "host", self.up[node], 1, 4, "x")
        self.append(NewEvent(f"node:{node}", joined))
        for row in list(self.works.current):
            self.begin(node, row)

    def begin(self, node: str, row: Snapshot) -> None:
        if wanted_of(row, node) is not None and row.across is not None:
            lasts = max(0, row.across.deadline_at - self.now)
            self.held[node][row.id] = Held(self.now + lasts + THAW_AFTER_MS)

    def hear(self, node: str) -> None:
        """A node takes in the next event."""
        if self.heard[node] >= len(self.log):
            return
        event = self.log[self.heard[node]]
        self.heard[node] += 1
        fact, mine = event.fact, self.held[node]
        if isinstance(fact, e.SnapshotOpened):
            row = self.rows[fact.snapshot]
            if wanted_of(row, node) is not None and fact.snapshot not in mine:
                # from when it hears of it, by its own clock
                mine[fact.snapshot] = Held(self.now + fact.deadline_at - event.at + THAW_AFTER_MS)
            return
        held = mine.get(getattr(fact, "snapshot", ""))
        if held is None:
            return
        if isinstance(fact, e.SnapshotStarted) and held.ready:
            if held.still:
                held.cut = event.seq
        elif isinstance(fact, e.SnapshotFailed | e.SnapshotTaken) or (
            isinstance(fact, e.SnapshotPartFailed) and fact.node == node
        ):
            held.over, held.still = True, False

    def ready(self, node: str, snapshot: str) -> None:
        self.held[node][snapshot].ready = True
        self.send(snapshot, e.SnapshotPartReady(snapshot, node, self.up[node]))

    def read(self, node: str, snapshot: str, ok: int) -> None:
        held = self.held[node][snapshot]
        held.read = True
        if not ok:
            self.send(snapshot, e.SnapshotPartFailed(snapshot, node, "the disk is full"))
            held.over = True
        else:
            assert held.still
            self.good.add((snapshot, node))
            place = e.SnapshotWorkspace(self.agents[node].id, f"/w/{node}", "t", held.cut)
            self.send(snapshot, e.SnapshotPartTaken(snapshot, node, "ab", (place,), 1, 1))
        held.still = False

    def wait(self, ms: int) -> None:
        self.now += ms
        for node in self.up:
            for snapshot, held in self.held[node].items():
                if held.still and not held.cut and self.now >= held.until:
                    held.still = False
                    held.over = True
                    self.send(snapshot, e.SnapshotPartFailed(snapshot, node, "late"))

    def die(self, node: str) -> None:
        """Nothing of it is left but what it has sent; its runs end with it, so nothing stands still."""
        del self.up[node]
        self.held[node] = {}

    def leave(self, node: str) -> None:
        self.append(NewEvent(f"node:{node}", e.NodeLeft(node, "stopped")))
        self.die(node)

    def lose(self, node: str) -> None:
        """Its lease ran out, whether it lives or not; one that lives joins again."""
        self.append(NewEvent(f"node:{node}", e.NodeLost(node, "lease")))
        if node in self.up:
            self.append(NewEvent(f"node:{node}", e.NodeJoined(node, "host", self.up[node], 1, 4, "x")))

    # ---- the end of all games ----

    def settle(self) -> None:
        """Nothing goes wrong any more: who is up does its part, who is not is lost, and the leader goes on."""
        for node in NODES:
            if node not in self.up and self.nodes[node].status == "up":
                self.append(NewEvent(f"node:{node}", e.NodeLost(node, "lease")))
        for _ in range(400):
            while self.flying:
                self.arrive(0)
            for node in self.up:
                while self.heard[node] < len(self.log):
                    self.hear(node)
                for snapshot, held in list(self.held[node].items()):
                    if held.still and not held.ready and not held.over:
                        self.ready(node, snapshot)
                    elif held.cut and not held.read and not held.over:
                        self.read(node, snapshot, 1)
            self.lead(self.world())
            self.wait(100)
            if not self.works.works and not self.flying and all(self.heard[node] == len(self.log) for node in self.up):
                break
