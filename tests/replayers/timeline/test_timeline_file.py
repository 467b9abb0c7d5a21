"""The file of a timeline: whatever happens to it, what is shown is what the log says."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid, Refused
from maestro.model.events import NewEvent
from maestro.store import codec
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import VIEWS, Stopped, encode
from projections.projector import Projector
from replayers import rewind
from replayers.timeline import density, timeline as timelines
from replayers.timeline.past_views import Past
from replayers.timeline.timeline import Timeline
from tests.projections.histories import commit, everything, grow, restore
from tests.projections.test_bounds import write

SOME = ("tasks", "queue", "agents", "state", "totals", "settings")


def log(name: str, seed: int = 3, appends: int = 80) -> MemoryStore:
    """A log with restores and with rows that views lose."""
    store = MemoryStore(name)
    for _ in write(store, seed, appends):
        pass
    return store


def shown(past: Past) -> dict[str, dict[str, bytes]]:
    return {view: past.encoded(view) for view in SOME}


def folded(store: Store, position: int) -> dict[str, dict[str, bytes]]:
    fold = rewind.folded(store, position)
    return {view: {row_id: encode(row) for row_id, row in sorted(fold.rows_of(view).items())} for view in SOME}


def file_of(timeline: Timeline, tmp_path: Path) -> Path:
    (found,) = (tmp_path / "timelines").glob("*.sqlite3")
    return found


def test_it_may_be_deleted_or_damaged_at_any_time(tmp_path: Path) -> None:
    store = log("m")
    timeline, head = Timeline.open(store, tmp_path), store.log.head().seq
    assert not timeline.exists
    timeline.catch_up()
    path = file_of(timeline, tmp_path)
    assert timeline.exists
    assert path.stat().st_mode & 0o777 == 0o600
    wanted = folded(store, head // 2)
    path.unlink()
    assert shown(timeline.at(head // 2)) == wanted
    timeline.close()
    for damage in (b"no database at all" * 500, path.read_bytes()[:9000], b""):
        path.write_bytes(damage)
        timeline = Timeline.open(store, tmp_path)
        assert shown(timeline.at(head // 2)) == wanted
        timeline.close()
    data = bytearray(path.read_bytes())
    for number in range(8192, len(data), 97):  # everywhere but in the first pages
        data[number] ^= 0xFF
    path.write_bytes(data)
    assert shown(Timeline.open(store, tmp_path).at(head // 2)) == wanted


def test_of_another_log_or_by_other_folds_it_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Timeline.open(log("m", seed=3), tmp_path).catch_up()
    for seed, appends in ((4, 80), (5, 200), (6, 1)):
        other = log("m", seed, appends)
        timeline = Timeline.open(other, tmp_path)
        for position in (other.log.head().seq, other.log.head().seq // 2):
            assert shown(timeline.at(position)) == folded(other, position)
    again = log("m", 7)
    timeline = Timeline.open(again, tmp_path)
    for position in (30, 60, again.log.head().seq):
        assert shown(timeline.at(position)) == folded(again, position)
    again.erase()
    for _ in write(again, 8, 80):
        pass
    for position in (again.log.head().seq, 60, 30):
        assert shown(timeline.at(position)) == folded(again, position)
    store = log("m", 5)
    timeline = Timeline.open(store, tmp_path)
    past = timeline.at(60)
    monkeypatch.setattr(timelines, "FOLDS", "another")
    assert shown(Timeline.open(store, tmp_path).at(60)) == folded(store, 60)
    with pytest.raises(Refused, match="made anew"):
        past.encoded("tasks")


def test_it_follows_a_log_that_goes_on_and_is_restored(tmp_path: Path) -> None:
    store, random = MemoryStore("m"), Random(9)
    timelines_ = [Timeline.open(store, tmp_path), Timeline.open(store, tmp_path)]
    for number, head in enumerate(grow(store, random, 60, restores=True)):
        if number % 6 == 0:
            position = random.randint(head // 2, head)
            assert shown(timelines_[number % 2].at(position)) == folded(store, position)
    head = store.log.head().seq
    again = restore(store, head - 2, name="late")
    for position in (again, again - 1, head - 2):
        assert shown(timelines_[0].at(position)) == folded(store, position)
    with pytest.raises(Invalid, match="there is no position"):
        timelines_[0].at(again + 1)


def test_the_oldest_part_goes_where_it_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = log("m", seed=8, appends=200)
    monkeypatch.setattr(timelines, "BYTES_MAX", 80_000)
    timeline, head = Timeline.open(store, tmp_path), store.log.head().seq
    timeline.catch_up()
    with sqlite3.connect(file_of(timeline, tmp_path)) as base:
        (first,) = base.execute("SELECT min(seq) FROM waypoints").fetchone()
        assert first > head // 10
    for position in (1, first - 1, first, head - 1):
        assert shown(timeline.at(position)) == folded(store, position)
    again = restore(store, first // 2, name="far")
    assert shown(timeline.at(again)) == folded(store, again)


def test_several_write_and_read_at_once(tmp_path: Path) -> None:
    store, failed = log("m", appends=150), list[BaseException]()
    head = store.log.head().seq
    wanted = {position: folded(store, position) for position in range(5, head, head // 6)}
    shared = Timeline.open(store, tmp_path)

    def look(timeline: Timeline) -> None:
        try:
            for position, views in wanted.items():
                assert shown(timeline.at(position)) == views
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=look, args=(one,)) for one in (shared, shared, Timeline.open(store, tmp_path))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_an_event_of_a_later_build_is_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = log("m", appends=20)
    head = store.log.head().seq
    with monkeypatch.context() as later:
        later.setitem(codec.NAMES, e.StateSet, "state.sung")
        commit(store, NewEvent("state:song", e.StateSet("song", "la")))
    for _ in grow(store, Random(1), 20):
        pass
    timeline = Timeline.open(store, tmp_path)
    timeline.catch_up()
    assert shown(timeline.at(head)) == folded(store, head)
    for position in (head + 1, head + 9, store.log.head().seq):
        with pytest.raises(Stopped):
            timeline.at(position)


def test_replay_shows_the_same_with_it_and_without(tmp_path: Path) -> None:
    store = log("m")
    head, look = store.log.head().seq, Timeline.open(store, tmp_path).at
    for view in VIEWS:
        assert rewind.at(store, head // 2, view, look=look) == rewind.at(store, head // 2, view)
    for a, b in ((1, head), (head // 3, head // 2), (head // 2, head // 3), (9, 9)):
        assert list(rewind.diff(store, a, b, look)) == list(rewind.diff(store, a, b))


@pytest.mark.parametrize("exact_max", (0, 10_000))
def test_the_density_counts_each_event_once(tmp_path: Path, exact_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "EXACT_MAX", exact_max)
    monkeypatch.setattr(density, "CELLS", (4, 20, 100))
    store = log("m", appends=120)
    Projector(store).catch_up()
    events, timeline = everything(store), Timeline.open(store, tmp_path)
    for buckets in (1, 3, 10, 1000):
        found = timeline.density(1, len(events), buckets)
        assert 0 < len(found) <= buckets
        assert sum(one.count for one in found) == len(events)
        for one in found:
            held = events[one.first - 1 : one.last]
            assert one.kinds == Counter(event.type.partition(".")[0] for event in held)
            assert (one.count, one.first_at, one.last_at) == (len(held), held[0].at, held[-1].at)
    part = timeline.density(41, 80, 7)
    assert sum(one.count for one in part) == 40
    assert timeline.density(9, 8, 7) == timeline.density(len(events) + 1, 2 * len(events), 7) == []
