"""Access to the part of the log that was trimmed from the store: sealed segments, and blobs that only they name.

History has no end, but a server's memory has: events that were sealed into files and trimmed are read from there, so
that every reader sees one log. The implementation is attached from above (`Store.attach`); without it a store reads
only what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from maestro.model.events import Event
from maestro.store.values import Entry


class ReadLog(Protocol):
    """A log as an index is made from it (`LogStore`)."""

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists."""

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`."""


class Sealed(Protocol):
    """The sealed part of a log. Its methods raise VerificationFailed where a segment is missing or damaged."""

    def before(self, following: Entry, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after` and before `following`, the first entry that the store still holds.

        They belong to the history that `following` continues, as its chain proves.
        """

    def scan(self, following: Entry, after: int, upto: int, chunk: int) -> Iterator[list[Entry]]:
        """The entries after+1..upto, all before `following`, in lists of `chunk`; the last list may be shorter."""

    def blob(self, sha256: str) -> bytes | None:
        """The content of a blob, checked against its name; None when there is none."""

    def positions(self, log: ReadLog, view: str, rows: Collection[str], upto: int) -> dict[str, list[int]]:
        """By row of a bounded view, the positions of the events up to `upto` that it was made of; without rows that
        have none.

        log: from which the index is made, where it does not reach that far; it is sealed up to there.
        """

    def newest(
        self, log: ReadLog, view: str, before: int, limit: int, upto: int, words: Sequence[str] = ()
    ) -> list[tuple[int, str]]:
        """Rows of a bounded view that began before a position, newest first: where each began, and its id.

        words: only those that may have all of these: an agent or target, or `=` and a status.
        """

    def beginning(self, log: ReadLog, view: str, prefix: str, limit: int, upto: int) -> list[str]:
        """Up to `limit` ids of rows of a bounded view that begin with a prefix, in order."""
