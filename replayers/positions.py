"""Resolves what a user enters (a position, a time, or a time ago) to a position of the log.

`at` never goes back in the log, so the position of a time is found by binary search: O(log n) events are read.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from maestro.model.errors import Invalid
from maestro.store.contract import LogStore, Store

UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
MEND = "give a position (1234), a time (2026-05-01T12:00:00Z) or a time ago (10m, -2h)"

_AGO = re.compile(r"-?(\d{1,9})([smhdw])")


def position(store: Store, text: str) -> int:
    """The last position at or before what `text` means. Raises Invalid for a text or position that cannot exist."""
    return moment(store, text)[0]


def reached(store: Store, text: str) -> int:
    """The position that `text` means, as `position`. Raises Invalid for a time before the first event, too."""
    found = position(store, text)
    if found == 0 and not _is_position(text):
        first = store.log.read(0, 1)
        told = f"which is position {first[0].seq}, {rfc3339(first[0].at)}" if first else "of which there is none"
        raise Invalid(f"{text} is before the first event of the log, {told}", mend="name that, or a later one")
    return found


def moment(store: Store, text: str) -> tuple[int, int]:
    """The position that `text` means, as `position`, and the server time of that moment in ms.

    For a position this is the time of its event. A time in the future means now.
    """
    head = store.log.head().seq
    if _is_position(text):
        if int(text) > head:
            raise Invalid(f"position {text} is beyond the end of the log, {head}")
        return int(text), time_of(store.log, int(text))
    at = time_ms(store, text)
    return position_at(store.log, at), min(at, store.now())


def since(store: Store, text: str) -> int:
    """The first position at or after what `text` means; head + 1 where there is none yet."""
    if _is_position(text):
        return int(text)
    return position_at(store.log, time_ms(store, text) - 1) + 1


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdigit()


def time_ms(store: Store, text: str) -> int:
    """An RFC 3339 time (UTC where it names no zone) or a time ago, as ms since the epoch. Raises Invalid."""
    ago = _AGO.fullmatch(text)
    if ago:
        return store.now() - int(ago[1]) * UNITS_MS[ago[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{text!r} is no position and no time", mend=MEND) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


def position_at(log: LogStore, at: int) -> int:
    """The position of the last event at or before a time in ms, 0 for none."""
    known, unknown = 0, log.head().seq
    while known < unknown:
        middle = (known + unknown + 1) // 2
        event = log.event(middle)
        if event is None or event.at <= at:
            known = middle
        else:
            unknown = middle - 1
    return known


def time_of(log: LogStore, position: int) -> int:
    """The server time of the event at a position, ms; 0 before the first."""
    event = log.event(position) if position else None
    return event.at if event else 0


def rfc3339(at: int) -> str:
    """A time in ms as RFC 3339, UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
