"""A restore over several nodes as a game of chance: whatever crashes, comes late or comes twice, its rules hold.

The log is a list whose appends are refused where a subject has moved; the leader and the nodes know nothing but it, and
each node what lies on its disk. A crash forgets all else.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from maestro.model import agent as agents_model, events as e
from maestro.model.agent import Agent
from maestro.model.coordination import part_reports, restoration, restore_parts
from maestro.model.coordination.part_reports import Placing
from maestro.model.coordination.restoration import Before, Seen, Then
from maestro.model.coordination.restore_parts import Restore, RestoreOptions
from maestro.model.events import Event, NewEvent
from maestro.model.restore import OpenWork, kept_places, stop_reason
from tests.model.facts import World, agent

NODES = ("a", "b", "c")
RESTORE = "r1"


class Log:
    """Events with the versions of their subjects, and the rows of one restore and of its agents."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.versions: dict[str, int] = {}
        self.floor = 0
        self.row: Restore | None = None
        self.agents: dict[str, Agent] = {}
        for node in NODES:
            fact = e.AgentAssigned(f"of-{node}", "shell", {}, "/w", f"/w/{node}", "", 3, node)
            self.append([NewEvent(f"agent:of-{node}", fact)])
        self.then = msgspec.json.encode(self.agents)

    def append(self, events: Iterable[NewEvent], floors: bool = False) -> bool:
        events = list(events)
        seen: set[str] = set()
        for new in events:
            version = self.versions.get(new.subject, self.floor)
            if new.subject not in seen and new.expected is not None and new.expected != version:
                return False
            seen.add(new.subject)
        for new in events:
            seq = len(self.events) + 1
            event = Event(seq, new.subject, seq, "leader", "cmd:x", self.versions.get(new.subject, 0), new.fact)
            self.events.append(event)
            self.versions[new.subject] = seq
            self._fold(event)
        if floors:
            self.floor = len(self.events)
            self.versions.clear()
        return True

    def _fold(self, event: Event) -> None:
        if isinstance(event.fact, e.RestoreDone):  # the line is cut: the agents are as they were
            self.agents = msgspec.json.decode(self.then, type=dict[str, Agent])
        if event.subject.startswith("restore:"):
            self.row = restore_parts.evolve(self.row, event)
        name = event.subject.removeprefix("agent:")
        if name != event.subject:
            row = agents_model.evolve(self.agents.get(name), event)
            assert row is not None
            self.agents[name] = row

    def whys(self) -> dict[str, str]:
        return {name: row.reason for name, row in self.agents.items() if row.stopped}


class Machine:
    """A node: what lies on its disk, and whether its daemon runs."""

    def __init__(self, name: str) -> None:
        self.name, self.up, self.tree, self.staged, self.joins = name, True, "old", False, 0

    def crash(self) -> None:
        self.up, self.staged = False, False  # stages are swept where their exchange had not begun


