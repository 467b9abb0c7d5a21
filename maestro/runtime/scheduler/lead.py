"""The lead of a namespace, as whoever does something for all nodes needs it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.store.contract import Fence


class Lead(msgspec.Struct, frozen=True):
    """How a daemon leads. leading: whether it does now; fence: what it appends under; now: the server's time in ms.

    begins: calls a listener each time it begins to lead.
    """

    leading: Callable[[], bool]
    fence: Fence
    now: Callable[[], int]
    begins: Callable[[Callable[[], None]], None] = lambda _: None
