"""Patience with a shared archive: work there has a thread of its own, and is given up where nothing moves any more.

The thread of work that was given up ends when its request does; nothing waits for it, and what it writes is whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import trio

from maestro.workspaces.objects.contract import TRIES, Unreached, allowed_s

T = TypeVar("T")

THREADS_MAX = 8
LOOK_EVERY_S = 0.25
SLACK = 1.5
_threads = trio.CapacityLimiter(THREADS_MAX)


class Patience:
    """Until when the work may be silent. Thread-safe. check: raises where it was given up, in the thread that works."""

    def __init__(self, check: Callable[[], None] = trio.from_thread.check_cancelled) -> None:
        self._check = check
        self.until = time.monotonic() + SLACK * TRIES * allowed_s(0)

    def allow(self, count: int) -> None:
        """Say that a request with so many bytes begins. Ends the thread of work that was given up."""
        self._check()
        self.until = time.monotonic() + SLACK * TRIES * allowed_s(count)


async def waited(work: Callable[[Patience], T], place: str, limit_s: float = float("inf")) -> T:
    """Do blocking work with a shared archive. limit_s: of all of it. Raises what it raises, Unreached."""
    patience = Patience()
    ends_at = time.monotonic() + limit_s
    done: list[T] = []
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            while time.monotonic() < min(patience.until, ends_at):
                await trio.sleep(LOOK_EVERY_S)
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            done.append(await trio.to_thread.run_sync(work, patience, abandon_on_cancel=True, limiter=_threads))
        except Exception as error:  # noqa: BLE001 - a nursery would raise it in a group
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    if done:
        return done[0]
    raise Unreached("the shared archive does not answer", place, "see to it, then try again")
