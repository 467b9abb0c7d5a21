"""A page of events as `events tail` prints them, with a filter, from any position backwards or forwards. Blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from maestro.store.contract import Entry, LogStore
from replayers.export import plain

CHUNK = 500
LOOKED_MAX = 20_000
"""Events that are looked at for one page: where few of them are wanted, it ends early."""


class Query(msgspec.Struct, frozen=True):
    """Which events are wanted: the newest before a position, or the oldest after one, where that is not None.

    subject: such as `task:ID`, "" for any; kind: a type of events, or how types begin: `run.ended`, `run`.
    """

    before: int
    after: int | None
    limit: int
    subject: str = ""
    kind: str = ""

    def wants(self, entry: Entry) -> bool:
        """Whether an event is wanted."""
        if self.subject and entry.subject != self.subject.encode("utf-8", "replace"):
            return False
        return not self.kind or f"{entry.type.decode('utf-8', 'replace')}.".startswith(f"{self.kind}.")


class EventPage(msgspec.Struct, frozen=True):
    """Events, and the `before` or `after` of the next page, None where there is no other."""

    events: list[dict[str, Any]]
    further: int | None


def read(log: LogStore, query: Query, last: int) -> EventPage:
    """The page of a query. last: the position behind which nothing is shown."""
    found: list[dict[str, Any]] = []
    seq = 0
    for looked, entry in enumerate(
        _backwards(log, query, last) if query.after is None else _forwards(log, query, last)
    ):
        if len(found) == query.limit or looked == LOOKED_MAX:
            return EventPage(found, seq)
        seq = entry.seq
        if query.wants(entry):
            found.append(plain(entry))
    return EventPage(found, None)


def _backwards(log: LogStore, query: Query, last: int) -> Iterator[Entry]:
    end = min(query.before - 1, last)
    while end > 0:
        count = min(_chunk(query), end)
        yield from reversed(log.entries(end - count, count))
        end -= count


def _forwards(log: LogStore, query: Query, last: int) -> Iterator[Entry]:
    after = query.after or 0
    while after < last:
        entries = log.entries(after, min(_chunk(query), last - after))
        if not entries:
            return
        yield from entries
        after = entries[-1].seq


def _chunk(query: Query) -> int:
    return CHUNK if query.subject or query.kind else min(query.limit + 1, CHUNK)
