"""Encoding of facts into the flat fields of a log entry, decoding, upcasting of old versions, and the hash chain.

The memory store, the append script and every external reader follow the format written here; tests/store/vectors.json
holds examples with their chains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any, NamedTuple

import msgspec

from maestro.model.events import FACTS, NAMES, VERSIONS, AnyFact, Event, Unrecognised
from maestro.store.contract import Append, Entry, Rejected

FIELDS = (b"type", b"subject", b"at", b"actor", b"cause", b"prev", b"v", b"data", b"chain")
SUBJECT_BYTES_MAX = 1024

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
UPCASTERS: dict[tuple[str, int], Upcaster] = {}
"""(type, v) -> function that turns data of version v into data of version v + 1. Stored bytes never change."""


_json = msgspec.json.Encoder(order="deterministic").encode


class Encoded(NamedTuple):
    """An event as passed to the append script, all fields as text. expected: a version, or "" for any."""

    type: str
    subject: str
    expected: str
    v: str
    data: str


def encode_append(append: Append) -> list[Encoded] | Rejected:
    """The encoded events of an append, or a Rejected for one that can never be stored.

    An invalid append is its caller's mistake and must not affect others in the same batch.
    """
    encoded: list[Encoded] = []
    try:
        append.actor.encode()
        append.cause.encode()
        "".join(append.follows).encode()
        for event in append.events:
            subject, expected = event.subject, event.expected
            if not 0 < len(subject.encode()) <= SUBJECT_BYTES_MAX or (expected is not None and expected < 0):
                return Rejected("bad", subject[:80])
            name = NAMES[type(event.fact)]
            version = "" if expected is None else str(expected)
            encoded.append(Encoded(name, subject, version, str(VERSIONS.get(name, 1)), _json(event.fact).decode()))
    except (KeyError, TypeError, ValueError):
        return Rejected("bad", ascii(append.events[0].subject)[1:-1][:80])
    if (
        not encoded
        or len(append.follows) >= len(encoded)
        or any(not -1 <= hint.event < len(encoded) for hint in append.hints)
    ):
        return Rejected("bad", encoded[0].subject if encoded else "")
    return encoded


def chain_of(previous: str, entry: Entry) -> str:
    """The chain value that `entry` must have behind an entry whose chain is `previous` ("" before the first).

    It is the SHA-1 in hex over the previous value and each field as `<length in bytes>:<value>`, in the order of
    `FIELDS`, with the position before them.
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
    """Decode a raw stream entry `[id, [name, value, ...]]`. Raises ValueError where it has another layout."""
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
        # Altered bytes: the fold stops here, as at any event that it cannot understand, and `replay verify` names the
        # event.
        return Unrecognised(type_.decode("utf-8", "replace"), int(v) if v.isdigit() else 0, data)


def event_of(entry: Entry) -> Event:
    """Decode a stored entry to an event; its fact is `Unrecognised` where this build does not know type or version."""
    fact = _fact(entry.type, entry.v, entry.data)
    subject, actor, cause = (x.decode("utf-8", "replace") for x in (entry.subject, entry.actor, entry.cause))
    return Event(entry.seq, subject, entry.at, actor, cause, entry.prev, fact)


def events_of(raws: Sequence[Sequence[Any]]) -> list[Event]:
    """Decode raw stream entries, in order and without a gap, to events; the fast path of reading.

    Only the field count and the first and last position are checked here; the chain is checked elsewhere. Neighbours
    often have time, actor and cause in common, which are then decoded once.
    """
    if not raws:
        return []
    events: list[Event] = []
    add, decoders = events.append, _decoders
    first = int(raws[0][0][:-2])
    if int(raws[-1][0][:-2]) - first != len(raws) - 1:
        return [event_of(entry_of(raw)) for raw in raws]
    at_seen = actor_seen = cause_seen = None
    at, actor, cause = 0, "", ""
    for seq, (identity, fields) in enumerate(raws, first):
        try:
            _, type_, _, subject, _, at_, _, actor_, _, cause_, _, prev, _, v, _, data, _, _ = fields
            if at_ != at_seen:
                at, at_seen = int(at_), at_
            if actor_ != actor_seen:
                actor, actor_seen = actor_.decode(), actor_
            if cause_ != cause_seen:
                cause, cause_seen = cause_.decode(), cause_
            event = Event(seq, subject.decode(), at, actor, cause, int(prev), decoders[type_, v](data))
        except (KeyError, ValueError):
            event = event_of(entry_of((identity, fields)))
        add(event)
    return events