class Game:
    """One restore over three nodes, its snapshot simulated: it keeps all nodes that are up when it is asked for."""

    def __init__(self, random: Random, whole: bool, skips: bool) -> None:
        self.random, self.log = random, Log()
        self.nodes = {name: Machine(name) for name in NODES}
        self.options = RestoreOptions(skip_failed=skips)
        self.whole, self.before = whole, Before()
        place = e.RestorePlacement
        parts = tuple(
            e.RestorePartWanted(
                node, (place(f"of-{node}", f"/w/{node}", f"/w/{node}", "/w", "s1", "t"),), (f"of-{node}",)
            )
            for node in NODES
        )
        asked = e.RestoreAsked(RESTORE, "a", parts, 3 if whole else None, "s1")
        assert self.log.append(restoration.decide_ask(asked, 0))

    @property
    def row(self) -> Restore:
        assert self.log.row is not None
        return self.log.row

    def seen(self, before: Before) -> Seen:
        up = {node.name for node in self.nodes.values() if node.up}
        return Seen(5, self.log.floor, up, self.log.agents, self.log.whys(), before=before, name="s2")

    def lead(self, stale: bool) -> None:
        """What a leader does; a stale one decides on what it saw before somebody else was faster."""
        row = msgspec.json.decode(msgspec.json.encode(self.row), type=Restore)
        if row.state in ("done", "failed"):
            return
        seen = self.seen(self.before)
        if restoration.is_due(row, self.options, seen):
            agents = msgspec.json.decode(self.log.then, type=dict[str, Agent])
            then = Then(0, [], agents, OpenWork([]), OpenWork([])) if self.whole else None
            events = restoration.decide_outcome(row, self.options, seen, then)
        else:
            events = restoration.decide_next(row, self.options, seen)
        if stale:
            self.work(self.random.choice(NODES))
        floors = any(isinstance(event.fact, e.RestoreDone) for event in events)
        if self.log.append(events, floors) and self.random.random() < 0.2:
            self.log.append(events, floors)  # an append that was sent twice: the versions refuse it

    def snapshot(self) -> None:
        wish = next((event.fact for event in self.log.events if isinstance(event.fact, e.SnapshotAsked)), None)
        if wish is not None and self.before.state == "":
            up = frozenset(part.node for part in wish.parts if self.nodes[part.node].up)
            self.before = Before("complete", up) if self.random.random() < 0.8 else Before("failed", why="no room")

    def work(self, name: str) -> None:
        """What a node's daemon does next of its part, having looked at the log; it may die before it says so."""
        node = self.nodes[name]
        if not node.up:
            return
        row, floor = self.row, self.log.floor
        if part_reports.wants(row, name):
            node.staged = True
            dies, fails = self.random.random() < 0.1, self.random.random() < 0.1
            if dies:
                node.crash()
            elif fails:
                fact = e.RestorePartFailed(RESTORE, name, "damaged")
                self.log.append(part_reports.decide_part_failed(row, fact, floor))
            else:
                self.log.append(part_reports.decide_staged(row, e.RestorePartStaged(RESTORE, name), floor))
        elif part_reports.owes(row, name, row.decided if self.whole else 0):
            node.tree, node.staged = "new", False
            if self.random.random() < 0.2:
                node.crash()
                return
            placing = Placing((f"/w/{name}",), {}, self.log.agents, self.log.whys())
            cut = row.decided if self.whole else 0
            self.log.append(part_reports.decide_placed(row, self.options, name, placing, floor, cut))

    def start(self, name: str) -> None:
        """A daemon's start: the part that it had begun before is given up, where it is not decided."""
        node = self.nodes[name]
        if node.up:
            return
        node.up = True
        if self.row.state in ("opened", "started"):
            fact = e.RestorePartFailed(RESTORE, name, "its daemon ended")
            self.log.append(part_reports.decide_part_failed(self.row, fact, self.log.floor))

    def give_up(self) -> None:
        fact = e.RestorePartFailed(RESTORE, "a", restoration.GIVEN_UP, given_up=True)
        self.log.append(part_reports.decide_part_failed(self.row, fact, self.log.floor))

    def check(self) -> None:
        row = self.row
        pending = {part.node for part in row.pending}
        for node in self.nodes.values():
            part = row.part(node.name)
            assert part is not None
            agent = self.log.agents[f"of-{node.name}"]
            if row.state != "done":
                assert node.tree == "old", "nothing is new before the decision"
            elif node.name in pending:
                assert agent.stopped and agent.reason == stop_reason(RESTORE), "what is pending takes nothing"
            else:
                assert (node.tree == "new") == (part.state == "placed")
                assert not agent.stopped
        if row.state == "failed":
            assert not self.log.whys(), "given up before the decision: the agents start again"

    def play(self, steps: int) -> None:
        for _ in range(steps):
            name, chance = self.random.choice(NODES), self.random.random()
            if chance < 0.35:
                self.lead(stale=self.random.random() < 0.3)
            elif chance < 0.7:
                self.work(name)
            elif chance < 0.85:
                self.snapshot()
            elif chance < 0.9:
                self.nodes[name].crash()
            elif chance < 0.98:
                self.start(name)
            else:
                self.give_up()
            self.check()

    def end(self) -> None:
        """Every node is back, and all goes on to its end."""
        for _ in range(60):
            for name in NODES:
                self.start(name)
                self.work(name)
            self.lead(stale=False)
            self.snapshot()
            self.check()


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.booleans(), st.booleans(), st.integers(0, 60))
def test_whatever_comes_between_all_is_old_before_the_decision_and_new_after_it(
    seed: int, whole: bool, skips: bool, steps: int
) -> None:
    game = Game(Random(seed), whole, skips)
    game.play(steps)
    game.end()
    row = game.row
    assert row.is_over
    ends = [
        event for event in game.log.events if isinstance(event.fact, e.RestoreDone | e.RestorePlaced | e.RestoreFailed)
    ]
    assert len(ends) == 1, "one event decides"
    trees = [node.tree for node in game.nodes.values()]
    if row.state == "failed":
        assert trees == ["old"] * 3
    elif not skips:
        assert trees == ["new"] * 3
    assert not game.log.whys()


@pytest.mark.parametrize("skips", (False, True))
def test_a_node_that_is_away_fails_the_restore_by_name_or_is_left_out_where_that_is_allowed(skips: bool) -> None:
    game = Game(Random(1), whole=True, skips=skips)
    game.nodes["c"].crash()
    game.lead(stale=False)
    assert game.row.state == ("opened" if skips else "failed")
    assert skips or "node c is away" in game.row.why


def test_a_part_that_a_later_restore_supersedes_is_owed_no_more() -> None:
    row = Restore("r1", 9, 1, 0, "a", "cli", "cmd:x", 3, state="done", decided=9)
    row.parts = [restore_parts.RestorePart("b", state="pending")]
    assert part_reports.owes(row, "b", 9) and not part_reports.owes(row, "b", 12)
    assert part_reports.owes(row, "b", 4), "a restore before it takes nothing from it"


