"""Generations: another fold version, a restore and a rebuild fill a new one beside the live one, then switch."""

from __future__ import annotations

from random import Random
from threading import Event as Flag, Thread

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.errors import LineageBroken
from maestro.model.events import NewEvent
from maestro.store import codec
from maestro.store.contract import Checkpoint, RowChange, Store
from maestro.store.memory.memory_store import MemoryStore
from projections import generations
from projections.projector import NEWER, Projector
from projections.view_reader import Views
from tests.projections.histories import commit, everything, fresh, grow, restore, stored


class Starred(e.Fact, frozen=True):
    """A fact of a later build."""

    task: str


@pytest.fixture
def later_build(monkeypatch: pytest.MonkeyPatch) -> str:
    """Somebody who can append `task.starred`, which nobody here can read."""
    monkeypatch.setitem(e.NAMES, Starred, "task.starred")  # type: ignore[arg-type]
    monkeypatch.setattr(codec, "_decoders", {})
    return "task.starred"


def starred(task: str) -> NewEvent:
    return NewEvent(f"task:{task}", Starred(task))  # type: ignore[arg-type]


def live(store: Store) -> generations.Generation:
    found = generations.parse(store.views.current())
    assert found is not None
    return found


def test_the_first_reader_builds_the_first_generation(store: Store) -> None:
    assert store.views.current() is None
    assert Views(store).agents().rows == []
    assert live(store).build == generations.BUILD
    assert (live(store).cut, live(store).number) == (0, 1)


def test_views_of_another_fold_version_are_built_anew(store: Store) -> None:
    for _ in grow(store, Random(3), 20):
        pass
    old = "1-00000000.0.7"
    head = store.log.head()
    wrong = RowChange("tasks", "wrong", b"{}", {"all": 1})
    store.views.save(old, Checkpoint(), Checkpoint(head.seq, head.chain, head.at), [wrong])
    assert store.views.switch(None, old)
    checkpoint = Projector(store).catch_up()
    assert (checkpoint.seq, live(store).build, live(store).number) == (head.seq, generations.BUILD, 8)
    assert stored(store, live(store).name) == fresh(everything(store)).digests()


def test_views_of_a_later_build_are_read_but_not_built_back(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "old")))
    Projector(store).catch_up()
    newer = "999-00000000.0.1"
    row = RowChange("state", "a", b'{"key":"a","version":1,"value":"new","set_at":1,"more":1}', {"all": 1, "name": 0})
    store.views.save(newer, Checkpoint(), Checkpoint(1, "", 1), [row])
    assert store.views.switch(store.views.current(), newer)
    commit(store, NewEvent("state:b", e.StateSet("b", "later")))
    found = Views(store).state("a", 0)
    assert found.row is not None
    assert (found.row.value, found.checkpoint.seq, found.checkpoint.stopped) == ("new", 1, NEWER)
    assert Views(store).state_list("", 0).checkpoint.stopped == NEWER
    assert store.views.current() == newer
    assert store.views.checkpoint(newer).stopped == ""


def test_an_unknown_event_stops_the_views_which_say_so(store: Store, later_build: str) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    commit(store, NewEvent("state:b", e.StateSet("b", "1")), starred("t1"), NewEvent("state:a", e.StateDeleted("a")))
    commit(store, NewEvent("state:c", e.StateSet("c", "1")))
    for _ in range(2):
        found = Views(store).state_list("", 0)
        assert [row.key for row in found.rows] == ["a", "b"]
        assert found.checkpoint.seq == 2
        assert found.checkpoint.stopped == f"event 3 is {later_build} version 1, which this build does not know"
    assert store.views.checkpoint(live(store).name) == found.checkpoint


