"""What a place for objects can do, and how it fails. All calls block, and each ends by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from maestro.model.errors import MaestroError, Refused

T = TypeVar("T")

SMALL_S = 20.0
"""How long a small request may take."""
BYTES_A_SECOND_MIN = 256 << 10
"""A place that takes or gives less than this is as good as away."""
TRIES = 4
PAUSE_S = 0.25
"""Before the second try; twice as long before each one after it."""


class Unreached(Refused):
    """The place cannot be reached, or does not answer: trying again may help."""

    code = "archive_away"


class Absent(MaestroError):
    """There is no such object; who asked for it says what that means."""


class Objects(Protocol):
    """A place for objects. place: its URL, without secrets.

    A name is a path of plain parts with `/` between them. Raises Unreached, and Refused where trying again is no use.
    """

    place: str

    def put(self, name: str, source: Path | bytes) -> None:
        """Write an object, in the place of one of that name. It is there whole when this returns."""

    def get(self, name: str) -> Iterator[bytes]:
        """The content of an object, in pieces. Raises Absent."""

    def sizes(self, prefix: str) -> dict[str, int]:
        """The objects below a prefix, by what follows it and a `/`, with their bytes; none where there is none."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""

    def sweep(self, prefix: str) -> int:
        """Remove what writers that were killed have left below a prefix, where nobody else writes."""


def allowed_s(count: int) -> float:
    """How many seconds a request with so many bytes may take."""
    return SMALL_S + count / BYTES_A_SECOND_MIN


def insisted(action: Callable[[], T], pause: Callable[[float], None] = time.sleep) -> T:
    """Do the action, again with longer and longer pauses where the place was not reached. Raises what it raises."""
    for attempt in range(TRIES - 1):
        try:
            return action()
        except Unreached:
            pause(PAUSE_S * 2**attempt)
    return action()
