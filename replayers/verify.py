"""The proof that the log was not altered, and that the live views match it.

First the log from its start: positions without a gap, times that never go back, each event's chain, each event's link
to the one before it of its subject. On the way it is folded, over the line, up to the checkpoint of the live views.
Then every row and index entry is compared. The views may advance meanwhile: rows that events touched during the
comparison are compared in another round, so that each finding is true at one checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from maestro.model.errors import LineageBroken, MaestroError, Refused, VerificationFailed, ViewDamaged
from maestro.store.contract import Checkpoint, Store
from projections import generations, settings
from projections.bounding.bounds import keep
from projections.fold import VIEWS, Fold, Stopped, encode, indexes_of
from projections.lineage import Line, find_cuts
from projections.projector import NEWER, Projector
from projections.row_cache import Key, touched
from replayers.chain import ChainCheck, Difference
from replayers.log_reader import history
from replayers.past.forgetting import row_of
from replayers.sealed import sealed_of

ROUNDS_MAX = 20
FOUND_MAX = 100
"""At most so many differences are reported; the first is the one that counts."""

Progress = Callable[[int, int], None]


class Verified(msgspec.Struct, frozen=True):
    """The result: what was compared, and the differences by position.

    events: of the log; checkpoint: of the compared views; digests: by view; differences: the first `FOUND_MAX`;
    found: how many there are. keep, sealed: bounded views were compared with the rows that they keep: so many of what
    has ended, and all that has ended behind that position.
    """

    events: int
    checkpoint: Checkpoint
    generation: str
    digests: dict[str, str]
    differences: list[Difference]
    found: int = 0
    keep: int = 0
    sealed: int = 0

    @property
    def first(self) -> Difference | None:
        """The first difference, None when there is none."""
        return self.differences[0] if self.differences else None

    @property
    def ok(self) -> bool:
        """Whether there is no difference: exit 0, else 6."""
        return not self.differences


def verify(store: Store, progress: Progress | None = None) -> Verified:
    """Check the log, its segments, the versions and the views. progress: called with (position, end) now and then.

    Raises Refused where the views cannot be compared: a later build made them, or they change all the time.
    """
    while True:
        try:
            checkpoint = Projector(store).catch_up()
            if checkpoint.stopped == NEWER:
                raise Refused(NEWER)
            generation = generations.parse(store.views.current())
            if generation is None:
                continue
            fold = Fold(Line(find_cuts(store.log, generation.cut)))
        except (LineageBroken, VerificationFailed) as broken:
            return _only_log(store, broken, progress)
        log = ChainCheck(store.log)
        damaged = _check_log(log, fold, checkpoint.seq, progress)
        log.check_segments(sealed_of(store))
        log.check_versions(partial(_is_needed, fold))
        if damaged or log.seq < checkpoint.seq:
            return Verified(log.seq, checkpoint, generation.name, {}, log.found[:FOUND_MAX], len(log.found))
        comparison = Comparison(store, generation.name, fold)
        if comparison.run():
            found = sorted([*log.found, *comparison.found], key=lambda one: one.position)
            cut = fold.rows[settings.NAME]
            kept = (keep(cut), settings.sealed(cut))
            digests = comparison.digests
            return Verified(log.seq, checkpoint, generation.name, digests, found[:FOUND_MAX], len(found), *kept)


def _only_log(store: Store, broken: MaestroError, progress: Progress | None) -> Verified:
    """Check the log alone, where it is so damaged that the views could not follow it."""
    log = ChainCheck(store.log)
    for _ in log.events():
        if progress:
            progress(log.seq, log.head.seq)
    log.check_segments(sealed_of(store))
    found = log.found or [Difference(log.seq, broken.line())]
    return Verified(log.seq, Checkpoint(), "", {}, found[:FOUND_MAX], len(found))


def _check_log(log: ChainCheck, fold: Fold, upto: int, progress: Progress | None) -> bool:
    """Check the whole log, folding up to a position; returns whether damage keeps the fold from getting there."""
    total = log.head.seq
    for events in log.events():
        if progress:
            progress(log.seq, total)
        try:
            fold.apply([event for event in events if event.seq <= upto])
        except Stopped as stopped:
            if not log.found:
                raise Refused(stopped.reason, mend="verify with the build that made the views") from None
            return True
    return False


def _is_needed(fold: Fold, subject: str) -> bool:
    """Whether the version of a subject must be there: it has a row, or is of a kind that is never forgotten."""
    of = row_of(subject)
    return of is None or of[1] in fold.rows.get(of[0], ())


class Comparison:
    """Compares the live views with a fold that advances with them."""

    def __init__(self, store: Store, generation: str, fold: Fold) -> None:
        self.found: list[Difference] = []
        self.digests: dict[str, str] = {}
        self._store = store
        self._generation = generation
        self._fold = fold
        self._wrong: dict[Key, str] = {}

    def run(self) -> bool:
        """Compare all views. False: another generation replaced theirs meanwhile."""
        for view in VIEWS:
            try:
                if not self._view(view):
                    return False
            except ViewDamaged as damaged:
                self.found = [Difference(self._fold.seq, damaged.what)]
                return True
        self.digests = self._fold.digests()
        if self._wrong:
            positions = self._last_touches(set(self._wrong))
            self.found = [Difference(positions.get(key, self._fold.seq), what) for key, what in self._wrong.items()]
        return True

    def _view(self, view: str) -> bool:
        """Compare one view, in rounds: rows that changed while they were read are left to the next round."""
        views = self._store.views
        waiting: set[Key] | None = None
        for _ in range(ROUNDS_MAX):
            self._fold_on(views.checkpoint(self._generation).seq)
            rows = dict(views.dump(self._generation, view))
            indexes = views.indexes(self._generation, view)
            moved = self._fold_on(views.checkpoint(self._generation).seq)
            if views.current() != self._generation:
                return False
            for row_id, what in self._differences(view, rows, indexes):
                key = (view, row_id)
                if key not in moved and (waiting is None or key in waiting):
                    self._wrong.setdefault(key, what)
            waiting = moved if waiting is None else waiting & moved
            if not waiting:
                return True
        raise Refused(f"the view {view} changes too fast to be compared", mend="verify when less is going on")

    def _fold_on(self, upto: int) -> set[Key]:
        """Advance the fold to a position; returns the rows that it touched."""
        moved: set[Key] = set()
        for events in history(self._store, self._fold.seq, upto):
            self._fold.evicted.clear()
            self._fold.apply(events)
            moved |= touched(events, self._fold.line)
            moved |= {(view, row_id) for view, gone in self._fold.evicted.items() for row_id in gone}
        return moved

    def _differences(
        self, view: str, rows: dict[str, bytes], indexes: dict[str, dict[str, int]]
    ) -> Iterator[tuple[str, str]]:
        folded = self._fold.rows_of(view)
        for row_id in folded.keys() | rows.keys():
            if row_id not in rows:
                yield row_id, f"row {row_id!r} of {view} is missing"
            elif row_id not in folded:
                yield row_id, f"row {row_id!r} of {view} should not be there"
            elif encode(folded[row_id]) != rows[row_id]:
                yield row_id, f"row {row_id!r} of {view} differs in {_fields(folded[row_id], rows[row_id])}"
        wanted = indexes_of(view, folded)
        for name in wanted.keys() | indexes.keys():
            want, have = wanted.get(name, {}), indexes.get(name, {})
            if want != have:
                for row_id in want.keys() | have.keys():
                    if want.get(row_id) != have.get(row_id):
                        yield (
                            row_id,
                            (
                                f"row {row_id!r} stands at {have.get(row_id)} in the index {name!r} of {view}, "
                                f"not at {want.get(row_id)}"
                            ),
                        )

    def _last_touches(self, keys: set[Key]) -> dict[Key, int]:
        """The position of the last event that touched each of these rows."""
        last: dict[Key, int] = {}
        for events in history(self._store, 0, self._fold.seq):
            for event in events:
                for key in touched([event], self._fold.line) & keys:
                    last[key] = event.seq
        return last


def _fields(row: Any, data: bytes) -> str:
    """The names of the fields in which a stored row differs from the folded one."""
    try:
        have = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return "its bytes, which are no JSON"
    want = msgspec.json.decode(encode(row))
    names = sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))
    return ", ".join(names) or "its bytes"
