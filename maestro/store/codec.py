"""Between facts and the flat fields of a log entry: encoding, decoding, upcasting, and the chain.

The memory store, the append script and every outside reader agree on what is written here; tests/store/vectors.json
holds examples with their chains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import Any

import msgspec

from maestro.model.events import FACTS, NAMES, VERSIONS, AnyFact, Event, NewEvent, Unrecognised
from maestro.store.contract import Append, Entry, Rejected

FIELDS = (b"type", b"subject", b"at", b"actor", b"cause", b"prev", b"v", b"data", b"chain")
SUBJECT_BYTES_MAX = 1024

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(type, v) -> what makes the data of version v + 1 from it. Stored bytes never change."""


class Encoded(msgspec.Struct, frozen=True):
    """An event as the log stores it, without what only the store knows."""

    type: bytes
    subject: bytes
    expected: int | None
    v: bytes
    data: bytes


class Origin(msgspec.Struct, frozen=True):
    """Who appends and why, as stored."""

    actor: bytes
    cause: bytes


def encode_event(event: NewEvent) -> Encoded:
    """Raises KeyError, TypeError or UnicodeError for what cannot be stored."""
    name = NAMES[type(event.fact)]
    return Encoded(
        name.encode(),
        event.subject.encode(),
        event.expected,
        b"%d" % VERSIONS.get(name, 1),
        msgspec.json.encode(event.fact, order="deterministic"),
    )


def encode_append(append: Append) -> tuple[Origin, list[Encoded]] | Rejected:
    """The append as stored, or why it never can be: a caller's mistake, which must not hurt its neighbours."""
    events = append.events
    if not events or any(not -1 <= hint.event < len(events) for hint in append.hints):
        return Rejected("bad", events[0].subject if events else "")
    encoded: list[Encoded] = []
    for event in events:
        try:
            encoded.append(encode_event(event))
        except (KeyError, TypeError, ValueError):
            return Rejected("bad", ascii(event.subject)[1:-1])
        version_fits = event.expected is None or (isinstance(event.expected, int) and event.expected >= 0)
        if not version_fits or not 0 < len(encoded[-1].subject) <= SUBJECT_BYTES_MAX:
            return Rejected("bad", event.subject[:80])
    try:
        return Origin(append.actor.encode(), append.cause.encode()), encoded
    except UnicodeError:
        return Rejected("bad", events[0].subject)


def chain_of(previous: str, entry: Entry) -> str:
    """The chain value that `entry` must have behind an entry whose chain is `previous` ("" before the first).

    SHA-1 in hex over the previous value and each field as `<length in bytes>:<value>`, in the order of `FIELDS`,
    with the position before them.
    """
    parts = [previous.encode()]
    for value in (
        b"%d" % entry.seq,
        entry.type,
        entry.subject,
        b"%d" % entry.at,
        entry.actor,
        entry.cause,
        b"%d" % entry.prev,
        entry.v,
        entry.data,
    ):
        parts.append(b"%d:" % len(value))
        parts.append(value)
    return sha1(b"".join(parts), usedforsecurity=False).hexdigest()


def entry_of(raw: Sequence[Any]) -> Entry:
    """An entry of the stream as `[id, [name, value, ...]]`. Raises ValueError where it is not one of ours."""
    identity, fields = raw
    if tuple(fields[::2]) != FIELDS or not identity.endswith(b"-0"):
        raise ValueError(f"{identity!r} is not an entry of this log")
    type_, subject, at, actor, cause, prev, v, data, chain = fields[1::2]
    return Entry(int(identity[:-2]), type_, subject, int(at), actor, cause, int(prev), v, data, chain.decode())


_decoders: dict[tuple[bytes, bytes], Callable[[bytes], AnyFact]] = {}


def _decoder(type_: bytes, v: bytes) -> Callable[[bytes], AnyFact]:
    name = type_.decode("utf-8", "replace")
    version = int(v) if v.isdigit() else 0
    current = VERSIONS.get(name, 1)
    if name not in FACTS or not 1 <= version <= current:
        return lambda data: Unrecognised(name, version, data)
    fact = FACTS[name]
    if version == current:
        return msgspec.json.Decoder(fact).decode

    def upcast(data: bytes) -> AnyFact:
        plain: dict[str, Any] = msgspec.json.decode(data)
        for step in range(version, current):
            plain = UPCASTERS[name, step](plain)
        return msgspec.convert(plain, fact)

    return upcast


def _fact(type_: bytes, v: bytes, data: bytes) -> AnyFact:
    try:
        decode = _decoders.get((type_, v))
        if decode is None:
            decode = _decoders[type_, v] = _decoder(type_, v)
        return decode(data)
    except (msgspec.MsgspecError, UnicodeError):
        # Altered bytes: the fold stops here as at any event it cannot understand, and `replay verify` names it.
        return Unrecognised(type_.decode("utf-8", "replace"), int(v) if v.isdigit() else 0, data)


def event_of(entry: Entry) -> Event:
    """The event that an entry holds; `Unrecognised` where this build does not know it."""
    fact = _fact(entry.type, entry.v, entry.data)
    subject, actor, cause = (x.decode("utf-8", "replace") for x in (entry.subject, entry.actor, entry.cause))
    return Event(entry.seq, subject, entry.at, actor, cause, entry.prev, fact)


def events_of(raws: Iterable[Sequence[Any]]) -> list[Event]:
    """Decode entries as the server sends them, fast: the layout is checked by its length, the chain elsewhere."""
    events: list[Event] = []
    decoders = _decoders
    for identity, f in raws:
        try:
            _, type_, _, subject, _, at, _, actor, _, cause, _, prev, _, v, _, data, _, _ = f
            fact = decoders[type_, v](data)
            event = Event(
                int(identity[:-2]), subject.decode(), int(at), actor.decode(), cause.decode(), int(prev), fact
            )
        except (KeyError, ValueError):
            event = event_of(entry_of((identity, f)))
        events.append(event)
    return events
