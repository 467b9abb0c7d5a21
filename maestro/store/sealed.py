"""Access to the part of the log that was trimmed from the store: sealed segments, and blobs that only they name.

History has no end, but a server's memory has: events that were sealed into files and trimmed are read from there, so
that every reader sees one log. The implementation is attached from above (`Store.attach`); without it a store reads
only what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from maestro.store.values import Entry


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
