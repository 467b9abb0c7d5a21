"""Whether missing heartbeats say something: not where they could not be sent, or not be heard, until just now."""

from __future__ import annotations

from typing import Final

SETTLE_MS: Final = 20_000
"""How long after an outage of the store nodes have to be heard again: four heartbeats."""
GAP_MS: Final = 30_000


class Hearing:
    """What one listener knows of how well it hears. Times are the store's, in ms.

    A store that was away, or a listener that stood still, has let heartbeats grow old that nodes would have sent.
    """

    def __init__(self) -> None:
        self._since: int | None = None
        self._last = 0

    def away(self) -> None:
        """The store cannot be asked."""
        self._since = None

    def heard(self, now: int) -> None:
        """The store has answered at `now`; call it again and again, less than `GAP_MS` apart."""
        if self._since is None or not 0 <= now - self._last <= GAP_MS:
            self._since = now
        self._last = now

    def judges(self, now: int) -> bool:
        """Whether a heartbeat that is missing at `now` says something about who should have sent it."""
        return self._since is not None and now - self._since >= SETTLE_MS
