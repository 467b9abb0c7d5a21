"""Where a store finds what was trimmed from it: the past of its log, and the blobs that only the past names.

History has no end, a server's memory has. What was sealed into files and trimmed is read from there, so that whoever
reads a log sees one log. What finds it is put in from above (`Store.attach`); without it a store has what it holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from maestro.store.values import Entry


class Sealed(Protocol):
    """The sealed past of a log. Raises VerificationFailed where a part of it is missing or damaged."""

    def before(self, following: Entry, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after` and before `following`, the first one that the store still holds.

        They are of the history that `following` continues: its chain says so.
        """

    def scan(self, following: Entry, after: int, upto: int, chunk: int) -> Iterator[list[Entry]]:
        """The entries after+1..upto, all before `following`, in lists of `chunk`; the last one may be shorter."""

    def blob(self, sha256: str) -> bytes | None:
        """The content of a blob, checked against its name; None when there is none."""
