"""A store as it was at one position of its log: nothing that was appended later is seen, and nothing that is not of it.

Leases and samples are of the present only. At a position in the past a node holds its lease where it is recorded as up,
as its loss is an event of its own; and there is no sample at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from maestro.model.events import Event
from maestro.store.contract import BlobStore, Checkpoint, Entry, Head, LogStore, Store, ViewStore, WorkStore
from maestro.store.sealed import ReadLog, Sealed
from projections import nodes
from projections.fold import encode
from projections.lineage import Cut, find_cuts
from replayers.timeline.past_views import Past

RECORDED = "recorded"
"""Stands for the holder of a lease in the past."""
LEASE_OF_NODE = "node:"


class PastStore:
    """The store of one position. Nothing can be written to it. cuts: the restores up to there.

    live: it is the newest position, so that leases, samples and the time are those of now.
    """

    cooperative = False

    def __init__(self, store: Store, past: Past, cuts: Sequence[Cut], live: bool) -> None:
        self.namespace = store.namespace
        self.past = past
        self.floor = max((cut.at for cut in cuts), default=0)
        self.log = cast(LogStore, PastLog(store.log, Head(past.position, "", past.at, self.floor)))
        self.views = cast(ViewStore, _Rows(past, Checkpoint(past.position, "", past.at, self.floor)))
        self.work = store.work if live else cast(WorkStore, _NoWork(past))
        self.blobs: BlobStore = store.blobs
        self._now = store.now if live else None

    def now(self) -> int:
        """The time of the position's event, or of now, server ms."""
        return self.past.at if self._now is None else self._now()


def cuts_upto(log: LogStore, position: int) -> list[Cut]:
    """The restores up to a position, oldest first. Cost: O(restores)."""
    floor = log.head().floor
    return [cut for cut in find_cuts(log, floor) if cut.at <= position] if floor else []


class PastLog:
    """The log up to a position."""

    def __init__(self, log: LogStore, head: Head) -> None:
        self._log = log
        self._head = head
        self.sealed = None if log.sealed is None else cast(Sealed, _PastSealed(log.sealed, log))

    def head(self) -> Head:
        """The position, as if the log ended there."""
        return self._head

    end = known = head

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`."""
        return self._log.read(after, min(count, max(0, self._head.seq - after)))

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists."""
        return self._log.scan(after, min(upto, self._head.seq), chunk)

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored."""
        return self._log.entries(after, min(count, max(0, self._head.seq - after)))

    def event(self, seq: int) -> Event | None:
        """The event at a position, None where there is none yet."""
        return self._log.event(seq) if seq <= self._head.seq else None


class _PastSealed:
    """The sealed part of the log; what looks rows up there is given the whole log, of which its index is made."""

    def __init__(self, sealed: Sealed, log: LogStore) -> None:
        self._sealed = sealed
        self._log = log

    def positions(self, _log: ReadLog, view: str, rows: Collection[str], upto: int) -> dict[str, list[int]]:
        """See `Sealed`."""
        return self._sealed.positions(self._log, view, rows, upto)

    def newest(
        self, _log: ReadLog, view: str, before: int, limit: int, upto: int, words: Sequence[str] = ()
    ) -> list[tuple[int, str]]:
        """See `Sealed`."""
        return self._sealed.newest(self._log, view, before, limit, upto, words)

    def beginning(self, _log: ReadLog, view: str, prefix: str, limit: int, upto: int) -> list[str]:
        """See `Sealed`."""
        return self._sealed.beginning(self._log, view, prefix, limit, upto)


class _Rows:
    """Single rows of all views, as the lookup in sealed history asks for them."""

    def __init__(self, past: Past, checkpoint: Checkpoint) -> None:
        self._past = past
        self._checkpoint = checkpoint

    def load(self, _generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), None for missing ones."""
        rows = [self._past.row(view, row_id) for view, row_id in wanted]
        return self._checkpoint, [None if row is None else encode(row) for row in rows]


class _NoWork:
    """Leases and samples where there are none."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def samples(self, keys: Sequence[str]) -> list[dict[str, str] | None]:
        """None of each."""
        return [None] * len(keys)

    def lease_holder(self, lease: str, _ttl_ms: int = 0) -> str | None:
        """Whether a node is recorded as up; nobody holds anything else."""
        if not lease.startswith(LEASE_OF_NODE):
            return None
        node: Any = self._past.row(nodes.NAME, lease.removeprefix(LEASE_OF_NODE))
        return RECORDED if node is not None and node.status == "up" else None

    def lease_holders(self, leases: Sequence[str], _ttl_ms: int = 0) -> list[str | None]:
        """As `lease_holder`, of many."""
        return [self.lease_holder(lease) for lease in leases]
