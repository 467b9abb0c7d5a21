"""Deliveries at webhooks: what is queued, in which order it is sent, when it is tried again, when it is given up."""

from __future__ import annotations

import random

import pytest

from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.model.monitoring.alert import Delivery, Endpoint, evolve_delivery, evolve_endpoint
from maestro.model.monitoring.alert_moments import Rows, told
from maestro.model.monitoring.deliveries import (
    ABANDONED_MS,
    ASKED_MS_MAX,
    BACKOFF_MS,
    BACKOFF_MS_MAX,
    GIVEN_UP_MAX,
    KEEP_MS,
    KEEP_TRYING_MS,
    NEVER_MS,
    PAUSE_MS_MAX,
    WAITING_MAX,
    Backlog,
    Moment,
    Report,
    configured,
    delay_ms,
    given_up,
    pause_ms,
    queued,
    reported,
    resent,
    to_send,
)

HOUR = 3_600_000
RAISED = e.AlertRaised("task_failed:t1", "task_failed", "t1", "warning", "task t1 failed")
RESOLVED = e.AlertResolved("task_failed:t1", "acknowledged")


class World:
    """A log of deliveries with a clock that the test turns, its rows folded as the view folds them."""

    def __init__(self) -> None:
        self.now, self.seq, self.events = 1_000_000, 0, list[Event]()
        self.rows: dict[str, Delivery] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.attended = True

    def append(self, events: list[NewEvent]) -> None:
        for new in events:
            self.seq += 1
            event = Event(self.seq, new.subject, self.now, "daemon:n", "cmd:1", 0, new.fact)
            self.events.append(event)
            if isinstance(new.fact, e.WebhookConfigured | e.WebhookDisabled):
                endpoint = evolve_endpoint(self.endpoints.get(new.fact.endpoint), event)
                assert endpoint is not None
                self.endpoints[endpoint.id] = endpoint
            elif new.subject.startswith("delivery:"):
                row = evolve_delivery(self.rows.get(new.subject), event)
                if row is None:
                    self.rows.pop(new.subject, None)
                else:
                    self.rows[new.subject] = row

    def configure(self, *names: str, anew: bool = False) -> None:
        for name in names:
            self.append(configured(name, self.endpoints.get(name), "n", anew, 0))

    def backlogs(self) -> list[Backlog]:
        found = []
        for endpoint in self.endpoints.values():
            rows = sorted((row for row in self.rows.values() if row.endpoint == endpoint.id), key=lambda row: row.seq)
            found.append(Backlog(endpoint, len(rows), rows[:50], self.now, self.attended))
        return found

    def tell(self, fact: e.AlertRaised | e.AlertResolved, tag: str = "") -> None:
        alert = NewEvent(f"alert:{fact.alert}", fact)
        self.append([alert, *queued(fact, self.backlogs(), tag or f"tag{self.seq}")])

    def send(self, answer: Report, limit: int = 20) -> list[Delivery]:
        """Have a monitor send what is due, and report the same answer for each."""
        due = to_send(self.rows.values(), self.now, limit)
        for row in due:
            report = Report(row.attempts + 1, answer.status, answer.why, answer.retry_ms, answer.disabled)
            self.append(reported(row, self.endpoints.get(row.endpoint), report, Moment(self.now, 0, 0.5)))
        return due

    def facts(self, kind: type[e.AnyFact]) -> list[e.AnyFact]:
        return [event.fact for event in self.events if isinstance(event.fact, kind)]


TAKEN = Report(0, 204)
BROKEN = Report(0, 500, "it answered 500")


def test_each_endpoint_is_told_once_and_knows_of_which_event() -> None:
    world = World()
    world.configure("aa", "bb")
    world.tell(RAISED, "x")
    assert {row.id: row.seq for row in world.rows.values()} == {"x-aa": 3, "x-bb": 3}
    assert world.events[2].fact == RAISED
    assert not any("." in row.id for row in world.rows.values())


def test_a_disabled_endpoint_gets_nothing_until_a_monitor_starts_for_it() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    world.send(Report(0, 410, "it answered 410", disabled=True))
    assert world.endpoints["aa"].disabled == "it answered 410"
    world.tell(RESOLVED)
    assert [row.retry_at for row in world.rows.values()] == [None]
    world.configure("aa")
    assert world.endpoints["aa"].disabled
    world.configure("aa", anew=True)
    assert not world.endpoints["aa"].disabled
    world.configure("aa", anew=True)
    assert len(world.facts(e.WebhookConfigured)) == 2


def test_what_is_too_much_for_an_endpoint_is_dropped_oldest_first_and_said() -> None:
    world = World()
    world.configure("aa")
    for number in range(WAITING_MAX + 3):
        world.tell(RAISED, f"x{number}")
    assert len(world.rows) == WAITING_MAX
    assert world.facts(e.DeliveryDropped) == [
        e.DeliveryDropped(f"x{number}-aa", f"{WAITING_MAX} newer ones wait") for number in range(3)
    ]


