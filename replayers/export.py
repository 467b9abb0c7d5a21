"""The log for others: JSON Lines, or CloudEvents 1.0 in JSON, one event a line, as stored.

What the log holds is passed on byte for byte: an event of a later build, too, and one whose data was damaged, whose
bytes then stand in `data_base64`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from maestro.store.contract import Entry, Store
from replayers.chain import Reading
from replayers.positions import rfc3339

CHUNK = 1000
TYPE = "maestro."
"""Stands before the names of facts in a CloudEvent's type, which is read far from here."""

_encode = msgspec.json.Encoder().encode


def export(
    store: Store, first: int = 1, last: int | None = None, cloudevents: bool = False, log: Reading | None = None
) -> Iterator[str]:
    """The events first..last (default: all that there are now), a line of JSON without its newline for each.

    log: reads them, and knows afterwards whether what was read is what was written.
    """
    log = log or Reading(store.log)
    write: Callable[[Entry], dict[str, Any]] = (lambda entry: cloud(entry, store.namespace)) if cloudevents else plain
    end = store.log.end().seq if last is None else last
    after = max(first, 1) - 1
    while after < end:
        entries = log.entries(after, min(CHUNK, end - after))
        if not entries:
            return
        for entry in entries:
            yield _encode(write(entry)).decode()
        after = entries[-1].seq


def plain(entry: Entry) -> dict[str, Any]:
    """An entry with the names of its fields in the stream; `time` says `at` in words."""
    return {
        "seq": entry.seq,
        "type": text(entry.type),
        "subject": text(entry.subject),
        "at": entry.at,
        "time": rfc3339(entry.at),
        "actor": text(entry.actor),
        "cause": text(entry.cause),
        "prev": entry.prev,
        "v": int(entry.v),
        **payload(entry.data),
        "chain": entry.chain,
    }


def cloud(entry: Entry, namespace: str) -> dict[str, Any]:
    """An entry as a CloudEvent. sequence: sorts as text; the other extensions are the log's fields of that name."""
    name, version = text(entry.type), int(entry.v)
    return {
        "specversion": "1.0",
        "id": str(entry.seq),
        "source": f"/maestro/{namespace}",
        "type": TYPE + name,
        "subject": text(entry.subject),
        "time": rfc3339(entry.at),
        "datacontenttype": "application/json",
        "dataschema": f"urn:maestro:event:{name}:{version}",
        "sequence": f"{entry.seq:020}",
        "actor": text(entry.actor),
        "cause": text(entry.cause),
        "prev": str(entry.prev),
        "chain": entry.chain,
        **payload(entry.data),
    }


def payload(data: bytes) -> dict[str, Any]:
    """The data as the JSON that it is, or as bytes where it is none."""
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {"data_base64": b64encode(data).decode()}
    return {"data": msgspec.Raw(data)}


def text(field: bytes) -> str:
    """A field of an entry."""
    return field.decode("utf-8", "replace")
