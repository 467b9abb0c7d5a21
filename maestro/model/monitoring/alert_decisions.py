"""The decisions on alerts: which are raised, and which resolved; each list of events is one append. Pure.

What was appended is the only memory that counts. `Steadiness` remembers since when something is so or not so any more:
a leader that knows nothing of it yet is the later with an alert, never wrong. Events stand at the version of their
alert, so of two leaders that decide alike the log takes one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from maestro.model.events import AlertRaised, AlertResolved, AlertSnoozed, Event, NewEvent
from maestro.model.monitoring.alert import Alert
from maestro.model.monitoring.alert_conditions import World, gone
from maestro.model.monitoring.alert_moments import OF_TASKS, Ended, Rows, over, told
from maestro.model.monitoring.alert_rules import DAY_MS, HOUR_MS, RULES, Condition

CLEAR_MS: Final = 15_000
"""For how long a condition must not have been seen before its alert is resolved: what comes and goes is one alert."""
RECURRING_CLEAR_MS: Final = 600_000
"""As CLEAR_MS, of an alert that came back soon after it had been resolved."""
EACH_MAX: Final = 20
"""So many open alerts of one name; what would be more is told by one alert of all, `<name>:+more`."""
MORE: Final = "+more"
"""The subject of such an alert. No id begins so."""


class Steadiness:
    """Since when conditions have been seen, and since when those of open alerts have not been."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._clear: dict[str, int] = {}
        self._other: dict[str, tuple[str, int]] = {}

    def look(self, found: Iterable[Condition], rows: Iterable[Alert], now: int) -> None:
        """Take in what is so at `now`. rows: open alerts."""
        there = {one.alert for one in found}
        self._seen = {name: self._seen.get(name, now) for name in there}
        open_ = {row.id: row for row in rows}
        self._clear = {name: self._clear.get(name, now) for name in open_ if name not in there}
        before, self._other = self._other, {}
        for one in found:
            if one.alert in open_ and _is_other(one, open_[one.alert]):
                kind, since = before.get(one.alert, ("", now))
                self._other[one.alert] = one.kind, since if kind == one.kind else now

    def has_held(self, one: Condition, now: int) -> bool:
        """Whether a condition has been seen for as long as it must before it is told."""
        return now - self._seen.get(one.alert, now) >= one.hold_ms

    def is_another(self, row: Alert, now: int) -> bool:
        """Whether the reason of an alert has been another one for long enough: the first change is told soon, what
        goes on to change every ten minutes.
        """
        _, since = self._other.get(row.id, ("", now))
        lately = row.times > 1 and now - row.raised_at < RECURRING_CLEAR_MS
        return now - since >= CLEAR_MS and not lately

    def is_over(self, row: Alert, now: int, mended: bool = False) -> bool:
        """Whether the condition of an alert has not been seen for long enough. mended: somebody has seen to it."""
        cleared = self._clear.get(row.id)
        is_doubted = row.recurring and not mended
        return cleared is not None and now - cleared >= (RECURRING_CLEAR_MS if is_doubted else CLEAR_MS)


def new_ones(
    found: Sequence[Condition], rows: Mapping[str, Alert], steadiness: Steadiness, now: int
) -> list[Condition]:
    """The lasting conditions that are to be raised, no more of a name than EACH_MAX. rows: open alerts by id."""
    ripe = [one for one in found if not one.unsure and one.alert not in rows and steadiness.has_held(one, now)]
    return limited(ripe, rows)


def changed(found: Iterable[Condition], rows: Mapping[str, Alert], steadiness: Steadiness, now: int) -> list[Condition]:
    """The lasting conditions whose open alert gives a reason that is none any more: it is told anew."""
    return [
        one for one in found if not one.unsure and one.alert in rows and steadiness.is_another(rows[one.alert], now)
    ]


def _is_other(one: Condition, row: Alert) -> bool:
    return one.kind not in f"{row.what}\n{row.why}"


def lasting(found: Sequence[Condition], rows: Mapping[str, Alert]) -> list[Condition]:
    """The conditions, and those of open alerts of all that is more: they last while one is not told by itself."""
    untold = {one.name for one in found if not one.unsure and one.alert not in rows}
    return [*found, *(Condition(name, MORE) for name in untold if f"{name}:{MORE}" in rows)]


def calmed(found: Sequence[Condition], world: World, rows: Mapping[str, Alert], steadiness: Steadiness) -> list[Ended]:
    """The open lasting alerts that are over."""
    there, ended = {one.alert for one in found}, []
    for row in rows.values():
        if row.momentary:
            continue
        reason = gone(world, row.name, row.subject) if row.subject not in ("", MORE) else ""
        if reason:
            ended.append(Ended(row.id, "gone", reason))
        elif row.id not in there and steadiness.is_over(row, world.now, _is_mended(row, world)):
            ended.append(Ended(row.id, "recovered"))
    return ended


