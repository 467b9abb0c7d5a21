"""Bounded views: every fold has the same rows at the same position, and they are those of a naive model."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings as options

from maestro.model import events as e
from maestro.model.events import Event, NewEvent
from maestro.model.settings import namespace_setting
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections import projector
from projections.bounding import bounds
from projections.bounding.bounds import BOUNDED
from projections.fold import VIEWS, Fold, encode
from projections.lineage import Line, find_cuts
from projections.projector import Projector
from replayers import rewind
from replayers.rebuild import digests, rebuild
from replayers.verify import verify
from tests.projections.histories import World, commit, everything, restore

EVERY, MOST = 7, 1
EVICTED: list[int] = []


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "EVERY", EVERY)
    monkeypatch.setattr(bounds, "MOST", MOST)
    monkeypatch.setattr(namespace_setting, "LIMITS", {namespace_setting.KEEP: (0, 1000)})
    monkeypatch.setattr(namespace_setting, "DEFAULTS", {namespace_setting.KEEP: 4})


class BoundedWorld(World):
    """As any world, with more of what ends, and with what decides on its rows."""

    def event(self) -> NewEvent:
        chance = self.random.random()
        if chance < 0.04:
            value = self.random.choice(("", "0", "1", "2", "5", "many"))
            return NewEvent("setting:views.keep", e.SettingChanged("views.keep", value))
        if chance < 0.6:
            task = f"n{self.random.randrange(40)}"
            facts: tuple[e.AnyFact, ...] = (
                *[e.TaskDispatched(task, "p", "p", ("tester",))] * 2,
                *[e.TaskFinished(task, "completed", "ok", 0)] * 3,
                e.TaskRetried(task),
                e.TaskCancelRequested(task),
            )
            return NewEvent(f"task:{task}", self.random.choice(facts))
        if chance < 0.8:
            run = f"n{self.random.randrange(20)}"
            begun = e.WorkflowRunStarted(run, "deploy", 1, "{}")
            facts = (begun, e.WorkflowRunFinished(run, "completed", "ok"), e.WorkspaceReturned(run, "build", "s1"))
            return NewEvent(f"workflow-run:{run}", self.random.choice(facts))
        return super().event()


def write(store: Store, seed: int, count: int) -> Iterator[int]:
    """Grow a log; yields its end after each append. Now and then it is sealed, and seldom restored."""
    random = Random(seed)
    world = BoundedWorld(random)
    sealed = 0
    for number in range(count):
        head = store.log.head().seq
        if head and random.random() < 0.02:
            restore(store, random.randint(max(0, head - 60), head), name=f"r{seed}-{number}")
        elif random.random() < 0.15 and head > sealed + 1:
            sealed = random.randrange(sealed + 1, head)
            commit(store, NewEvent("log:segments", e.LogSealed(1, sealed, "", "")))
        else:
            commit(store, *(world.event() for _ in range(random.randint(1, 4))), cause=f"cmd:{seed}:{number}")
        yield store.log.head().seq


def naive(events: list[Event], line: Line) -> dict[str, dict[str, bytes]]:
    """The bounded views, one event after the other, with nothing that could be got wrong."""
    fold = Fold(line, bounded=False)
    keep, sealed = 4, 0
    for event in events:
        fold.apply([event])
        if isinstance(event.fact, e.SettingChanged) and event.fact.key == "views.keep":
            keep = int(event.fact.value) if event.fact.value.isdigit() else 4
        if isinstance(event.fact, e.LogSealed):
            sealed = max(sealed, event.fact.last)
        cut = [view for view in BOUNDED.values() if line.holds(event.seq) or not view.FOLLOWS_LINE]
        for view in cut if event.seq % EVERY == 0 else ():
            rows = fold.rows[view.NAME]
            ends = sorted((view.ended(row), row_id) for row_id, row in rows.items() if view.ended(row))
            for end, row_id in ends[: max(0, min(len(ends) - keep, MOST))]:
                if end <= sealed:
                    del rows[row_id]
    return {view: {row_id: encode(row) for row_id, row in fold.rows[view].items()} for view in BOUNDED}


def rows_of(fold: Fold) -> dict[str, dict[str, bytes]]:
    return {view: {row_id: encode(row) for row_id, row in fold.rows[view].items()} for view in BOUNDED}


@options(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), size=st.integers(1, 30))
def test_all_folds_have_the_rows_of_the_naive_one(seed: int, size: int) -> None:
    store = MemoryStore("m")
    end = max(write(store, seed, 120))
    events = everything(store)
    random = Random(seed)
    for position in {end, random.randrange(1, end), random.randrange(1, end)}:
        line = Line(find_cuts(store.log, store.log.head().floor), position)
        wanted = naive(events[:position], line)
        fold = Fold(line)
        for start in range(0, position, size):
            fold.apply(events[start : min(start + size, position)])
        assert rows_of(fold) == wanted
        assert rows_of(rewind.folded(store, position)) == wanted
        EVICTED.append(sum(map(len, fold.evicted.values())))
        for view in BOUNDED:
            assert rewind.folded(store, position, [view]).digest(view) == fold.digest(view)


def test_many_rows_went_in_these_histories() -> None:
    assert sum(EVICTED) > 2 * len(EVICTED) > 0


@options(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), rows_max=st.integers(1, 12))
def test_a_projector_has_them_in_passes_of_any_size(seed: int, rows_max: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "ROWS_MAX", rows_max)
    store, random = MemoryStore("m"), Random(seed)
    live = Projector(store)
    for _ in write(store, seed, 90):
        if random.random() < 0.2:
            live = live if random.random() < 0.7 else Projector(store)
            live.catch_up()
    check(store)


def check(store: Store) -> None:
    """The live views, rebuilt ones and the fold are the same, and nothing is wrong."""
    one = Projector(store)
    position = one.catch_up().seq
    wanted = rewind.folded(store, position).digests()
    assert digests(store, one.generation, list(VIEWS)) == wanted
    assert rebuild(store).digests == wanted
    assert verify(store).ok


def test_stores_of_any_kind_have_them(store: Store) -> None:
    live, random = Projector(store), Random(1)
    for seed in range(2):
        for _ in write(store, seed, 80):
            if random.random() < 0.4:
                live.catch_up()
        check(store)


def test_rows_do_go_and_open_ones_stay(store: Store) -> None:
    for number in range(40):
        task = f"t{number:02d}"
        commit(store, NewEvent(f"task:{task}", e.TaskDispatched(task, "p", "p", ("tester",))))
        if number != 3:
            commit(store, NewEvent(f"task:{task}", e.TaskFinished(task, "completed", "ok", 0)))
    kept = rows_now(store)
    assert len(kept) == 40
    sealed = store.log.head().seq - 10
    commit(store, NewEvent("log:segments", e.LogSealed(1, sealed, "", "")))
    for number in range(EVERY * 40):
        commit(store, NewEvent("state:a", e.StateSet("a", str(number))))
    assert sorted(rows_now(store)) == ["t03", *(f"t{number:02d}" for number in range(35, 40))]


def rows_now(store: Store) -> dict[str, Any]:
    live = Projector(store)
    live.catch_up()
    return dict(store.views.dump(live.generation, "tasks"))
