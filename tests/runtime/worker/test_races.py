"""Runs under fire: hints that lie, cancels in a race, poison, agents that stop themselves or reach for more."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest
import redis

from tests.conftest import StoreServer
from tests.runtime.acting import Node, marked


@pytest.fixture
def raw(server: StoreServer) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        yield client


def test_hints_that_are_doubled_stale_garbage_or_lost_start_each_run_once(place: Node, raw: redis.Redis) -> None:
    shared, own = (f"maestro:{{{place.namespace}}}:work{of}" for of in ("", f":{place.id}"))
    before = place.dispatch("run: true", "--to", "w1", "--sync")["runs"][0]
    raw.xadd(own, {"run": before["id"], "token": 1})
    raw.xadd(own, {"run": "no-such-run-0.1", "token": 10**12})
    raw.xadd(shared, {"run": "no-such-run-0.1", "token": 3})
    for garbage in ({"a": "b"}, {"run": "x", "token": "not a number"}, {"token": 1, "run": "turned round", "more": 1}):
        raw.xadd(own, garbage)  # type: ignore[arg-type]
    log = place.folder / "started"
    tasks = [place.dispatch(f"run: echo $MAESTRO_RUN_ID >> {log}; sleep 0.3", "--to", "w1,w2,w3") for _ in range(2)]
    for event in place.events("run.released"):
        raw.xadd(own, {"run": event.subject.removeprefix("run:"), "token": event.seq})
    raw.delete(own, shared)
    assert place.run("task", "wait", *(str(task["id"]) for task in tasks)).returncode == 0
    started = log.read_text().split()
    assert len(started) == len(set(started)) == 6
    assert set(place.ends().values()) == {1}


def test_what_is_cancelled_before_its_start_is_never_spawned(place: Node) -> None:
    busy = place.dispatch("run: sleep 600", "--to", "w1")
    marker = place.folder / "never"
    waiting = place.dispatch(f"run: touch {marker}", "--to", "w1")
    assert place.json("task", "cancel", str(waiting["id"]))["status"] == "cancelled"
    assert place.json("task", "cancel", str(busy["id"]))["status"] == "cancelled"
    place.dispatch("run: true", "--to", "w1", "--sync")
    assert not marker.exists()
    assert place.task(str(waiting["id"]))["runs"] == []


def test_cancel_against_completion_leaves_one_end(place: Node) -> None:
    cancelled: list[str] = []

    def race(number: int) -> None:
        for turn in range(7):
            task = str(place.dispatch(f"run: sleep 0.{turn}", "--to", f"w{number}")["id"])
            time.sleep(0.02 * turn)
            assert place.run("task", "cancel", task).returncode in (0, 4)
            cancelled.append(task)

    racing = [threading.Thread(target=race, args=(number,)) for number in (1, 2, 3)]
    for each in racing:
        each.start()
    for each in racing:
        each.join()
    assert len(cancelled) == 21
    finished = [event.subject for event in place.events("task.finished")]
    assert len(finished) == len(set(finished))
    assert {f"task:{task}" for task in cancelled} <= set(finished)
    assert set(place.ends().values()) == {1}
    rows = {row["id"]: row for row in place.json("task", "list")}
    for row in (rows[task] for task in cancelled):
        assert row["status"] in ("completed", "cancelled")
        assert all(run["outcome"] == ("ok" if row["status"] == "completed" else "cancelled") for run in row["runs"])


def test_a_task_that_kills_whoever_guards_it_is_parked(place: Node) -> None:
    mark = f"poison-{os.urandom(4).hex()}"
    row = place.dispatch(
        f"run: export MARK={mark}; setsid sleep 600 & kill -9 $PPID; sleep 600", "--to", "w2", "--sync", code=1
    )
    assert {run["outcome"] for run in row["runs"]} == {"lost"} and len(row["runs"]) == 4
    assert (row["status"], row["outcome"]) == ("failed", "parked")
    assert not marked(mark)
    place.dispatch("run: true", "--to", "w2", "--sync")


def test_a_run_reaches_nothing_but_state_with_a_clean_environment_or_none(place: Node) -> None:
    clean = f"env -i PATH={place.env['PATH']}"
    home = f"{clean} MAESTRO_HOME={place.home} MAESTRO_REDIS_URL={place.url} MAESTRO_NAMESPACE={place.namespace}"
    own = place.folder / "own home"
    prompt = f"""run:
        {home} maestro task list; echo "admin $?"
        {home} maestro shutdown; echo "shutdown $?"
        (setsid {home} maestro task dispatch x --to w1 & wait $!; echo "detached $?")
        {clean} MAESTRO_HOME='{own}' MAESTRO_AGENTS_DIR={place.agents} maestro task dispatch x --to shell; echo "own $?"
        {clean} MAESTRO_HOME='{own}' maestro state list; echo "own state $?"
        {home} maestro state list >/dev/null; echo "state $?"
    """
    result = place.dispatch(prompt, "--to", "w1", "--sync")["runs"][0]["result"]
    for line in ("admin 4", "shutdown 4", "detached 4", "own 5", "own state 5", "state 0"):
        assert line in result.splitlines(), result
    assert not own.exists()
