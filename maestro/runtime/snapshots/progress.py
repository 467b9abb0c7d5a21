"""Progress of a snapshot or restore, in words: what was read, how fast, and about how long it will take yet."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

from maestro.model.errors import Refused
from maestro.runtime.node.context import Context
from maestro.runtime.snapshots.amounts import size
from maestro.store.embedded import ballast

EVERY_S = 0.2
RATE_AFTER_S = 0.5

Tell = Callable[[str, str], Awaitable[None]]


class ProgressReport:
    """Tells a client about the progress of work in a thread, and ends the work where the command was cancelled.

    what: such as `reading`; entries, bytes: about how much there is, 0 where that is unknown. mind: called now and
    then; what it raises ends the work.
    """

    def __init__(
        self, tell: Tell, what: str, entries: int = 0, bytes: int = 0, mind: Callable[[], None] | None = None
    ) -> None:
        self._tell = tell
        self._what = what
        self._entries, self._bytes = entries, bytes
        self._mind = mind
        self._began = time.monotonic()
        self._told_at = 0.0

    def scanned(self, entries: int, read: int, wanted: int) -> None:
        """Tell that so many entries were found, and so many bytes read of those known to be wanted."""
        wanted = max(wanted, self._bytes)
        share = min(entries / self._entries if self._entries else 0.0, read / wanted if wanted else 1.0)
        of = f" of about {self._entries:,}" if entries < self._entries else ""
        self._show(f"{entries:,}{of} entries, {size(read)} of {size(wanted)}", read, share)

    def written(self, done: int, total: int) -> None:
        """Tell that so many bytes of the total are written, or read again."""
        self._show(f"{size(done)} of {size(total)}", done, done / total if total else 0.0)

    def _show(self, text: str, done: int, share: float) -> None:
        trio.from_thread.check_cancelled()
        if self._mind is not None:
            self._mind()
        now = time.monotonic()
        if now - self._told_at < EVERY_S:
            return
        self._told_at = now
        spent = now - self._began
        rate = f", {size(done / spent)}/s" if spent > RATE_AFTER_S else ""
        left = f", about {spent / share - spent:.0f} s left" if spent > RATE_AFTER_S and 0 < share < 1 else ""
        trio.from_thread.run(self._tell, f"{self._what}: {text}{rate}{left}", "progress")


def mind_room(context: Context) -> None:
    """Check that the disk keeps the room that the embedded store needs to go on writing. Raises Refused."""
    if context.revive is None:
        return
    disk = ballast.disk_state(context.settings.home)
    if disk.free_bytes < disk.low_water_bytes // 2:
        what = f"only {disk.free_bytes >> 20} MiB are free, which the store needs"
        raise Refused(what, str(context.settings.home), "make room, then try again")
