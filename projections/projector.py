"""Brings the views to the end of the log: read behind the checkpoint, load the rows touched, fold, save.

Any process may do it at any time, and each event is folded exactly once: rows, indexes and checkpoint are saved
together if the checkpoint is still the one that was read. Who loses that comparison has lost nothing but work: it
goes on from where the winner got to. Another fold version, a restore, a rebuild and the mending of a damage fill a
generation beside the live one and switch; several processes that do so fill the same one together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import msgspec

from maestro.model.errors import LineageBroken, Refused, StoreUnsafe, ViewDamaged
from maestro.model.events import Event, RestoreDone, Unrecognised
from maestro.store.contract import Checkpoint, Head, Store
from projections import generations
from projections.fold import reason
from projections.generations import FOLDS, MADE, Generation
from projections.lineage import Line, find_cuts
from projections.log_scan import passing
from projections.row_cache import HotRows

__all__ = ["FOLDS", "Projector"]

ROWS_MAX = 1000
"""Rows written by one save, at most."""

EVENTS_A_SAVE = 1000

NEWER = "the views were made by a newer build of Maestro; update this node"

MENDS_MAX, MENDS_S = 3, 60.0
"""Views that are damaged again within so many seconds are not built anew more often than this."""

log = logging.getLogger("maestro")

Progress = Callable[[int, int], None]
"""Told now and then how far a new generation is: (position, end of the log)."""


class Restored(Exception):
    """The log goes on with a restore that the generation does not know: another line, another generation."""

    def __init__(self, cut: int) -> None:
        super().__init__(cut)
        self.cut = cut


class Overtaken(Exception):
    """Another process moved the checkpoint first, or switched to another generation: look again."""


class Projector:
    """Advances the views of one store. Thread-safe; cheap to make; keeps the rows of its last passes at hand.

    generation: the one that the last `catch_up` brought to the end of the log, for the reads that follow it.
    """

    def __init__(self, store: Store, progress: Progress | None = None) -> None:
        self.generation = ""
        self._log = store.log
        self._views = store.views
        self._progress = progress
        self._lock = threading.Lock()
        self._hot: HotRows | None = None
        self._hot_at: tuple[str, Checkpoint] | None = None
        self._mended: deque[float] = deque(maxlen=MENDS_MAX)

    def catch_up(self) -> Checkpoint:
        """Fold what the log holds behind the checkpoint; where the views of `generation` are then.

        `stopped` in the answer says why they are stale: an event, or a generation, of a later build. Raises
        StoreAway, LineageBroken where the views are of another log, and what `mend` raises.
        """
        with self._lock:
            cut = 0
            while True:
                try:
                    checkpoint = self._advance(cut)
                except Restored as restored:
                    cut = restored.cut
                except Overtaken:
                    continue
                except ViewDamaged as damaged:
                    self._mend(damaged)
                else:
                    if checkpoint is not None:
                        return checkpoint

    def mend(self, damaged: ViewDamaged) -> None:
        """Build the views anew in place of a generation that was found damaged, unless somebody has done so.

        Raises StoreUnsafe where that does not last, Refused where a later build made them.
        """
        with self._lock:
            self._mend(damaged)

    def _mend(self, damaged: ViewDamaged) -> None:
        current = self._views.current()
        live = generations.parse(current)
        if live and live.newer:
            raise Refused(f"{damaged.line()}: {NEWER}") from damaged
        now = time.monotonic()
        if len(self._mended) == MENDS_MAX and now - self._mended[0] < MENDS_S:
            what = f"views are damaged again and again, lately: {damaged.what}"
            mend = "see with `maestro doctor` that keys are not evicted, and that nobody else writes to this namespace"
            raise StoreUnsafe(what, damaged.where, mend) from damaged
        self._mended.append(now)
        self._hot = None
        if damaged.generation != current:
            with suppress(Refused):  # Somebody has switched to it just now.
                self._views.drop(damaged.generation)
            return
        log.warning("%s: %s: the views are built anew from the log", damaged.where, damaged.what)
        self._anew(current)
        with suppress(Refused):  # Not by its pointer: what is left of it knows not all of its keys.
            self._views.drop(damaged.generation)

    def rebuild(self) -> Checkpoint:
        """Build all views anew from the start of the log; readers use the old ones until the switch."""
        with self._lock:
            self._anew(self._views.current())
        return self.catch_up()

    def _anew(self, current: str | None) -> None:
        """Build a new generation from the start of the log in place of the current one."""
        live = generations.parse(current)
        cut = self._cut()
        with suppress(Refused):  # Another rebuild switched to it just now.
            self._views.drop(generations.after(live, cut).name)
        while self._views.current() == current:
            try:
                self._replace(current, generations.after(live, cut))
            except Restored as restored:
                cut = restored.cut
            except Overtaken:
                continue

    def _advance(self, cut: int) -> Checkpoint | None:
        """Follow the live generation to the end, or replace it where it cannot go there. None: look again."""
        current = self._views.current()
        live = generations.parse(current)
        if live and live.newer:
            self.generation = live.name
            return msgspec.structs.replace(self._views.checkpoint(live.name), stopped=NEWER)
        if live and live.made == MADE and live.cut >= cut:
            checkpoint = self._follow(live, building=False)
            self.generation = live.name
            return checkpoint
        new = self._replace(current, self._next(live, max(cut, self._cut())))
        if live and not new:
            # Stopped by an event before the point that the live ones stand at: stale, but more than nothing.
            self.generation = live.name
            return msgspec.structs.replace(self._views.checkpoint(live.name), stopped=NEWER)
        return None

    def _next(self, live: Generation | None, cut: int) -> Generation:
        """The generation to be made in place of the live one; where the pointer was lost, none that is about to go."""
        found = generations.after(live, cut)
        while live is None and self._views.leaving(found.name):
            found = generations.after(found, cut)
        return found

    def _replace(self, current: str | None, new: Generation) -> bool:
        """Fill a new generation and switch to it, unless it had to stop before the live one; whether it did not."""
        checkpoint = self._follow(new, building=True)
        if checkpoint.stopped and current is not None and checkpoint.seq < self._views.checkpoint(current).seq:
            return False
        self._views.switch(current, new.name)
        return True

    def _follow(self, generation: Generation, building: bool) -> Checkpoint:
        """Bring one generation to the end of the log. Raises Overtaken and Restored."""
        before = self._views.checkpoint(generation.name)
        head = self._log.head()
        if before.seq > head.seq or (before.seq == head.seq and before.chain not in {"", head.chain}):
            raise LineageBroken(f"the views stand at {before.seq}, the log ends at {head.seq} and is another one")
        if before.seq == head.seq:
            return before
        if before.seq == 0 and not building and self._views.current() != generation.name:
            raise Overtaken
        head = msgspec.structs.replace(head, floor=before.floor or self._floor(generation, head))
        for events in self._behind(before.seq, head.seq):
            while events:
                before, events = self._pass(generation, before, events, head)
                if before.stopped:
                    return before
            if building and self._progress:
                self._progress(before.seq, head.seq)
        return before

    def _pass(
        self, generation: Generation, before: Checkpoint, events: list[Event], head: Head
    ) -> tuple[Checkpoint, list[Event]]:
        """One save: fold as many of the events as its rows allow; the new checkpoint and the events left."""
        known, stopped = _foldable(events, generation.cut)
        hot = self._hot if self._hot and self._hot_at == (generation.name, before) else self._cold(generation)
        self._hot = None  # Its rows are of no checkpoint until the save has succeeded.
        count, touched = hot.fitting(known, ROWS_MAX)
        missing = hot.missing(touched)
        if missing:
            checkpoint, rows = self._views.load(generation.name, missing)
            if checkpoint != before:
                raise Overtaken
            hot.take(missing, rows)
        hot.fold.apply(known[:count])
        last = known[count - 1] if count else None
        after = Checkpoint(
            last.seq if last else before.seq,
            head.chain if last and last.seq == head.seq else "",
            last.at if last else before.at,
            head.floor,
            stopped if count == len(known) else "",
        )
        if after != before and not self._views.save(generation.name, before, after, hot.changes(touched)):
            raise Overtaken
        hot.trim()
        self._hot, self._hot_at = hot, (generation.name, after)
        return after, events[count:]

    def _behind(self, after: int, upto: int) -> Iterable[list[Event]]:
        """The events after+1..upto: a few in one call that is repeated if need be, many with the next asked ahead."""
        if upto - after <= EVENTS_A_SAVE:
            return [self._log.read(after, upto - after)]
        return passing(self._log, after, upto, EVENTS_A_SAVE)

    def _cold(self, generation: Generation) -> HotRows:
        return HotRows(Line(find_cuts(self._log, generation.cut)))

    def _cut(self) -> int:
        """The last restore on the log, 0 for none."""
        cuts = find_cuts(self._log, self._log.head().floor)
        return cuts[-1].at if cuts else 0

    def _floor(self, generation: Generation, head: Head) -> int:
        """The floor of all versions on a generation's line: the end of its restore's append."""
        if generation.cut == 0 or self._cut() == generation.cut:
            return head.floor if generation.cut else 0
        return generation.cut


def _foldable(events: Sequence[Event], cut: int) -> tuple[Sequence[Event], str]:
    """The events before the first unknown one, and why it ends there. Raises Restored at a restore after `cut`."""
    for index, event in enumerate(events):
        fact = event.fact
        if fact.__class__ is Unrecognised:
            return events[:index], reason(event.seq, fact)
        if fact.__class__ is RestoreDone and event.seq > cut:
            raise Restored(event.seq)
    return events, ""
