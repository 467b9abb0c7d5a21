"""The projector: at any prefix of any log the stored views are what a fresh fold of it says, each event once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from random import Random
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings, strategies as st

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.ids import run_id
from maestro.store.contract import Append, Saving, Store
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import Fold
from projections.projector import Projector
from projections.view_reader import Views
from tests.projections.histories import commit, everything, fresh, grow, restore, stored


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), restores=st.booleans())
def test_views_at_every_prefix_of_a_random_log_are_those_of_a_fresh_fold(seed: int, restores: bool) -> None:
    store = MemoryStore("prefixes")
    random = Random(seed)
    projectors = [Projector(store) for _ in range(3)]
    for head in grow(store, random, 25, restores):
        if random.random() < 0.6:
            caught_up(store, random.choice(projectors), head)


@pytest.mark.parametrize("seed", [1, 2])
def test_so_they_are_on_every_store(opened: Callable[[], Store], seed: int) -> None:
    random = Random(seed)
    stores = [opened(), opened()]
    projectors = [Projector(store) for store in stores]
    for head in grow(stores[0], random, 40, restores=True):
        if random.random() < 0.6:
            which = random.randrange(2)
            caught_up(stores[which], projectors[which], head)


def caught_up(store: Store, projector: Projector, head: int) -> None:
    """Catch up, and compare everything with a fold that was never saved."""
    checkpoint = projector.catch_up()
    at_head = store.log.head()
    assert (checkpoint.seq, checkpoint.stopped, checkpoint.floor) == (head, "", at_head.floor)
    assert checkpoint.chain == at_head.chain
    assert store.views.current() == projector.generation
    assert stored(store, projector.generation) == fresh(everything(store)).digests()


def test_many_events_are_saved_in_chunks(store: Store) -> None:
    for start in range(0, 2500, 500):
        keys = [f"k{n % 1700}" for n in range(start, start + 500)]
        commit(store, *(NewEvent(f"state:{key}", e.StateSet(key, "x")) for key in keys))
    told: list[tuple[int, int]] = []
    checkpoint = Projector(store, lambda done, end: told.append((done, end))).catch_up()
    assert checkpoint.seq == 2500
    assert told[-1] == (2500, 2500)
    found = Views(store).state_list("", 0)
    assert (found.total, len(found.rows)) == (1700, 1700)


def dispatched(number: int) -> NewEvent:
    return NewEvent(f"task:t{number}", e.TaskDispatched(f"t{number}", "go", "go", ("a",)), 0)


def test_a_new_generation_is_folded_while_its_last_save_is_answered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 1500, 500):
        commit(store, *map(dispatched, range(start, start + 500)))
    order: list[str] = []
    send, load, apply = store.views.send, store.views.load, Fold.apply

    class Told:
        def __init__(self, saving: Saving) -> None:
            self.abandon = saving.abandon
            self._saving = saving

        def result(self) -> bool:
            order.append("answer")
            return self._saving.result()

    monkeypatch.setattr(store.views, "send", lambda *of: [order.append("send"), Told(send(*of))][1])
    monkeypatch.setattr(store.views, "load", lambda *of: [order.append("load"), load(*of)][1])
    monkeypatch.setattr(Fold, "apply", lambda *of: [order.append("fold"), apply(*of)][1])
    Projector(store).catch_up()
    assert order == ["fold", "send", "fold", "answer", "send", "fold", "answer", "send", "answer"]
    order.clear()
    commit(store, dispatched(1500))
    Projector(store).catch_up()
    assert order == ["fold", "send", "answer"]


def test_a_builder_whose_save_was_refused_meanwhile_goes_on_from_the_winner(store: Store) -> None:
    for start in range(0, 3000, 500):
        commit(
            store, *(NewEvent(f"state:k{n % 1300}", e.StateSet(f"k{n % 1300}", "x")) for n in range(start, start + 500))
        )
    other = Projector(store)
    told: list[int] = []

    def progress(done: int, _end: int) -> None:
        if not told:
            other.catch_up()
        told.append(done)

    slow = Projector(store, progress)
    assert slow.catch_up().seq == 3000
    assert slow.generation == other.generation
    assert stored(store, slow.generation) == fresh(everything(store)).digests()


def test_any_number_of_threads_fold_each_event_once(opened: Callable[[], Store]) -> None:
    store = opened()
    stores = [opened() for _ in range(4)]
    commit(store, NewEvent("agent:a", e.AgentAssigned("a", "shell", {}, "/w")))
    together = Barrier(5)
    failures: list[BaseException] = []

    def follow(own: Store) -> None:
        projector = Projector(own)
        try:
            together.wait(20)
            while projector.catch_up().seq < 301:
                pass
        except BaseException as failure:
            failures.append(failure)

    threads = [Thread(target=follow, args=(own,)) for own in stores]
    for thread in threads:
        thread.start()
    together.wait(20)
    for number in range(300):
        run = run_id(f"t{number}", 0, 1)
        commit(store, NewEvent(f"run:{run}", e.RunUsageReported(run, f"t{number}", "a", 1, 2, 0.5)))
    for thread in threads:
        thread.join(60)
    assert not failures
    agent = Views(store).agent("a").row
    assert agent is not None
    assert (agent.input_tokens, agent.output_tokens, agent.cost) == (300, 600, 150.0)
    assert stored(store, str(store.views.current())) == fresh(everything(store)).digests()


FOLLOWER = """
import sys
from maestro.store.redis.redis_store import open_redis
from projections.projector import Projector
projector = Projector(open_redis(sys.argv[1], sys.argv[2]))
print("ready", flush=True)
while projector.catch_up().seq < int(sys.argv[3]):
    pass
