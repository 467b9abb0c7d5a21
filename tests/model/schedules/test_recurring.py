"""What becomes of due times: any order of clocks, absences, leaders, restores and users fires each once at most."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, strategies as st

from maestro.documents.recurrence import due_between, next_due
from maestro.model import events as e
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import Event, NewEvent
from maestro.model.schedules.commands import decide_add, decide_remove, decide_switch, parts_of
from maestro.model.schedules.recurring import LATE_MS, Came, End, Recurring, decide_by_hand, decide_due, decide_end
from maestro.model.schedules.schedule import Firing, Schedule, evolve, evolve_firing

MINUTE = 60_000
START = 1_780_000_000_000 // MINUTE * MINUTE


class Namespace:
    """A log of one schedule's firings, whose appends are checked as the store does; and its leaders."""

    def __init__(self, cron: str, missed: str) -> None:
        self.recurring = Recurring("s", cron, "Europe/Berlin", missed, START)
        self.rows: list[Firing | None] = [None]  # by version
        self.facts: list[Any] = []
        self.floor = 0

    @property
    def firing(self) -> Firing | None:
        return self.rows[-1]

    def append(self, new: NewEvent, now: int) -> bool:
        version = self.firing.version if self.firing is not None else 0
        if new.expected != max(version, self.floor):
            return False
        before = copy.deepcopy(self.firing)
        seq = max(len(self.facts), version, self.floor) + 1
        self.rows.append(evolve_firing(before, Event(seq, new.subject, now, "t", "c", 0, new.fact)))
        self.facts.append(new.fact)
        return True

    def lead(self, now: int, firing: Firing | None, busy: str = "") -> bool:
        """One look of a leader, which may have read a row that is old by now."""
        due = due_between(self.recurring.cron, self.recurring.tz, self.recurring.after(firing), now)
        if due is None:
            return False
        event = decide_due(self.recurring, Came(due.latest, due.count), firing, busy, now, self.floor)
        return self.append(event, now)

    def end(self, now: int) -> None:
        for due in list(self.firing.open) if self.firing else []:
            (event,) = decide_end("s", due, self.firing, End(True, "t1"), self.floor)
            assert self.append(event, now)

    def fired(self, by_hand: bool = False) -> list[int]:
        return [f.due for f in self.facts if isinstance(f, e.ScheduleFired) and f.by_hand == by_hand]


MOVES = st.lists(
    st.tuples(
        st.sampled_from(("look", "stale", "away", "back", "hand", "end", "restore")), st.integers(1, 90), st.booleans()
    ),
    max_size=60,
)


CRONS = st.sampled_from(("* * * * *", "*/7 * * * *", "30 2 * * *"))
POLICIES = st.sampled_from(("once", "skip"))


@given(cron=CRONS, missed=POLICIES, moves=MOVES)
def test_no_order_of_clocks_leaders_restores_and_users_fires_a_due_time_twice(
    cron: str, missed: str, moves: list[tuple[str, int, bool]]
) -> None:
    house, now = Namespace(cron, missed), START
    for move, amount, busy in moves:
        if move == "away":
            now += amount * 11 * MINUTE
        elif move == "back":
            now -= amount * MINUTE
        elif move == "end":
            house.end(now)
        elif move == "hand":
            with suppress(Refused):
                house.append(decide_by_hand("s", house.firing, "", now, house.floor), now)
        elif move == "restore":
            house.floor = max(len(house.facts), house.firing.version if house.firing else 0, house.floor) + 1
            house.recurring = Recurring("s", cron, "Europe/Berlin", missed, now)
        elif move == "stale":  # a leader that was, with what it has read before: at the very same time
            stale = house.rows[max(0, len(house.rows) - 1 - amount % 3)]
            assert not (house.lead(now, house.firing) and house.lead(now, stale))
        else:
            now += amount * 1000
            house.lead(now, house.firing, "it is on" if busy else "")
        assert house.firing is None or len(house.firing.open) <= 1
    fired = house.fired()
    assert fired == sorted(set(fired)) and len(house.fired(True)) == len(set(house.fired(True)))
    assert all(due % MINUTE == 0 for due in fired) and all(due % MINUTE for due in house.fired(by_hand=True))
    assert all(due > START - 100 * 90 * MINUTE for due in fired)