def test_agents_that_only_a_restore_had_stopped_take_work_when_that_restore_is_undone() -> None:
    """The snapshot that undoes a restore was taken when its agents were stopped for it."""
    game = Game(Random(1), whole=True, skips=False)
    then = {name: msgspec.structs.replace(row) for name, row in game.log.agents.items()}
    for row in then.values():
        row.stopped, row.reason = True, "restore r0"
    then["of-b"].reason = "by hand"
    game.row.parts = game.row.parts[:1]
    game.row.parts[0].state = "staged"
    seen = game.seen(Before("complete", frozenset("a")))
    events = restoration.decide_outcome(
        game.row, game.options, seen, Then(0, [], then, OpenWork([]), OpenWork([]), {"r0"})
    )
    told = {event.subject: type(event.fact) for event in events}
    assert told == {
        "restore:r1": e.RestoreDone, "agent:of-a": e.AgentStopped, "agent:of-c": e.AgentRestarted
    }  # fmt: skip


def test_an_agent_that_is_left_out_and_has_moved_since_stays_where_it_is() -> None:
    """Its node is dead: bound to that again, it would be stranded, and what it has done since with it."""
    game = Game(Random(1), whole=True, skips=True)
    then = msgspec.json.decode(game.log.then, type=dict[str, Agent])
    game.log.append(assigned("of-c", "a", "/w/moved"))
    game.nodes["c"].crash()
    for part in game.row.parts:
        part.state = "staged"
    outcome = (game.row, game.options, game.seen(Before("complete", frozenset("ab"))))
    events = restoration.decide_outcome(*outcome, Then(0, [], then, OpenWork([]), OpenWork([])))
    (stays,) = [event.fact for event in events if isinstance(event.fact, e.AgentAssigned)]
    assert (stays.agent, stays.node, stays.workspace) == ("of-c", "a", "/w/moved")


def test_an_agent_that_has_moved_away_from_a_pending_part_waits_for_it_no_more() -> None:
    part = restore_parts.RestorePart("n", tuple(e.RestorePlacement(x, f"/w/{x}", "", "/w", "s", "t") for x in "abcd"))
    agents = World(agent("a"), agent("b", "m"), agent("c", workspace="/w/e")).plan.agents
    assert restore_parts.waiting_in(part, agents) == ["a"]


def test_of_those_that_are_left_out_only_who_moved_to_a_free_place_gets_an_assignment() -> None:
    then = World(agent("a"), agent("b"), agent("c"), agent("d")).plan.agents
    now = World(agent("a"), agent("b", "m"), agent("c", workspace="/w/d"), agent("new")).plan.agents
    assert [fact.agent for fact in kept_places(("a", "b", "c", "new", "gone"), now, then)] == ["b"]


def assigned(name: str, node: str, workspace: str) -> list[NewEvent]:
    return [NewEvent(f"agent:{name}", e.AgentAssigned(name, "shell", {}, "/w", workspace, "", 3, node))]


@pytest.mark.parametrize("whole", (False, True))
@pytest.mark.parametrize("place", ("/w/b", "/w/b/below", "/w"))
def test_an_agent_that_is_assigned_to_what_would_be_replaced_fails_the_restore_by_name(whole: bool, place: str) -> None:
    """Nobody would stop it, and what it does there would be in no snapshot."""
    game = Game(Random(1), whole, skips=False)
    game.lead(stale=False)
    assert game.row.state == "opened"
    game.log.append(assigned("late", "b", place))
    game.lead(stale=False)
    assert game.row.state == "failed" and f"agent late was assigned to {place} on node b" in game.row.why


def test_an_agent_that_is_assigned_elsewhere_meanwhile_is_in_nobodys_way() -> None:
    game = Game(Random(1), whole=True, skips=False)
    for name, node, place in (("late", "b", "/w/bb"), ("other", "d", "/w/b"), ("of-a", "a", "/w/moved")):
        game.log.append(assigned(name, node, place))
    game.lead(stale=False)
    assert game.row.state == "opened"


@pytest.mark.parametrize("whole", (False, True))
def test_an_agent_that_is_let_go_on_before_the_decision_fails_the_restore_by_name(whole: bool) -> None:
    """What it has done since it was stopped would be in no snapshot."""
    game = Game(Random(1), whole, skips=False)
    row = game.row
    row.state, row.before = "started", "s2"
    for part in row.parts:
        part.state = "staged"
    for name in game.log.agents:
        game.log.append([NewEvent(f"agent:{name}", e.AgentStopped(name, stop_reason(RESTORE)))])
    before = Before("complete", frozenset(NODES))
    assert restoration.is_due(row, game.options, game.seen(before))
    game.log.append(agents_model.decide_restart("of-b", game.log.agents["of-b"]))
    assert not restoration.is_due(row, game.options, game.seen(before))
    (failed, *restarts) = restoration.decide_next(row, game.options, game.seen(before))
    assert isinstance(failed.fact, e.RestoreFailed) and "agent of-b was let go on" in failed.fact.reason
    assert {event.subject for event in restarts} == {"agent:of-a", "agent:of-c"}