def test_a_build_that_knows_the_event_takes_the_views_on(
    store: Store, later_build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")), starred("t1"), NewEvent("state:b", e.StateSet("b", "1")))
    assert Projector(store).catch_up().seq == 1
    monkeypatch.setitem(e.FACTS, later_build, Starred)  # type: ignore[arg-type]
    monkeypatch.setattr(codec, "_decoders", {})
    known = {**_touches(), Starred: ()}
    monkeypatch.setattr("projections.row_cache._all", known)
    checkpoint = Projector(store).catch_up()
    assert (checkpoint.seq, checkpoint.stopped) == (3, "")


def _touches() -> dict[object, object]:
    from projections import row_cache

    return dict(row_cache._all)


def test_a_restore_builds_the_line_that_it_names(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")), NewEvent("node:n", e.NodeJoined("n", "h", "i", 1, 4, "b")))
    commit(store, NewEvent("state:a", e.StateSet("a", "2")), NewEvent("node:n", e.NodeHeld("n")))
    before = Views(store)
    assert before.checkpoint().seq == 4
    cut = restore(store, 2)
    found = before.state("a", 0).row
    assert found is not None
    assert found.value == "1"
    node = before.node("n").row
    assert node is not None
    assert node.held, "a restore does not undo what happened to nodes"
    assert (live(store).cut, live(store).number) == (cut, 2)


def test_a_restore_into_a_cut_part_of_the_log_brings_it_back(store: Store) -> None:
    for value in "123":
        commit(store, NewEvent("state:a", e.StateSet("a", value)))
    restore(store, 1, name="r1")
    commit(store, NewEvent("state:b", e.StateSet("b", "4")))
    views = Views(store)
    assert [(row.key, row.value) for row in views.state_list("", 0).rows] == [("a", "1"), ("b", "4")]
    restore(store, 3, name="r2")
    assert [(row.key, row.value) for row in views.state_list("", 0).rows] == [("a", "3")]
    restore(store, 5, name="r3")
    assert [(row.key, row.value) for row in views.state_list("", 0).rows] == [("a", "1"), ("b", "4")]


def test_readers_never_see_a_half_built_view(store: Store) -> None:
    for number in range(300):
        commit(store, NewEvent(f"state:k{number}", e.StateSet(f"k{number}", "x")))
    Projector(store).catch_up()
    done = Flag()
    seen: list[int] = []

    def read() -> None:
        views = Views(store)
        while not done.is_set():
            found = views.state_list("", 0)
            seen.append(min(found.total, len(found.rows)))

    reader = Thread(target=read)
    reader.start()
    for _ in range(5):
        Projector(store).rebuild()
    done.set()
    reader.join(30)
    assert set(seen) == {300}
    assert live(store).number == 6


def test_two_rebuilds_at_once_are_harmless(store: Store) -> None:
    for _ in grow(store, Random(11), 60, restores=True):
        pass
    rebuilds = [Thread(target=Projector(store).rebuild) for _ in range(3)]
    for rebuild in rebuilds:
        rebuild.start()
    for rebuild in rebuilds:
        rebuild.join(60)
    Projector(store).catch_up()
    assert stored(store, live(store).name) == fresh(everything(store)).digests()


def test_a_build_that_was_broken_off_is_taken_on(store: Store) -> None:
    for start in range(0, 3000, 500):
        events = (NewEvent(f"state:k{n}", e.StateSet(f"k{n}", "x")) for n in range(start, start + 500))
        commit(store, *events)

    class Crash(Exception):
        pass

    def crash(done: int, end: int) -> None:
        raise Crash

    with pytest.raises(Crash):
        Projector(store, crash).catch_up()
    assert store.views.current() is None
    begun = generations.after(None, 0).name
    assert store.views.checkpoint(begun).seq > 0
    told: list[int] = []
    Projector(store, lambda done, end: told.append(done)).catch_up()
    assert told[0] > 1000, "it went on, not back to the start"
    assert stored(store, begun) == fresh(everything(store)).digests()


def test_views_that_are_ahead_of_the_log_are_those_of_another_log() -> None:
    store = MemoryStore("other")
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    projector = Projector(store)
    projector.catch_up()
    name = projector.generation
    before = store.views.checkpoint(name)
    assert store.views.save(name, before, msgspec.structs.replace(before, seq=9), [])
    with pytest.raises(LineageBroken):
        projector.catch_up()