"""


def test_any_number_of_processes_fold_each_event_once(
    server_kind: str, namespace: str, shared_server: Callable[[str], object], open_at: Callable[..., Store]
) -> None:
    url = shared_server(server_kind).url  # type: ignore[attr-defined]
    store = open_at(url)
    last = 400
    command = [sys.executable, "-c", FOLLOWER, url, namespace, str(last)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    followers = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    try:
        for follower in followers:
            assert follower.stdout is not None
            assert follower.stdout.readline() == b"ready\n"
        random = Random(7)
        for head in grow(store, random, last, restores=True):
            if head >= last:
                break
        assert [follower.wait(60) for follower in followers] == [0, 0, 0]
        Projector(store).catch_up()
        assert stored(store, str(store.views.current())) == fresh(everything(store)).digests()
    finally:
        for follower in followers:
            follower.kill()
            follower.wait()
            assert follower.stdout is not None
            follower.stdout.close()
        store.erase()


def test_a_catch_up_that_lost_its_save_goes_on_from_the_winner(store: Store) -> None:
    slow, quick = Projector(store), Projector(store)
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    slow.catch_up()
    commit(store, NewEvent("state:a", e.StateSet("a", "2")), NewEvent("state:b", e.StateSet("b", "2")))
    quick.catch_up()
    commit(store, NewEvent("state:a", e.StateDeleted("a")))
    assert slow.catch_up().seq == 4
    assert [row.key for row in Views(store).state_list("", 0).rows] == ["b"]
    assert stored(store, slow.generation) == fresh(everything(store)).digests()


def test_versions_are_those_that_the_log_wants_after_a_restore(store: Store) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1"), 0))
    commit(store, NewEvent("state:a", e.StateSet("a", "2"), 1))
    restore(store, 1, NewEvent("state:b", e.StateSet("b", "x")))
    found = Views(store).state("a", 0)
    assert found.row is not None
    assert (found.row.value, found.checkpoint.floor) == ("1", 4)
    (result,) = store.log.commit(
        [Append((NewEvent("state:a", e.StateDeleted("a"), found.checkpoint.floor),), "cli:test", "cmd:1")], None
    )
    assert getattr(result, "first", None) == 5
    assert Views(store).state("a", 0).row is None
