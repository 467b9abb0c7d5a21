"""What is no row any more: answered from sealed history, and never made twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.model.ids import run_id
from maestro.model.task import Task
from maestro.store.contract import Append, Committed, Rejected, Store
from maestro.store.keys import HORIZON
from projections.bounding import bounds
from projections.fold import encode
from projections.projector import Projector
from projections.view_reader import Views
from replayers import audit, sealer
from replayers.past import history_index
from replayers.past.forgetting import forget
from replayers.past.history_index import HistoryIndex
from replayers.rebuild import rebuild
from replayers.sealed import Segments
from replayers.verify import verify
from tests.projections.histories import commit, restore
from tests.replayers.test_sealing import seal

KEEP = 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, short_ranges: None) -> None:
    monkeypatch.setattr(bounds, "EVERY", 20)
    monkeypatch.setattr(bounds, "MOST", 20)
    monkeypatch.setattr(history_index, "A_TIME", 17)
    monkeypatch.setattr("maestro.model.settings.namespace_setting.DEFAULTS", {"views.keep": KEEP})


def finished(store: Store, task: str) -> None:
    run, floor = run_id(task, 0, 1), store.log.head().floor
    commit(
        store,
        NewEvent(f"task:{task}", e.TaskDispatched(task, "p", f"title {task}", ("tester",)), floor),
        NewEvent(f"run:{run}", e.RunReleased(run, task, 0, 1, "tester", "north", 60.0, 1)),
        NewEvent(f"run:{run}", e.RunStarted(run, task, "tester", "north", f"/r/{run}", "/w")),
        NewEvent(f"run:{run}", e.RunEnded(run, task, "tester", "ok", 0, result=f"result {task}")),
        NewEvent(f"task:{task}", e.TaskFinished(task, "completed", "ok", 0)),
        NewEvent(f"state:task:{task}:result", e.StateSet(f"task:{task}:result", "r")),
        NewEvent(f"state:task:{task}:result", e.StateDeleted(f"task:{task}:result", "expired")),
    )


@pytest.fixture
def rows() -> dict[str, bytes]:
    """The rows of all tasks, as they were before any was evicted."""
    return {}


@pytest.fixture
def bounded(store: Store, sealed: Segments, rows: dict[str, bytes]) -> Store:
    """A store with 40 finished tasks, most of which are no rows any more and whose versions are forgotten."""
    store.attach(sealed)
    commit(store, NewEvent("task:open", e.TaskDispatched("open", "p", "open", ("tester",)), 0))
    for number in range(40):
        finished(store, f"T{number:03d}")
    views = Views(store)
    views.checkpoint()
    rows |= dict(store.views.dump(views.projector.generation, "tasks"))
    assert seal(store, sealed, 60)
    for number in range(80):
        commit(store, NewEvent("state:a", e.StateSet("a", str(number))))
    views.checkpoint()
    assert forget(store) > 60
    return store


def left(store: Store) -> list[str]:
    views = Views(store)
    views.checkpoint()
    return [row for row, _ in store.views.dump(views.projector.generation, "tasks")]


def test_few_rows_and_versions_are_left_and_all_tasks_are_told_as_they_were(
    bounded: Store, rows: dict[str, bytes]
) -> None:
    kept = left(bounded)
    assert "open" in kept and len(kept) < 20
    versions = bounded.log.versions()
    assert versions[HORIZON] > 0
    named = {name.split(":")[1].split("-")[0] for name in versions if name.startswith(("task:", "run:"))}
    assert named == set(kept)
    assert not [name for name in versions if name.startswith("state:task:T00")]
    views = Views(bounded)
    for task, data in rows.items():
        found = views.task(task)
        assert found.sealed == (task not in kept)
        assert found.row is not None and encode(found.row) == data
    assert views.task("never").row is None
    wanted = ["T000", "never", "T039", "open"]
    assert [row.id for row in views.tasks_named(wanted).rows] == ["T000", "T039", "open"]
    assert views.beginning("tasks", "T00", 5).rows == [f"T00{number}" for number in range(5)]
    assert verify(bounded).ok
    assert rebuild(bounded).digests == verify(bounded).digests


def dispatch(store: Store, task: str, read_at: int, floor: int = 0) -> Committed | Rejected:
    event = NewEvent(f"task:{task}", e.TaskDispatched(task, "p", "again", ("tester",)), floor)
    return store.log.commit([Append((event,), "other", "cmd:again", read_at=read_at)], None)[0]


def test_whoever_has_not_read_far_enough_dispatches_nothing_twice(bounded: Store) -> None:
    horizon = bounded.log.versions()[HORIZON]
    assert dispatch(bounded, "T000", horizon - 1) == Rejected("sealed", "task:T000", 0, 0)
    assert dispatch(bounded, "T039", bounded.log.head().seq) != Committed
    assert Views(bounded).task("T000").row is not None  # who has read far enough sees it


def test_late_facts_of_what_is_forgotten_are_refused(bounded: Store) -> None:
    run, row = run_id("T000", 0, 1), Views(bounded).task("T000").row
    assert isinstance(row, Task)
    ended = e.RunEnded(run, "T000", "tester", "lost", source="maestro")
    for expected in (row.slots[0].runs[0].token, row.slots[0].runs[0].version):
        late = Append((NewEvent(f"run:{run}", ended, expected),), "worker:north", str(expected))
        assert bounded.log.commit([late], None)[0] == Rejected("sealed", f"run:{run}", expected, 0)
    retried = Append((NewEvent("task:T000", e.TaskRetried("T000"), row.version),), "cli", "cmd:retry")
    assert bounded.log.commit([retried], None)[0] == Rejected("sealed", "task:T000", row.version, 0)


def test_a_key_of_the_state_may_be_set_again_after_its_version_was_forgotten(bounded: Store) -> None:
    key = "task:T000:result"
    commit(bounded, NewEvent(f"state:{key}", e.StateSet(key, "by hand")))
    assert verify(bounded).ok
    assert forget(bounded) == 0


def test_the_index_is_made_again_where_it_is_gone_damaged_or_of_another_log(
    bounded: Store, sealed: Segments, tmp_path: Path
) -> None:
    path = sealed.folder / "index.sqlite3"
    before = sealed.index.positions(bounded.log, "tasks", ["T000"], 200)
    assert path.is_file()
    assert before == {"T000": [2, 3, 4, 5, 6]}
    crossing = sealed.index.positions(bounded.log, "tasks", ["T002"], 200)
    assert crossing == {"T002": [16, 17, 18, 19, 20]}
    for damage in (b"", b"no database at all" * 300, path.read_bytes()[:4096] + b"\xff" * 4096 * 3):
        path.write_bytes(damage)
        assert HistoryIndex(path).positions(bounded.log, "tasks", ["T000"], 200) == before
    with sqlite3.connect(path) as base:
        base.execute("UPDATE state SET chain = 'x'")
        base.execute("UPDATE found SET positions = '1 '")
    base.close()
    assert HistoryIndex(path).positions(bounded.log, "tasks", ["T000"], 200) == before
    path.unlink()
    assert Views(bounded).task("T000").row is not None
    other = HistoryIndex(tmp_path / "elsewhere" / "deep" / "index")
    assert other.positions(bounded.log, "tasks", ["T000"], 200) == before
    assert other.newest(bounded.log, "tasks", 10**9, 2, 200)[0][0] <= 200


def test_an_index_of_a_log_that_was_erased_answers_for_the_next_one(bounded: Store, sealed: Segments) -> None:
    assert sealed.index.positions(bounded.log, "tasks", ["T000"], 200)
    bounded.erase()
    for number in range(300):
        commit(bounded, NewEvent("state:a", e.StateSet("a", str(number))))
    finished(bounded, "T001")
    assert sealed.index.positions(bounded.log, "tasks", ["T000"], 307) == {}
    found = sealed.index.positions(bounded.log, "tasks", ["T001"], 307)
    assert found == {"T001": [301, 302, 303, 304, 305]}


def test_a_restore_brings_back_what_was_a_row_then(bounded: Store, rows: dict[str, bytes]) -> None:
    restore(bounded, 200)
    kept = left(bounded)
    assert {"T000", "T020", "open"} <= set(kept)
    assert verify(bounded).ok
    views = Views(bounded)
    assert views.task("T039").row is None  # undone
    floor = bounded.log.head().floor
    assert isinstance(dispatch(bounded, "T039", bounded.log.head().seq, floor), Committed)
    assert verify(bounded).ok


def test_what_was_evicted_before_a_restore_to_later_is_still_told(bounded: Store, rows: dict[str, bytes]) -> None:
    restore(bounded, bounded.log.head().seq - 2)
    found = Views(bounded).task("T000")
    assert found.sealed and found.row is not None and encode(found.row) == rows["T000"]


def test_many_rows_that_a_restore_undid_cost_no_more_than_one(bounded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    restore(bounded, 1)
    views = Views(bounded)
    assert [row.id for row in views.tasks_named(["open", "T039"]).rows] == ["open"]
    reads: list[int] = []
    read = bounded.log.read

    def counted(after: int, limit: int) -> list[Event]:
        reads.append(after)
        return read(after, limit)

    monkeypatch.setattr(bounded.log, "read", counted)
    assert not views.tasks_named(["T000"]).rows
    one = len(reads)
    assert not views.tasks_named([f"T{number:03d}" for number in range(40)]).rows
    assert len(reads) == 2 * one


def test_the_audit_of_what_is_no_row_tells_its_whole_story(bounded: Store) -> None:
    lines, _ = audit.page(bounded, audit.Query("T000"))
    assert [line.event.type for line in lines] == [
        *("task.dispatched", "run.released", "run.started", "run.ended", "task.finished")
    ]
    assert audit.page(bounded, audit.Query("task:T000"))[0] == lines
    assert audit.page(bounded, audit.Query(f"run:{run_id('T000', 0, 1)}"))[0]


def test_a_log_that_is_repaired_keeps_what_was_forgotten(bounded: Store, opened: Callable[[], Store]) -> None:
    held = bounded.log.versions()
    assert bounded.log.mend() == ""
    assert opened().log.versions() == held
    assert sealer.due(bounded, 10**9) == []
    Projector(bounded).catch_up()
