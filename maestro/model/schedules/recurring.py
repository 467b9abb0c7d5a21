"""What recurs, and what is to become of its due times: decided from rows and times that were worked out before.

A firing is (schedule, due time), and is in the log once: `firing:<schedule>` is appended at its version. So that no
clock, leader or restore fires one twice, due times count only behind the last one that fired or was left out.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import Refused
from maestro.model.events import NewEvent, ScheduleEnded, ScheduleFired, ScheduleSkipped
from maestro.model.schedules.schedule import Firing

LATE_MS = 300_000
"""A due time that is carried out later than that was missed: nobody was there when it came."""
MINUTE_MS = 60_000
NOBODY = "nobody was there to carry it out"


class Recurring(msgspec.Struct, frozen=True):
    """Something that recurs. id: of a schedule, or `<workflow>#<n>`; since: server ms, nothing that was due before it
    fires: when it was added, changed or switched on, or the log was restored last.
    """

    id: str
    cron: str
    tz: str
    missed: str
    since: int

    def after(self, firing: Firing | None) -> int:
        """The time behind which due times count, server ms."""
        return max(self.since, firing.last_due if firing is not None else 0)


class Came(msgspec.Struct, frozen=True):
    """Due times that have come, and were not decided on. latest: the last of them, server ms; count: how many."""

    latest: int
    count: int


def decide_due(recurring: Recurring, came: Came, firing: Firing | None, busy: str, now: int, floor: int) -> NewEvent:
    """What becomes of due times that have come: one firing for the latest, or none.

    busy: why another one cannot begin, "" where it can: what an earlier one began is still on.
    """
    busy = busy or open_still(firing)
    if busy:
        fact = ScheduleSkipped(recurring.id, came.latest, came.count, busy)
    elif recurring.missed == "skip" and now - came.latest > LATE_MS:
        fact = ScheduleSkipped(recurring.id, came.latest, came.count, NOBODY)
    else:
        return _event(ScheduleFired(recurring.id, came.latest, came.count - 1), firing, floor)
    return _event(fact, firing, floor)


def open_still(firing: Firing | None) -> str:
    """That a firing has not ended, in words; "" where none is open."""
    return "the firing before has not ended" if firing is not None and firing.open else ""


def decide_by_hand(schedule: str, firing: Firing | None, busy: str, now: int, floor: int) -> NewEvent:
    """Fire now, whatever is due. A due time is a whole minute, which this never is. Raises Refused. busy: as above."""
    busy = busy or open_still(firing)
    if busy:
        mend = "wait for its end, or cancel it; maestro schedule list shows it"
        raise Refused(f"schedule {schedule} begins nothing new: {busy}", mend=mend)
    due = now if firing is None else max(now, firing.last_hand + 1)
    due = due if due % MINUTE_MS else due + 1
    return _event(ScheduleFired(schedule, due, by_hand=True), firing, floor)


def decide_end(schedule: str, due: int, firing: Firing | None, end: End, floor: int) -> list[NewEvent]:
    """End a firing; nothing where it has ended before."""
    if firing is None or due not in firing.open:
        return []
    return [_event(ScheduleEnded(schedule, due, end.ok, end.made, end.why), firing, floor)]


class End(msgspec.Struct, frozen=True):
    """How a firing ended. made: the task, workflow run or snapshot; why: it could not, in words."""

    ok: bool
    made: str = ""
    why: str = ""


def too_late(missed: str, firing: Firing, due: int, now: int, restored_at: int) -> str:
    """Why an open firing is not carried out any more, "" where it is: its time is over, or a restore came between.

    restored_at: server ms of the last restore, 0 for none.
    """
    if firing.last_at <= restored_at:
        return "the log was restored before it was carried out"
    if missed == "skip" and now - max(due, firing.last_at) > LATE_MS:
        return NOBODY
    return ""


def key_of(schedule: str, moment: str) -> str:
    """The key of what a firing begins, which is the same whoever carries it out. moment: the due time, in words."""
    return f"schedule:{schedule}:{moment}"


def _event(fact: ScheduleFired | ScheduleSkipped | ScheduleEnded, firing: Firing | None, floor: int) -> NewEvent:
    version = max(firing.version, floor) if firing is not None else floor
    return NewEvent(f"firing:{fact.schedule}", fact, version)
