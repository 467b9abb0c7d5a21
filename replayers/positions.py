"""Resolves what a user enters (a position, a time, or a time ago) to a position of the log.

`at` never goes back in the log, so the position of a time is found by binary search: O(log n) events are read.
"""

from __future__ import annotations

from datetime import UTC, datetime

from maestro.model.duration import duration_ms
from maestro.model.errors import Invalid
from maestro.model.ids import shown
from maestro.store.contract import LogStore, Store

DIGITS_MAX = 19
"""More are no number of events that can ever be."""
MEND = "give a position (1234), a time (2026-05-01T12:00:00Z, UTC without a zone) or a time ago (10m, 2h, 1h30m, 7d)"


def position(store: Store, text: str) -> int:
    """The last position at or before what `text` means. Raises Invalid for a text or position that cannot exist."""
    return moment(store, text)[0]


def reached(store: Store, text: str) -> tuple[int, int]:
    """As `moment`. Raises Invalid for a time before the first event, too."""
    found = moment(store, text)
    early = before_all(store, text, found[0])
    if early:
        raise Invalid(early, mend="name that, or a later one")
    return found


def before_all(store: Store, text: str, position: int) -> str:
    """That `text` is a time before the first event, where it is; "" where it is not. position: what it means."""
    if position or _is_position(text):
        return ""
    first = store.log.read(0, 1)
    told = f"which is position {first[0].seq}, {rfc3339(first[0].at)}" if first else "of which there is none"
    return f"{text} is before the first event of the log, {told}"


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
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def time_ms(store: Store, text: str) -> int:
    """An RFC 3339 time (UTC where it names no zone) or a time ago, as ms since the epoch. Raises Invalid.

    A time ago is a duration with a unit: `10m`, also as `-10m` or `10m ago`.
    """
    span = text.removesuffix(" ago").removeprefix("-")
    ago = duration_ms(span)
    if ago is not None and not span[-1].isdigit():
        return store.now() - ago
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{shown(text)} is no position and no time", mend=MEND) from None
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