def _is_mended(row: Alert, world: World) -> bool:
    """Whether an alert tells of an agent that somebody has assigned since, so that it is another place that counts."""
    agent = world.agents.get(row.subject) if row.name == "agent_unhealthy" else None
    return agent is not None and agent.assigned_at > row.raised_at


def expired(rows: Iterable[Alert], now: int) -> list[Ended]:
    """The open alerts of one event whose time is over: a day; an hour of those that tell of many."""
    return [
        Ended(row.id, "expired", "nobody has acknowledged it")
        for row in rows
        if row.momentary and now - row.raised_at >= (HOUR_MS if row.subject == MORE else DAY_MS)
    ]


def limited(new: Sequence[Condition], rows: Mapping[str, Alert]) -> list[Condition]:
    """These conditions, none of which has an open alert, the newest of each name; one for all that are too many."""
    count = Counter(row.name for row in rows.values() if row.subject != MORE)
    of_name: dict[str, list[Condition]] = {}
    for one in new:
        of_name.setdefault(one.name, []).append(one)
    found: list[Condition] = []
    for name, these in of_name.items():
        room = max(0, EACH_MAX - count[name])
        if f"{name}:{MORE}" in rows:
            continue
        if len(these) <= room:
            found += these
            continue
        surplus, each = these[: len(these) - room], these[len(these) - room :]
        found += [*each, _more(name, surplus)]
    return found


def _more(name: str, surplus: Sequence[Condition]) -> Condition:
    last = surplus[-1]
    what = f"more of {name} than are told one by one"
    why = f"{len(surplus)} more, such as: {last.what}"
    is_momentary = last.momentary
    return Condition(name, MORE, what, why, surplus[0].since, RULES[name].many, momentary=is_momentary, seq=last.seq)


class Batch:
    """What a batch of events tells: alerts to raise, and to resolve. now: server ms; rows: open alerts by id."""

    def __init__(self, rows: Mapping[str, Alert], now: int) -> None:
        self._rows = rows
        self._now = now
        self.told: dict[str, Condition] = {}
        self.ended: dict[str, Ended] = {}

    def take(self, event: Event, known: Rows) -> None:
        """Take in an event, in the order of the log."""
        for end in over(event, known):
            pending, row = self.told.get(end.alert), self._rows.get(end.alert)
            if pending is not None and (not end.since or pending.since < end.since):
                del self.told[end.alert]
            if row is not None and row.raised_seq < event.seq and (not end.since or row.since < end.since):
                self.ended[end.alert] = end
        found = told(event, known)
        if found is not None and found.since > self._now - DAY_MS:
            self.told[found.alert] = found

    def settle(self, known: Mapping[str, Alert]) -> tuple[list[Condition], list[Ended]]:
        """What is to be raised and resolved. known: the alerts of `told` that were ever raised.

        What was raised for the same event is told already. A task that failed again is told again.
        """
        new = []
        for alert, found in self.told.items():
            row = known.get(alert)
            if row is not None and row.raised_seq > found.seq:
                continue
            if row is not None and row.open and alert not in self.ended:
                if found.name not in OF_TASKS or not row.momentary:
                    continue
                self.ended[alert] = Ended(alert, "gone", "it was tried again, and failed again")
            new.append(found)
        return new, list(self.ended.values())


def appends(
    new: Sequence[Condition], ended: Sequence[Ended], known: Mapping[str, Alert], floor: int
) -> list[list[NewEvent]]:
    """The appends that raise and resolve these alerts, one for each alert. known: those that were ever raised."""
    of_alert: dict[str, list[NewEvent]] = {}
    for end in ended:
        row = known.get(end.alert)
        if row is not None and row.open and end.alert not in of_alert:
            fact = AlertResolved(end.alert, end.how, end.reason)
            of_alert[end.alert] = [NewEvent(f"alert:{end.alert}", fact, max(row.version, floor))]
    for one in new:
        before = of_alert.setdefault(one.alert, [])
        row = known.get(one.alert)
        if row is not None and row.open and not before:
            continue
        expected = None if before else max(row.version if row is not None else 0, floor)
        before.append(NewEvent(f"alert:{one.alert}", _raised(one), expected))
    return [events for events in of_alert.values() if events]


def awoken(rows: Iterable[Alert], now: int, floor: int) -> list[list[NewEvent]]:
    """The appends that end the snoozes of open alerts whose time is over."""
    return [
        [NewEvent(f"alert:{row.id}", AlertSnoozed(row.id, 0, "its time is over"), max(row.version, floor))]
        for row in rows
        if 0 < row.snoozed_until <= now
    ]


def _raised(one: Condition) -> AlertRaised:
    severity = "critical" if RULES[one.name].critical else "warning"
    return AlertRaised(
        one.alert,
        one.name,
        one.subject,
        severity,
        one.what,
        one.why,
        one.since,
        one.command,
        one.node,
        one.momentary,
    )
