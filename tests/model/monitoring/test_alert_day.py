"""A day of alerts with a clock of its own: agents, nodes and tasks come and go, leaders change, memories get lost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from maestro.model import events as e
from maestro.model.agent import Agent
from maestro.model.events import Event, NewEvent
from maestro.model.monitoring.alert import Alert, evolve
from maestro.model.monitoring.alert_conditions import World, conditions
from maestro.model.monitoring.alert_decisions import (
    MORE,
    Batch,
    Steadiness,
    appends,
    awoken,
    calmed,
    changed,
    expired,
    lasting,
    limited,
    new_ones,
)
from maestro.model.monitoring.alert_moments import Ended, Rows
from maestro.model.monitoring.alert_rules import DAY_MS, HOUR_MS
from maestro.model.node import Node
from maestro.model.task import Slot, Task

LOOK_MS = 10_000
START = 1_800_000_000_000


class Town:
    """A log of alerts and of what they tell of, its rows, and what there is beside the log."""

    def __init__(self) -> None:
        self.now = START
        self.log: list[Event] = []
        self.rows: dict[str, Alert] = {}
        self.versions: dict[str, int] = {}
        self.tasks: dict[str, Task] = {}
        self.agents: dict[str, Agent] = {}
        self.nodes: dict[str, Node] = {}
        self.seen: dict[str, dict[str, str] | None] = {}
        self.refused = 0

    def append(self, *events: NewEvent) -> bool:
        first = events[0]
        if first.expected is not None and self.versions.get(first.subject, 0) != first.expected:
            self.refused += 1
            return False
        for new in events:
            event = Event(len(self.log) + 1, new.subject, self.now, "", "", 0, new.fact)
            self.log.append(event)
            self.versions[new.subject] = event.seq
            if isinstance(new.fact, e.AlertRaised | e.AlertResolved | e.AlertSnoozed):
                row = evolve(self.rows.get(new.fact.alert), event)
                assert row is not None
                self.rows[row.id] = row
        return True

    @property
    def open(self) -> dict[str, Alert]:
        return {name: row for name, row in self.rows.items() if row.open}

    def world(self) -> World:
        return World(self.now, self.agents, self.nodes, self.seen)

    def told(self, alert: str) -> list[Event]:
        return [event for event in self.log if event.subject == f"alert:{alert}"]

    # what happens

    def ends(self, name: str, status: str, outcome: str) -> None:
        self.append(NewEvent(f"task:{name}", e.TaskFinished(name, status, outcome)))
        row = self.tasks.setdefault(name, Task(name, 0, 0, name, status, [Slot("a", outcome=outcome)], self.now, ""))
        row.version, row.status, row.outcome = len(self.log), status, outcome

    def health(self, name: str, failed: Sequence[str] = ()) -> None:
        agent = self.agents.setdefault(name, Agent(name, 0, "t", {}, "/r"))
        agent.healthy, agent.failed_checks, agent.reason = not failed, list(failed), " ".join(failed)

    def node(self, name: str, status: str) -> None:
        self.nodes.setdefault(name, Node(name, 0, "h", "i", 1, 4, "b")).status = status


class Leader:
    """One that leads, with what it remembers. after: the position from which it takes events in."""

    def __init__(self, town: Town, after: int) -> None:
        self.town, self.after, self.steadiness = town, after, Steadiness()

    def decisions(self) -> list[list[NewEvent]]:
        """What it decides now, as the watch of the daemon does."""
        town, now, rows = self.town, self.town.now, self.town.open
        batch = Batch(rows, now)
        for event in town.log[self.after :]:
            batch.take(event, Rows(town.tasks, {}, {}))
        moments, ended = batch.settle(town.rows)
        ended += expired(rows.values(), now)
        return appends(limited(moments, rows), ended, town.rows, 0)

    def lasting(self) -> list[list[NewEvent]]:
        town, now, rows = self.town, self.town.now, self.town.open
        world = town.world()
        found = lasting(conditions(world), rows)
        self.steadiness.look(found, rows.values(), now)
        new, anew = new_ones(found, rows, self.steadiness, now), changed(found, rows, self.steadiness, now)
        ended = [*calmed(found, world, rows, self.steadiness), *(Ended(one.alert, "gone") for one in anew)]
        return [
            *appends([*new, *anew], ended, town.rows, 0),
            *awoken(rows.values(), now, 0),
        ]

    def look(self) -> None:
        upto = len(self.town.log)
        for events in self.decisions():
            self.town.append(*events)
        self.after = upto
        for events in self.lasting():
            self.town.append(*events)


def whole(town: Town) -> None:
    """Each alert is raised, resolved, raised, … in turn."""
    for alert in town.rows:
        kinds = [type(event.fact) for event in town.told(alert) if not isinstance(event.fact, e.AlertSnoozed)]
        assert kinds == [(e.AlertRaised, e.AlertResolved)[at % 2] for at in range(len(kinds))], (alert, kinds)


def count(town: Town, fact: type[Any]) -> Counter[str]:
    return Counter(event.fact.alert for event in town.log if isinstance(event.fact, fact))  # type: ignore[union-attr]


class Fate:
    """What happens in a town by chance. failures: of tasks; ill: how often an agent fell ill or got well."""

    def __init__(self, seed: int) -> None:
        self.chance, self.town = random.Random(seed), Town()
        self.leader = Leader(self.town, 0)
        self.failures: Counter[str] = Counter()
        self.ill: Counter[str] = Counter()

    def passes(self, look: int) -> None:
        """One look's time passes."""
        self.town.now += LOOK_MS
        for may, happens in ((0.002, self.fails), (0.001, self.is_retried), (0.002, self.falls_ill)):
            if self.chance.random() < may:
                happens(look)
        for may, happens in ((0.0005, self.node_moves), (0.002, self.leader_changes), (0.002, self.two_lead)):
            if self.chance.random() < may:
                happens(look)
        if self.chance.random() < 0.9:
            self.leader.look()

    def fails(self, look: int) -> None:
        self.town.ends(f"t{look}", "failed", "exit")
        self.failures[f"t{look}"] += 1

    def is_retried(self, _: int) -> None:
        if self.failures:
            name, good = self.chance.choice(list(self.failures)), self.chance.random() < 0.5
            self.town.ends(name, "completed" if good else "failed", "ok" if good else "exit")
            self.failures[name] += not good

    def falls_ill(self, _: int) -> None:
        name = f"a{self.chance.randrange(5)}"
        is_well = name not in self.town.agents or self.town.agents[name].healthy
        self.town.health(name, [self.chance.choice(["process", "disk"])] if is_well else [])
        self.ill[name] += 1

    def node_moves(self, _: int) -> None:
        name = f"n{self.chance.randrange(3)}"
        self.town.node(name, self.chance.choice(["up", "lost", "left"]))
        self.town.seen[name] = self.chance.choice([None, {"disk_low": "1 MiB free"}, {"disk_low": ""}])

    def leader_changes(self, _: int) -> None:
        """Another one leads; it knows how far the one before was, or begins anew."""
        self.leader = Leader(self.town, self.leader.after if self.chance.random() < 0.7 else 0)

    def two_lead(self, _: int) -> None:
        """Two think that they lead, and decide on the same rows."""
        both = self.leader.decisions(), Leader(self.town, self.leader.after).decisions()
        for events in [*both[0], *both[1]]:
            self.town.append(*events)

    def ends_well(self) -> None:
        """All is well from now on, for longer than a day."""
        for name in self.town.agents:
            self.town.health(name)
        for name in self.town.nodes:
            self.town.node(name, "up")
            self.town.seen[name] = {"disk_low": ""}
        for _ in range(DAY_MS // HOUR_MS * 4 + 8):
            self.town.now += HOUR_MS // 4
            self.leader.look()


@pytest.mark.parametrize("seed", range(3))
def test_in_a_day_with_changing_leaders_each_alert_is_raised_once_and_resolved_once(seed: int) -> None:
    fate = Fate(seed)
    town = fate.town
    for look in range(DAY_MS // LOOK_MS):
        fate.passes(look)
    fate.leader.look()
    whole(town)
    raised = count(town, e.AlertRaised)
    assert f"task_failed:{MORE}" not in raised
    for name, task in town.tasks.items():  # each is told as often as it failed at most; none is over that should not be
        alert = town.rows.get(f"task_failed:{name}")
        assert raised[f"task_failed:{name}"] <= fate.failures[name]
        if task.status == "failed" and town.now - DAY_MS < (alert.raised_at if alert else town.now):
            assert alert is not None and alert.open, name
    assert sum(times for name, times in raised.items() if name.startswith("agent_")) <= fate.ill.total()
    fate.ends_well()
    assert not town.open
    whole(town)
    assert count(town, e.AlertRaised).total() == count(town, e.AlertResolved).total()


def test_what_comes_and_goes_is_told_a_few_times_a_day() -> None:
    town = Town()
    leader = Leader(town, 0)
    for look in range(DAY_MS // LOOK_MS):
        town.now += LOOK_MS
        town.health("a", ["process"] if look % 8 < 3 else [])  # ill for 30 s, well for 50 s
        leader.look()
    assert count(town, e.AlertRaised)["agent_unhealthy:a"] <= 3
    town = Town()
    leader = Leader(town, 0)
    for look in range(DAY_MS // LOOK_MS):
        town.now += LOOK_MS
        town.health("a", ["process"] if look % 200 == 0 else [])  # for a moment, every 17 minutes
        leader.look()
    assert count(town, e.AlertRaised)["agent_unhealthy:a"] <= DAY_MS // (200 * LOOK_MS) + 1
    whole(town)


def test_another_reason_is_told_anew_soon_and_then_every_ten_minutes_at_most() -> None:
    town = Town()
    leader = Leader(town, 0)
    for failed, looks in (("workspace", 10), ("disk", 1), ("workspace", 10), ("disk", 10)):
        town.health("a", [failed])
        for _ in range(looks):
            town.now += LOOK_MS
            leader.look()
    facts = [event.fact for event in town.told("agent_unhealthy:a")]
    assert [getattr(fact, "why", "") or getattr(fact, "how", "") for fact in facts] == ["workspace", "gone", "disk"]
    for look in range(HOUR_MS // LOOK_MS):
        town.now += LOOK_MS
        town.health("a", ["workspace" if look % 8 < 4 else "disk"])
        leader.look()
    assert count(town, e.AlertRaised)["agent_unhealthy:a"] <= 2 + 6
    whole(town)


def test_thousands_of_failures_are_told_by_a_bounded_count() -> None:
    town = Town()
    for at in range(5000):
        town.now += 1000
        town.ends(f"old{at}", "failed", "exit")
    town.now += 2 * DAY_MS
    for at in range(3000):
        town.now += 10
        town.ends(f"new{at}", "failed", "exit")
    leader = Leader(town, 0)
    leader.look()
    raised = count(town, e.AlertRaised)
    assert raised.total() == 21 and raised[f"task_failed:{MORE}"] == 1
    assert not any(name.startswith("task_failed:old") for name in raised)
    assert f"task_failed:new{2999}" in raised
    fact = town.told(f"task_failed:{MORE}")[0].fact
    assert isinstance(fact, e.AlertRaised) and fact.why.startswith("2980 more")
    for at in range(24 * 60):  # a storm that goes on
        town.now += 60_000
        for each in range(3):
            town.ends(f"storm{at}-{each}", "failed", "exit")
        leader.look()
    assert count(town, e.AlertRaised).total() < 21 + 24 + 21 + 2
    whole(town)


def test_a_thousand_agents_that_fall_ill_at_once_are_told_by_a_bounded_count_and_all_of_it_ends() -> None:
    town = Town()
    leader = Leader(town, 0)
    for at in range(1000):
        town.health(f"a{at}", ["disk"])
    for _ in range(10):
        town.now += LOOK_MS
        leader.look()
    assert len(town.open) == 21
    for at in reversed(range(1000)):
        town.health(f"a{at}")
        if at % 10 == 0:
            town.now += LOOK_MS
            leader.look()
    for _ in range(10):
        town.now += LOOK_MS
        leader.look()
    assert not town.open
    assert count(town, e.AlertRaised).total() == 21
    whole(town)


def test_of_two_that_think_they_lead_the_log_takes_one() -> None:
    town = Town()
    first, second = Leader(town, 0), Leader(town, 0)
    town.ends("t", "failed", "exit")
    town.health("a", ["disk"])
    for decide in (Leader.decisions, Leader.lasting):
        for events in [*decide(first), *decide(second)]:
            town.append(*events)
    assert count(town, e.AlertRaised) == {"task_failed:t": 1, "agent_unhealthy:a": 1}
    assert town.refused == 2


def test_a_task_that_failed_again_is_told_again_and_old_events_that_come_again_end_nothing() -> None:
    town = Town()
    leader = Leader(town, 0)
    for status, outcome in (("failed", "exit"), ("completed", "ok"), ("failed", "exit"), ("failed", "oom")):
        town.now += LOOK_MS
        town.ends("t", status, outcome)
        leader.look()
        Leader(town, 0).look()
    kinds = [event.fact.__class__.__name__ for event in town.told("task_failed:t")]
    assert kinds == ["AlertRaised", "AlertResolved", "AlertRaised", "AlertResolved", "AlertRaised"]
    assert town.open["task_failed:t"].why == "oom"


def test_what_is_acknowledged_is_not_told_again_and_what_nobody_acknowledges_ends_after_a_day() -> None:
    town = Town()
    leader = Leader(town, 0)
    for name in ("a", "b"):
        town.ends(name, "timed_out", "timeout")
    leader.look()
    row = town.open["task_timed_out:a"]
    town.append(NewEvent(f"alert:{row.id}", e.AlertResolved(row.id, "acknowledged"), row.version))
    Leader(town, 0).look()
    assert list(town.open) == ["task_timed_out:b"]
    town.now += DAY_MS
    leader.look()
    assert not town.open and town.rows["task_timed_out:b"].how == "expired"
    whole(town)


def test_a_snooze_ends_by_itself() -> None:
    town = Town()
    leader = Leader(town, 0)
    town.health("a", ["disk"])
    leader.look()
    row = town.open["agent_unhealthy:a"]
    town.append(NewEvent(f"alert:{row.id}", e.AlertSnoozed(row.id, town.now + HOUR_MS), row.version))
    town.now += HOUR_MS - 1
    leader.look()
    assert town.rows[row.id].snoozed_until
    town.now += 1
    leader.look()
    assert not town.rows[row.id].snoozed_until and town.rows[row.id].open
    leader.look()
    assert len(town.told(row.id)) == 3
