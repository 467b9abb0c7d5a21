"""The timeline of a log: all views at any position, in a file of this node that anybody may delete.

It is made from the log alone, and made anew where it is missing, damaged, of another log, or of other folds. It is
never the truth: what it cannot tell is folded from the start of the log. One process writes at a time, in transactions
of the database; others read meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from maestro.model.errors import Invalid, Refused
from maestro.model.events import Event, RestoreDone
from maestro.store.contract import Store
from projections.bounding import bounds
from projections.fold import encode
from projections.generations import FOLDS
from projections.log_scan import scan_log
from replayers import rewind
from replayers.positions import time_of
from replayers.timeline import database, density as densities
from replayers.timeline.database import Database, State
from replayers.timeline.density import Bucket, Density
from replayers.timeline.packing import Damaged, Packing
from replayers.timeline.past_views import Past, Reading
from replayers.timeline.row_versions import RowVersions
from replayers.timeline.waypoints import FOLLOWING, Loaded, Recorder, parts

T = TypeVar("T")

A_TIME = 10_000
"""Events that one transaction records, about."""
AT_ONCE = 1_000
BYTES_MAX = 2 << 30
"""A file that is larger loses the oldest quarter of its waypoints."""
EXACT_MAX = 2_000
"""The density of so few events is counted from the events themselves."""
FOLDER = "timelines"
AGAIN = "ask again"

Progress = Callable[[int, int], None]
"""Called now and then with the position reached and the end."""
Block = tuple[str, int, list[Event]]
"""The edition, a waypoint, and the events behind it."""


class Timeline:
    """The timeline of one store's log. Thread-safe, and safe beside other processes. Raises Refused for a bad disk."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._database = Database(path)
        self._unpacking = "", Packing()
        self._recorder: tuple[str, Recorder, Packing] | None = None
        self._block: Block = ("", 0, [])

    @classmethod
    def open(cls, store: Store, home: Path) -> Timeline:
        """The timeline of a store in a MAESTRO_HOME. Its file need not be there."""
        return cls(store, home / FOLDER / f"{store.namespace}.sqlite3")

    @property
    def exists(self) -> bool:
        """Whether its file is there."""
        return self._database.path.is_file()

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        self._database.close()

    def catch_up(self, progress: Progress | None = None, upto: int | None = None) -> int:
        """Record all waypoints up to a position, the end of the log by default; returns the last one."""
        head = self._store.log.head()
        end = head.seq if upto is None else upto
        seq, before = self._sound(self._reached), -1
        while before < seq < end and (bounds.next_step(seq + 1) <= end or head.floor > seq):
            before, seq = seq, self._sound(lambda: self._record(end))
            if progress:
                progress(seq, end)
        return seq

    def at(self, position: int) -> Past:
        """All views at a position. Raises Invalid behind the end of the log, Stopped at an event of a later build."""
        head = self._store.log.head()
        if not 0 <= position <= head.seq:
            raise Invalid(f"there is no position {position}", mend=f"the log goes from 1 to {head.seq}")
        self.catch_up(upto=position)
        return self._sound(lambda: self._at(position))

    def density(self, first: int, last: int, buckets: int) -> list[Bucket]:
        """The events first..last in at most so many buckets; none for what has no events.

        Of more than EXACT_MAX events, they begin and end at multiples of 100, 1000 or 10000.
        """
        log = self._store.log
        first, last = max(1, first), min(last, log.head().seq)
        if last < first:
            return []
        exact = last - first < EXACT_MAX
        found = Density(first, last, buckets, exact)
        if exact:
            found.add(log.read(first - 1, last - first + 1))
            return found.buckets()
        reached = self.catch_up(upto=last)
        self._sound(lambda: self._add_cells(found, reached))
        for events in log.scan(max(reached, found.first - 1), last):
            found.add(events)
        return found.buckets()

    # ---- reading ----

    def _sound(self, act: Callable[[], T]) -> T:
        """Do it, with another file where this one is damaged."""
        try:
            return act()
        except Damaged:
            self._database.forget()
        try:
            return act()
        except Damaged as damaged:
            raise Refused("the timeline is damaged again and again", str(self._database.path), "delete it") from damaged

    def _reached(self) -> int:
        with self._database.reading() as base:
            state = self._known(base)
        return 0 if state is None else state.seq

    def _known(self, base: sqlite3.Connection) -> State | None:
        """What the timeline holds, None where that is of another log, or of other folds."""
        state = database.state_of(base)
        if state is None or state.folds != FOLDS:
            return None
        entries = self._store.log.entries(state.seq - 1, 1) if state.seq else []
        sound = not state.seq or (entries and (entries[0].seq, entries[0].chain) == (state.seq, state.chain))
        return state if sound else None

    def _add_cells(self, found: Density, reached: int) -> None:
        with self._database.reading() as base:
            found.add_cells(base, reached)

    def _at(self, position: int) -> Past:
        with self._database.reading() as base:
            state = self._known(base) or State("", "")
            waypoint = _waypoint(base, position) if state.seq else 0
            if waypoint >= state.first and bounds.next_step(state.seq + 1) > position:
                events = self._events(state.edition if position <= state.seq else "", waypoint, position)
                if not any(isinstance(event.fact, RestoreDone) for event in events):
                    reading = self._reading(state.edition, waypoint)
                    return self._past(self._versions(base, state.edition), waypoint, events, reading)
        return self._folded(position)

    def _versions(self, base: sqlite3.Connection, edition: str) -> RowVersions:
        """The rows of an edition, for the transaction that reads."""
        if self._unpacking[0] != edition:
            self._unpacking = edition, Packing()
        return RowVersions(base, self._unpacking[1])

    def _past(self, versions: RowVersions, waypoint: int, events: list[Event], reading: Reading) -> Past:
        """The views behind the events that follow a waypoint, none of which is one."""
        cache = Loaded()
        changed: dict[str, dict[str, Any]] = {}
        for view, row_id in cache.fold_on(versions, waypoint, events) if events else ():
            changed.setdefault(view, {})[row_id] = cache.fold.rows[view].get(row_id)
        at = events[-1].at if events else time_of(self._store.log, waypoint)
        return Past(waypoint + len(events), at, waypoint, reading, (changed, cache.kinds))

    def _folded(self, position: int) -> Past:
        """The views at a position that the timeline does not reach, from the start of the log."""
        rows = rewind.folded(self._store, position).rows
        return Past(position, time_of(self._store.log, position), 0, self._reading("", 0), (rows, {}))

    def _events(self, edition: str, waypoint: int, position: int) -> list[Event]:
        """The events behind a waypoint up to a position; those that were read last are kept.

        edition: "" where they are not to be kept, as the log may yet go on in another way.
        """
        held_edition, at, held = self._block
        if not edition or (held_edition, at) != (edition, waypoint):
            held = []
        there = waypoint + len(held)
        if position > there:
            held = held + self._store.log.read(there, position - there)
            self._block = edition, waypoint, held
        return held[: position - waypoint]

    def _reading(self, edition: str, waypoint: int) -> Reading:
        """A way to read the rows of a waypoint later on."""

        @contextmanager
        def reading() -> Iterator[RowVersions]:
            try:
                with self._database.reading() as base:
                    state = database.state_of(base) or State("", "")
                    if edition and (state.edition != edition or waypoint < state.first):
                        what = "the timeline was made anew, or lost its oldest part, while it was read"
                        raise Refused(what, str(self._database.path), AGAIN)
                    yield self._versions(base, edition)
            except Damaged as damaged:
                self._database.forget()
                raise Refused("the timeline is damaged", str(self._database.path), AGAIN) from damaged

        return reading

    # ---- writing ----

    def _record(self, end: int) -> int:
        """Record the next waypoints, in one transaction; returns the last one."""
        recorder, self._recorder = self._recorder, None
        with self._database.writing() as base:
            state = self._known(base)
            if state is None:
                state = database.emptied(base, FOLDS)
            if recorder is None or (recorder[0], recorder[1].seq) != (state.edition, state.seq):
                recorder = state.edition, Recorder(state.seq), Packing()
            end = min(end, bounds.next_step(state.seq + A_TIME))
            state = self._recorded(base, state, recorder[1:], end)
            if database.size(base) > BYTES_MAX:
                state = _shortened(base, state, RowVersions(base, recorder[2]))
            database.keep_state(base, state)
        self._recorder = recorder
        return state.seq

    def _recorded(self, base: sqlite3.Connection, state: State, by: tuple[Recorder, Packing], end: int) -> State:
        """Record the waypoints up to a position; returns what the timeline holds then."""
        recorder, packing = by
        versions, written, log = RowVersions(base, packing), state.written, self._store.log
        packing.learn(base, 0, ())
        for events in parts(scan_log(log, state.seq, end, AT_ONCE)):
            rows = recorder.record(versions, events, lambda to: self._restored(versions, state, to))
            densities.enter(base, events)
            base.execute("INSERT INTO waypoints VALUES(?)", (recorder.seq,))
            written += len(rows)
            packing.learn(base, written, rows)
        if recorder.seq == state.seq:
            return state
        chain = log.entries(recorder.seq - 1, 1)[0].chain
        return msgspec.structs.replace(state, seq=recorder.seq, chain=chain, written=written)

    def _restored(self, versions: RowVersions, state: State, to: int) -> dict[tuple[str, str], bytes]:
        """The rows of all views that follow the line, at a position before the transaction's end."""
        waypoint = _waypoint(versions.base, to)
        if waypoint < state.first:
            rows = rewind.folded(self._store, to).rows
            return {(view, row_id): encode(row) for view in FOLLOWING for row_id, row in rows[view].items()}

        def reading() -> AbstractContextManager[RowVersions]:
            return nullcontext(versions)

        past = self._past(versions, waypoint, self._events("", waypoint, to), reading)
        return {(view, row_id): data for view in FOLLOWING for row_id, data in past.encoded(view).items()}


def _waypoint(base: sqlite3.Connection, position: int) -> int:
    """The last waypoint at or before a position."""
    return int(base.execute("SELECT max(seq) FROM waypoints WHERE seq <= ?", (position,)).fetchone()[0] or 0)


def _shortened(base: sqlite3.Connection, state: State, versions: RowVersions) -> State:
    """Forget the oldest quarter of the waypoints; the density stays."""
    count = base.execute("SELECT count(*) FROM waypoints").fetchone()[0]
    found = base.execute("SELECT seq FROM waypoints ORDER BY seq LIMIT 1 OFFSET ?", (max(1, count // 4),)).fetchone()
    first = found[0] if found else state.seq
    versions.forget_before(first)
    base.execute("DELETE FROM waypoints WHERE seq < ?", (first,))
    return msgspec.structs.replace(state, first=first)
