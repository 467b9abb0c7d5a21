"""Export of the log: JSON Lines, or CloudEvents 1.0 in JSON, one event a line, as stored.

The content of the log is passed on byte for byte, also for an event of a later build, and for one whose data is
damaged: its bytes are then in `data_base64`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from maestro.store.contract import Entry, Store
from replayers.chain import CheckedReader
from replayers.positions import rfc3339

CHUNK = 1000
TYPE = "maestro."
"""The prefix of a fact's name in a CloudEvent's type, which must be unique outside of Maestro too."""

_encode = msgspec.json.Encoder().encode


def export(
    store: Store, first: int = 1, last: int | None = None, cloudevents: bool = False, log: CheckedReader | None = None
) -> Iterator[str]:
    """The events first..last (default: all that there are now), each as a line of JSON without its newline.

    log: reads the entries; afterwards its `found` tells whether an entry was altered.
    """
    log = log or CheckedReader(store.log)
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
    """An entry with the names of its fields in the stream; `time` is `at` as RFC 3339."""
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
    """The data of an entry as raw JSON, or as base64 where it is not JSON."""
    try:
        msgspec.json.decode(data)
    except msgspec.DecodeError:
        return {"data_base64": b64encode(data).decode()}
    return {"data": msgspec.Raw(data)}


def text(field: bytes) -> str:
    """A field of an entry as text."""
    return field.decode("utf-8", "replace")