def test_an_endpoint_that_no_monitor_sends_to_is_left_after_a_week_and_forgotten_after_a_month() -> None:
    world = World()
    world.configure("old", "new")
    world.tell(RAISED, "1")
    world.now += ABANDONED_MS - 1
    world.send(TAKEN, limit=0)
    world.attended = False
    world.tell(RESOLVED, "2")
    assert not any(endpoint.disabled for endpoint in world.endpoints.values())
    world.now += 1
    world.attended = True  # it has just come back, and did not get to it yet
    world.tell(RAISED, "3")
    world.attended = False
    assert not world.endpoints["old"].disabled
    world.tell(RAISED, "4")
    assert world.endpoints["old"].disabled == world.endpoints["new"].disabled == "no monitor has sent to it for 7 days"
    assert len(world.rows) == 6
    world.configure("new", anew=True)
    assert {row.id for row in to_send(world.rows.values(), world.now, 9)} >= {"1-new", "2-new"}
    world.now += KEEP_MS
    world.attended = True
    world.tell(RESOLVED, "5")
    assert set(world.rows) == {"delivery:5-new"}
    assert {fact.why for fact in world.facts(e.DeliveryDropped)} == {"it could not be delivered for 30 days"}


def test_an_endpoint_that_has_never_taken_anything_is_left_an_hour_after_its_monitor_is_gone() -> None:
    """A mistyped URL; one that has worked once waits for a week."""
    world = World()
    world.configure("typo", "good")
    world.append([NewEvent("webhook:good", e.WebhookConfigured("good", works=True))])
    world.tell(RAISED, "1")
    world.send(BROKEN)
    world.attended = False
    world.now += 20_000 + NEVER_MS - 60_000
    world.tell(RESOLVED, "2")
    assert not world.endpoints["typo"].disabled
    world.now += 60_000
    world.tell(RAISED, "3")
    assert "never taken" in world.endpoints["typo"].disabled and not world.endpoints["good"].disabled
    assert {row.endpoint for row in world.rows.values()} == {"good"}
    world.configure("typo", anew=True)
    assert not world.endpoints["typo"].disabled and not world.endpoints["typo"].works


def test_an_endpoint_that_a_user_gives_up_gets_nothing_more_and_raises_no_alert() -> None:
    world = World()
    world.configure("typo")
    for _ in range(GIVEN_UP_MAX + 1):
        world.tell(RAISED)
    rounds = 0
    while events := given_up(world.endpoints["typo"], list(world.rows.values()), "", 0):
        world.append(events)
        rounds += 1
    assert (rounds, len(world.rows), world.endpoints["typo"].disabled) == (2, 0, "a user gave it up")
    fact = next(event for event in world.events if isinstance(event.fact, e.WebhookDisabled))
    assert told(fact, Rows({}, {}, {})) is None
    world.tell(RAISED)
    assert not world.rows


def test_a_receiver_that_is_down_for_a_month_is_not_left_by_its_monitor() -> None:
    world = World()
    world.configure("aa")
    for _ in range(30):
        world.tell(RAISED)
        world.now += 86_400_000
        world.send(BROKEN)
    assert not world.endpoints["aa"].disabled


def test_several_alerts_in_one_append_do_not_let_the_backlog_grow_for_good() -> None:
    world = World()
    world.configure("aa")
    backlogs = [Backlog(world.endpoints["aa"], WAITING_MAX, [])]
    for number in range(WAITING_MAX):
        world.tell(RAISED, f"x{number}")
    backlogs = world.backlogs()
    for number in range(10):  # decided on the same rows
        world.append([NewEvent("alert:a", RAISED), *queued(RAISED, backlogs, f"y{number}")])
    assert len(world.rows) == WAITING_MAX + 9
    world.tell(RAISED, "z")
    assert len(world.rows) == WAITING_MAX


def test_a_receiver_that_answers_500_for_an_hour_gets_it_then() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    start, sent = world.now, 0
    while world.rows:
        sent += len(world.send(BROKEN if world.now - start < HOUR else TAKEN))
        world.now += 1000
    assert world.now - start < 2.5 * HOUR
    assert 10 <= sent <= 13
    assert len(world.facts(e.DeliveryDone)) == 1


def test_a_receiver_that_is_gone_is_given_up_after_three_days() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    start, tries = world.now, 0
    while any(row.retry_at is not None for row in world.rows.values()):
        tries += len(world.send(BROKEN))
        world.now += 60_000
    assert KEEP_TRYING_MS - 4 * HOUR < world.now - start <= KEEP_TRYING_MS
    assert tries < 40
    (row,) = world.rows.values()
    assert (row.attempts, row.why, row.status, row.retry_at) == (tries, "it answered 500", 500, None)