@given(moves=st.lists(st.integers(1, 400), max_size=80), missed=POLICIES)
def test_while_clocks_go_forth_every_due_time_has_fired_or_is_counted_as_left_out(
    moves: list[int], missed: str
) -> None:
    house, now = Namespace("*/5 * * * *", missed), START
    for amount in moves:
        now += amount * 30_000
        house.lead(now, house.firing)
        house.end(now)
    due = due_between("*/5 * * * *", "Europe/Berlin", START, now)
    assert (due.count if due else 0) == len(house.fired()) + (house.firing.missed if house.firing else 0)


def test_a_year_of_a_leader_that_looks_each_minute_of_need_fires_all_and_leaves_nothing_out() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"):
        house = Namespace("30 2 * * *", "skip")
        house.recurring = Recurring("s", "30 2 * * *", zone, "skip", START)
        now, fired = START, 0
        while now < START + 365 * 24 * 60 * MINUTE:
            now = (next_due("30 2 * * *", zone, now) or 0) + 7
            assert house.lead(now, house.firing)
            assert not house.lead(now, house.firing) and not house.lead(now - 2 * 60 * MINUTE, house.firing)
            house.end(now)
            fired += 1
        assert (len(house.fired()), house.firing.missed if house.firing else None) == (fired, 0) and fired >= 365


@pytest.mark.parametrize("missed", ["once", "skip"])
def test_after_a_week_away_one_fires_for_all_or_none_and_the_rest_is_counted(missed: str) -> None:
    house = Namespace("0 * * * *", missed)
    now = START + 7 * 24 * 60 * MINUTE + LATE_MS + MINUTE * 7
    now -= now % (60 * MINUTE) - LATE_MS - 1  # more than the patience behind the last one
    assert house.lead(now, house.firing)
    (fact,) = house.facts
    if missed == "once":
        assert isinstance(fact, e.ScheduleFired) and fact.missed >= 166
    else:
        assert isinstance(fact, e.ScheduleSkipped) and fact.missed >= 167 and "nobody was there" in fact.why
    assert not house.lead(now, house.firing)
    house.end(now)
    assert house.lead(now + 60 * MINUTE - LATE_MS, house.firing)  # the next one comes in its time
    assert isinstance(house.facts[-1], e.ScheduleFired) and not house.facts[-1].missed


def test_what_an_earlier_firing_began_is_waited_for_by_leaving_out() -> None:
    house = Namespace("* * * * *", "once")
    assert house.lead(START + MINUTE, None)
    assert house.lead(START + 2 * MINUTE, house.firing, "task t1 of the firing before is running")
    fact = house.facts[-1]
    assert isinstance(fact, e.ScheduleSkipped) and (fact.missed, fact.until) == (1, START + 2 * MINUTE)
    assert decide_end("s", START + MINUTE, house.firing, End(True), 0)
    assert not decide_end("s", START + 2 * MINUTE, house.firing, End(True), 0)


def test_schedules_are_added_once_replaced_switched_and_removed() -> None:
    wanted = e.ScheduleAdded("s", "0 * * * *", "UTC", "once", ("state", "snapshot"), request="{}")
    row: Schedule | None = None

    def happens(events: list[NewEvent], seq: int) -> None:
        nonlocal row
        (new,) = events
        row = evolve(row, Event(seq, new.subject, seq, "t", "c", 0, new.fact))

    happens(decide_add(wanted, row, 0), 1)
    assert decide_add(wanted, row, 0) == []
    assert decide_switch("s", True, row, 0) == []
    happens(decide_switch("s", False, row, 0), 2)
    assert row is not None and (row.enabled, row.switched_at) == (False, 2)
    assert decide_add(wanted, row, 0)  # adding it anew switches it on
    happens(decide_remove("s", row, 0), 3)
    assert row is None
    with pytest.raises(NotFound):
        decide_remove("s", row, 0)
    with pytest.raises(Refused, match="belongs to workflow deploy"):
        decide_switch("deploy#0", False, None, 0)
    for name in ("a#0", "a b", ""):
        with pytest.raises(Invalid):
            decide_add(e.ScheduleAdded(name, "0 * * * *", "UTC", "once", ()), None, 0)
    assert parts_of("deploy#12") == ("deploy", 12) and parts_of("deploy") == ("deploy", None)
