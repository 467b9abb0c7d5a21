"""Shared state: keys with values and a time to live."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from maestro.model.duration import UNITS_MS, duration_forms, duration_ms
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.events import Event, NewEvent, StateDeleted, StateSet, Text
from maestro.model.ids import check_text, shown

TTL_DEFAULT: Final = "24h"
TTL_DAYS_MAX: Final = 36_500
_RESULT: Final = re.compile(r"task:(.+):result")
"""A key that Maestro sets at the end of a task, to its result."""


class StateKey(msgspec.Struct, omit_defaults=True):
    """A key of the shared state; a row of the view `state`. expires_at: server ms, 0 for never; it is hidden from then
    on.
    """

    key: str
    version: int
    value: Text
    set_at: int
    expires_at: int = 0
    actor: str = ""

    def expired(self, now: int) -> bool:
        """Whether the key's time to live is over at `now` (server ms)."""
        return 0 < self.expires_at <= now


def evolve(row: StateKey | None, event: Event) -> StateKey | None:
    """The key after the event, None when it was deleted."""
    match event.fact:
        case StateSet(key, value, ttl_ms):
            expires_at = 0 if ttl_ms is None else event.at + ttl_ms
            return StateKey(key, event.seq, value, event.at, expires_at, event.actor)
        case StateDeleted():
            return None
    return row


def decide_set(key: str, value: Text, ttl: str = TTL_DEFAULT) -> list[NewEvent]:
    """Set a key, whatever it was before: the last one wins. Raises Invalid."""
    return [NewEvent(f"state:{check_key(key)}", StateSet(key, value, parse_ttl(ttl)))]


def decide_delete(key: str, row: StateKey | None, now: int, floor: int = 0) -> list[NewEvent]:
    """Delete a key. Raises Invalid; NotFound where it is not set or has expired."""
    check_key(key)
    if row is None or row.expired(now):
        raise NotFound(f"there is no state key {shown(key)}", mend="maestro state list shows all", sought=("key", key))
    return [NewEvent(f"state:{key}", StateDeleted(key), max(row.version, floor))]


def check_key(key: str) -> str:
    """The key, if it can be one: printable, no newline, 1 to 512 bytes. Raises Invalid."""
    return check_text(key, "state key")


def check_own(key: str, task: str) -> None:
    """Check that a run of a task may set or delete a key: any, but the results of other tasks. Raises Refused."""
    found = _RESULT.fullmatch(key)
    if found is not None and found[1] != task:
        what = f"{shown(key)} is the result of another task, which a process inside a run may read only"
        raise Refused(what, mend="use a key of another name, or the result of this run's own task")


def parse_ttl(text: str) -> int | None:
    """Milliseconds of a time to live, a duration such as `24h`; None (for ever) for `0`. Raises Invalid."""
    if text == "0":
        return None
    ttl_ms = duration_ms(text)
    if ttl_ms is not None and 0 < ttl_ms <= TTL_DAYS_MAX * UNITS_MS["d"]:
        return ttl_ms
    raise Invalid(f"{shown(text)} is no time to live", mend=f"{duration_forms()}; 0 keeps it for ever")
