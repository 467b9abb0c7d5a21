"""Brings the views to the end of the log: read behind the checkpoint, load the rows touched, fold, save.

Any process may do this at any time, and each event is folded exactly once: rows, indexes and checkpoint are saved
together, if the checkpoint is still the one that was read. A process that loses this comparison has lost only work: it
continues from the winner's checkpoint. A new fold version, a restore, a rebuild and the repair of damage build a
generation next to the live one and switch to it; several processes that do so build the same one together.
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
from maestro.store.contract import Checkpoint, Head, RowChange, Saving, Store
from projections import generations
from projections.bounding import bounds
from projections.bounding.eviction import Overtaken, evict
from projections.fold import reason
from projections.generations import BUILD, FOLDS, Generation
from projections.lineage import Line, find_cuts
from projections.log_scan import scan_log
from projections.row_cache import CUT_BY, RowCache

__all__ = ["FOLDS", "Projector"]

ROWS_MAX = 1000
"""Rows written by one save, at most."""

EVENTS_A_SAVE = 1000

NEWER = "the views were made by a newer build of Maestro; update this node"

MENDS_MAX, MENDS_S = 3, 60.0
"""Views that are damaged more often than MENDS_MAX times within MENDS_S seconds are not rebuilt any more."""

_STOPPERS: set[type] = {Unrecognised, RestoreDone}
"""The facts at which a fold may have to end."""

log = logging.getLogger("maestro")

Progress = Callable[[int, int], None]
"""Called now and then with the progress of a new generation: (position, end of the log)."""


class Restored(Exception):
    """The log continues with a restore that the generation does not know: another line, so another generation."""

    def __init__(self, cut: int) -> None:
        super().__init__(cut)
        self.cut = cut


class Projector:
    """Advances the views of one store. Thread-safe and cheap to create; caches the rows of its last passes.

    generation: the one that the last `catch_up` brought to the end of the log, for the reads that follow.
    """

    def __init__(self, store: Store, progress: Progress | None = None) -> None:
        self.generation = ""
        self._log = store.log
        self._views = store.views
        self._progress = progress
        self._lock = threading.Lock()
        self._saving: Saving | None = None
        self._cache: RowCache | None = None
        self._cached_at: tuple[str, Checkpoint] | None = None
        self._mended: deque[float] = deque(maxlen=MENDS_MAX)

    def catch_up(self) -> Checkpoint:
        """Fold the events behind the checkpoint; returns the new checkpoint of the views in `generation`.

        Its `stopped` says why the views are stale: an event, or a generation, of a later build. Raises StoreAway,
        LineageBroken where the views belong to another log, and what `mend` raises.
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
        """Rebuild the views in place of a damaged generation, unless another process has done so.

        Raises StoreUnsafe where they are damaged again and again, Refused where a later build made them.
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
        self._cache = None
        if damaged.generation != current:
            with suppress(Refused):  # another process has switched to it just now
                self._views.drop(damaged.generation)
            return
        log.warning("%s: %s: the views are built anew from the log", damaged.where, damaged.what)
        self._build_new(current)
        with suppress(Refused):  # the switch expires listed keys only: a damaged one lists not all
            self._views.drop(damaged.generation)

    def rebuild(self) -> Checkpoint:
        """Build all views again from the start of the log; readers use the old ones until the switch."""
        with self._lock:
            self._build_new(self._views.current())
        return self.catch_up()

    def _build_new(self, current: str | None) -> None:
        """Build a new generation from the start of the log in place of the current one."""
        live = generations.parse(current)
        cut = self._cut()
        with suppress(Refused):  # another rebuild has switched to it just now
            self._views.drop(generations.after(live, cut).name)
        while self._views.current() == current:
            try:
                self._replace(current, generations.after(live, cut))
            except Restored as restored:
                cut = restored.cut
            except Overtaken:
                continue

    def _advance(self, cut: int) -> Checkpoint | None:
        """Bring the live generation to the end of the log, or replace it where it cannot get there. None: retry."""
        current = self._views.current()
        live = generations.parse(current)
        if live and live.newer:
            self.generation = live.name
            return msgspec.structs.replace(self._views.checkpoint(live.name), stopped=NEWER)
        if live and live.build == BUILD and live.cut >= cut:
            checkpoint = self._follow(live, building=False)
            self.generation = live.name
            return checkpoint
        new = self._replace(current, self._next(live, max(cut, self._cut())))
        if live and not new:
            # The new generation stopped at an unknown event before the live one's position: the live one is stale, but
            # better.
            self.generation = live.name
            return msgspec.structs.replace(self._views.checkpoint(live.name), stopped=NEWER)
        return None

    def _next(self, live: Generation | None, cut: int) -> Generation:
        """The generation to build in place of the live one; without a pointer, none that is about to expire."""
        found = generations.after(live, cut)
        while live is None and self._views.leaving(found.name):
            found = generations.after(found, cut)
        return found

    def _replace(self, current: str | None, new: Generation) -> bool:
        """Build a new generation and switch to it; False where it had to stop before the live one's position."""
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
        try:
            after = self._fold(generation, before, head, building)
            self._settle()
        except BaseException:
            saving, self._saving, self._cache = self._saving, None, None
            if saving is not None:
                saving.abandon()
            raise
        return after

    def _fold(self, generation: Generation, before: Checkpoint, head: Head, building: bool) -> Checkpoint:
        """Fold and save the events behind the checkpoint `before`, up to the head.

        While a generation is built, a save is answered while the next events are read and folded: `_settle`.
        """
        lists = iter(self._behind(before.seq, head.seq))
        events = next(lists, [])
        while events:
            after, events, changes = self._pass(generation, before, events, head)
            if not events and not after.stopped:
                events = next(lists, [])  # first: while the server saves it sends no more than fits into a socket
            self._settle()
            if after != before:
                self._saving = self._views.send(generation.name, before, after, changes)
            if not building:
                self._settle()
            elif self._progress:
                self._progress(after.seq, head.seq)
            before = after
            if before.stopped:
                break
        return before

    def _settle(self) -> None:
        """Take the answer of the save that was sent last, if there is one. Raises Overtaken where it was refused."""
        saving, self._saving = self._saving, None
        if saving is not None and not saving.result():
            raise Overtaken

    def _pass(
        self, generation: Generation, before: Checkpoint, events: list[Event], head: Head
    ) -> tuple[Checkpoint, list[Event], list[RowChange]]:
        """Fold as many of the events as ROWS_MAX allows; returns the checkpoint and the changes to save, and the events
        that are left.
        """
        known, stopped = _foldable(events, generation.cut)
        cache = (
            self._cache
            if self._cache and self._cached_at == (generation.name, before)
            else self._empty_cache(generation)
        )
        self._cache = None  # The cached rows belong to no checkpoint until they are to be saved.
        count, touched = cache.fitting(known, ROWS_MAX)
        last = known[count - 1] if count else None
        is_cut = last is not None and bounds.is_step(last.seq)
        if before.seq == 0:
            cache.knows_none(CUT_BY)
        missing = cache.missing([*touched, *CUT_BY] if is_cut else touched, known[:count])
        if missing:
            self._settle()
            checkpoint, rows = self._views.load(generation.name, missing)
            if checkpoint != before:
                raise Overtaken
            cache.take(missing, rows)
        cache.fold.apply(known[:count])
        if last is not None and is_cut and cache.horizon():
            self._settle()
            touched += evict(self._views, generation.name, before, cache, (touched, last.seq))
        after = Checkpoint(
            last.seq if last else before.seq,
            head.chain if last and last.seq == head.seq else "",
            last.at if last else before.at,
            head.floor,
            stopped if count == len(known) else "",
        )
        changes = cache.changes(touched) if after != before else []
        cache.trim()
        self._cache, self._cached_at = cache, (generation.name, after)
        return after, events[count:], changes

    def _behind(self, after: int, upto: int) -> Iterable[list[Event]]:
        """The events after+1..upto: few by one call that may be repeated, many by a scan that reads ahead."""
        if upto - after <= EVENTS_A_SAVE:
            return [self._log.read(after, upto - after)]
        return scan_log(self._log, after, upto, EVENTS_A_SAVE)

    def _empty_cache(self, generation: Generation) -> RowCache:
        return RowCache(Line(find_cuts(self._log, generation.cut)))

    def _cut(self) -> int:
        """The seq of the last restore in the log, 0 for none."""
        cuts = find_cuts(self._log, self._log.head().floor)
        return cuts[-1].at if cuts else 0

    def _floor(self, generation: Generation, head: Head) -> int:
        """The floor of all versions on a generation's line: the end of the append of its restore."""
        if generation.cut == 0 or self._cut() == generation.cut:
            return head.floor if generation.cut else 0
        return generation.cut


def _foldable(events: Sequence[Event], cut: int) -> tuple[Sequence[Event], str]:
    """The events before the first unknown one, and why they end there ("" if there is none).

    Raises Restored at a restore after `cut`.
    """
    if not _STOPPERS & {event.fact.__class__ for event in events}:
        return events, ""
    for index, event in enumerate(events):
        fact = event.fact
        if fact.__class__ is Unrecognised:
            return events[:index], reason(event.seq, fact)
        if fact.__class__ is RestoreDone and event.seq > cut:
            raise Restored(event.seq)
    return events, ""