def test_what_was_given_up_is_sent_again_with_its_id_and_with_all_its_attempts() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED, "x")
    world.now += KEEP_TRYING_MS
    world.send(BROKEN)
    assert not to_send(world.rows.values(), world.now + KEEP_TRYING_MS, 20)
    world.append(resent(world.rows.values(), 0))
    assert resent(world.rows.values(), 0) == []
    assert [row.id for row in world.send(BROKEN)] == ["x-aa"]
    assert [(row.attempts, row.requested) for row in world.rows.values()] == [(1, False)]
    assert resent(world.rows.values(), 0)
    world.now += HOUR
    assert [row.id for row in world.send(TAKEN)] == ["x-aa"]
    assert world.rows == {}


def test_an_alert_is_told_in_its_order_and_holds_no_other_alert() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED, "1")
    world.send(BROKEN)
    world.tell(RESOLVED, "2")
    other = e.AlertRaised("disk:n", "disk", "n", "critical", "full")
    world.tell(other, "3")
    assert [row.id for row in to_send(world.rows.values(), world.now, 20)] == ["3-aa"]
    world.now += HOUR
    assert [row.id for row in to_send(world.rows.values(), world.now, 20)] == ["1-aa", "2-aa", "3-aa"]
    assert [row.id for row in to_send(world.rows.values(), world.now, 2)] == ["1-aa", "2-aa"]
    assert to_send(world.rows.values(), world.now, 0) == []


@pytest.mark.parametrize("asked", [0, 10_000, HOUR, 10**12])
def test_a_receiver_is_not_asked_before_it_wants_to_but_within_a_day(asked: int) -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    world.send(Report(0, 503, "it answered 503", asked))
    (row,) = world.rows.values()
    assert row.retry_at == world.now + max(int(BACKOFF_MS * 1.125), min(asked, ASKED_MS_MAX))


def test_delays_double_to_a_limit_with_some_chance_and_pauses_are_shorter() -> None:
    for attempt in range(1, 100):
        least, most = delay_ms(attempt, 0.0), delay_ms(attempt, 1.0)
        assert least == min(BACKOFF_MS * 2 ** (attempt - 1), BACKOFF_MS_MAX) and most == least * 5 // 4
        assert pause_ms(attempt, 0, 1.0) < least
        assert pause_ms(attempt, 0, 1.0) <= PAUSE_MS_MAX * 5 // 4
    assert pause_ms(1, HOUR, 0.0) == HOUR
    assert pause_ms(1, 10**12, 0.0) == ASKED_MS_MAX
    assert delay_ms(10**6, 0.0) == BACKOFF_MS_MAX


def test_a_report_counts_once_and_a_late_one_of_success_counts_always() -> None:
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    (row,) = world.rows.values()
    moment = Moment(world.now, 0, 0.0)
    failed = reported(row, None, Report(1, 0, "reset"), moment)
    world.append(failed)
    assert reported(row, None, Report(1, 0, "reset"), moment) == []
    done = reported(row, None, Report(1, 200), moment)
    assert [type(event.fact) for event in done] == [e.DeliveryDone]
    assert reported(None, None, Report(1, 200), moment) == []
    assert [event.expected for event in reported(row, None, Report(1, 200), Moment(0, 99, 0.0))] == [99]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_delivery_ends_once_or_waits(seed: int) -> None:
    """Monitors that die before they report, double reports, restarts, receivers that come and go."""
    chance = random.Random(seed)
    world = World()
    world.configure("aa", "bb")
    told, taken = 0, set[str]()
    for _ in range(300):
        world.now += chance.choice((10, 5_000, 600_000))
        match chance.randrange(6):
            case 0:
                world.tell(chance.choice((RAISED, RESOLVED)))
                told += sum(not endpoint.disabled for endpoint in world.endpoints.values())
            case 1:
                world.append(resent(world.rows.values(), 0))
            case 2:
                world.configure("aa", "bb", anew=chance.random() < 0.2)
            case _:
                due = to_send(world.rows.values(), world.now, 3)
                answer = chance.choice((TAKEN, BROKEN, BROKEN, Report(0, 410, "gone", disabled=chance.random() < 0.1)))
                for row in due:
                    if chance.random() < 0.8:  # else the monitor was killed behind the answer
                        report = Report(row.attempts + 1, answer.status, answer.why, 0, answer.disabled)
                        for _ in range(chance.choice((1, 1, 2))):
                            known = world.rows.get(f"delivery:{row.id}")
                            moment = Moment(world.now, 0, chance.random())
                            world.append(reported(known, world.endpoints[row.endpoint], report, moment))
    for fact in world.facts(e.DeliveryDone):
        assert isinstance(fact, e.DeliveryDone) and fact.delivery not in taken
        taken.add(fact.delivery)
    assert len(world.facts(e.DeliveryQueued)) == told == len(taken) + len(world.rows)


def test_what_was_never_tried_is_sent_though_the_store_s_clock_is_behind_the_events() -> None:
    """As after a failover to a store whose clock is an hour behind: the log's time stands still until then."""
    world = World()
    world.configure("aa")
    world.tell(RAISED)
    world.now -= HOUR
    assert len(world.send(BROKEN)) == 1
    assert not world.send(BROKEN)
    world.now += BACKOFF_MS_MAX
    assert len(world.send(TAKEN)) == 1
