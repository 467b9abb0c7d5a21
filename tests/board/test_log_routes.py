"""What the board tells of the log: every view at a hundred positions, events, density, the stream of news."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from maestro.config import load
from maestro.model.events import NewEvent, StateSet
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.handlers.replays import rows_at
from maestro.store.contract import Append, Store
from projections.fold import VIEWS, Fold, encode
from replayers import rewind
from tests.board.boards import RunningBoard
from tests.installation import Installation

POSITIONS = 100


@pytest.fixture(scope="module")
def store(installation: Installation) -> Iterator[Store]:
    """The store of the installation."""
    with closing(open_store(load(installation.env, installation.folder))) as opened:
        yield opened


class Folded:
    """The views of a fold, as `rewind.at` takes them from a timeline."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def encoded(self, view: str, /) -> dict[str, bytes]:
        """The rows of a view."""
        return {row_id: encode(row) for row_id, row in sorted(self._fold.rows_of(view).items())}


def printed(store: Store, fold: Fold, view: str) -> bytes:
    """What `replay at` prints of a view as JSON where it folds the log from its start."""
    rows = [msgspec.json.encode(row) for row in rows_at(rewind.at(store, fold.seq, view, None, lambda _: Folded(fold)))]
    return b"[\n" + b",\n".join(rows) + b"\n]\n" if rows else b"[]\n"


def test_every_view_at_a_hundred_positions_is_what_replay_at_prints(
    installation: Installation, board: RunningBoard, store: Store
) -> None:
    head = store.log.head().seq
    assert head >= POSITIONS, head
    assert board.get("/api/log")["restores"]
    link = http.client.HTTPConnection("127.0.0.1", board.port)
    for position in range(head - POSITIONS + 1, head + 1):
        fold = rewind.folded(store, position)
        for view in VIEWS:
            link.request("GET", f"/api/view/{view}?at={position}", headers={"Cookie": board.cookie})
            answer = link.getresponse()
            assert (answer.status, answer.read()) == (200, printed(store, fold, view)), (position, view)
    link.close()
    for view in ("tasks", "workflow_runs"):
        shown = installation.run("replay", "at", str(head - 20), view, "--format", "json").stdout.encode()
        assert board.ask(f"/api/view/{view}?at={head - 20}")[2] == shown
        assert shown != b"[]\n"


def test_a_view_of_the_past_is_asked_for_once(board: RunningBoard) -> None:
    status, headers, body = board.ask("/api/view/tasks?at=30")
    assert (status, headers["cache-control"]) == (200, "private, no-cache")
    tag = f"If-None-Match: {headers['etag']}"
    assert board.ask("/api/view/tasks?at=30", tag)[::2] == (304, b"")
    assert board.ask("/api/view/tasks?at=31", tag)[0] == board.ask("/api/view/agents?at=30", tag)[0] == 200
    assert body


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        *(("/api/view/none", 400, "invalid"), ("/api/view/tasks?at=999999", 400, "invalid")),
        *(("/api/view/tasks?at=-1", 400, "invalid"), ("/api/view/tasks?at=1e3", 400, "invalid")),
        *((f"/api/view/tasks?at={'9' * 5000}", 400, "invalid"), ("/api/view/tasks?at=%D9%A1", 400, "invalid")),
        *(("/api/density?buckets=0", 400, "invalid"), ("/api/density?buckets=99999", 400, "invalid")),
        *(("/api/events?limit=0", 400, "invalid"), ("/api/stream?after=x", 400, "invalid")),
        ("/api/none", 404, "not_found"),
    ],
)
def test_a_bad_question_is_told_as_one(board: RunningBoard, path: str, status: int, code: str) -> None:
    found, headers, body = board.ask(path)
    error = json.loads(body)["error"]
    assert (found, error["code"], headers["content-type"]) == (status, code, "application/json")
    assert error["what"] and error["mend"] and len(body) < 500


def test_events_are_those_of_events_tail_page_by_page(installation: Installation, board: RunningBoard) -> None:
    tail = installation.json("events", "tail", "--from", "1", "--limit", "1000", "--format", "json")
    head = len(tail)
    found, path = [], f"/api/events?at={head}&limit=30"
    further = None
    while True:
        page = board.get(path if further is None else f"{path}&before={further}")
        found += page["events"]
        further = page["further"]
        if further is None:
            break
    assert found == tail[::-1]
    assert board.get(f"/api/events?at={head}&after=10&limit=3")["events"] == tail[10:13]
    assert board.get("/api/events?at=20&limit=2")["events"] == tail[18:20][::-1]
    ended = [event for event in tail if event["type"] == "run.ended"]
    assert board.get(f"/api/events?at={head}&kind=run.ended")["events"] == ended[::-1]
    runs = [event for event in tail if event["type"].startswith("run.")]
    assert board.get(f"/api/events?at={head}&kind=run&limit=1000")["events"] == runs[::-1]
    task = runs[0]["data"]["task"] if "task" in runs[0]["data"] else runs[0]["subject"].partition(":")[2]
    about = [event for event in tail if event["subject"] == f"task:{task}"]
    assert board.get(f"/api/events?at={head}&subject=task:{task}")["events"] == about[::-1]


def test_the_density_counts_every_event(board: RunningBoard) -> None:
    head = board.get("/api/log")["head"]
    buckets = board.get("/api/density?buckets=7")["buckets"]
    assert sum(bucket["count"] for bucket in buckets) == head
    assert len(buckets) <= 7
    assert all(sum(bucket["kinds"].values()) == bucket["count"] for bucket in buckets)
    assert all(bucket["first_at"] <= bucket["last_at"] and bucket["first_at"].endswith("Z") for bucket in buckets)


def add(store: Store, count: int) -> int:
    """Append events about the state; the last position."""
    for number in range(count):
        event = NewEvent(f"state:n{number % 3}", StateSet(f"n{number % 3}", str(number)))
        store.log.commit([Append((event,), "test", "test")], None)
    return store.log.head().seq


def test_nothing_is_lost_where_the_stream_is_cut(board: RunningBoard, store: Store) -> None:
    known, end = board.get("/api/log")["head"], 0
    asked = ("/api/stream?after=0", f"Last-Event-ID: {known}")
    for _ in range(4):
        stream = board.news(*asked)
        end = add(store, 5)
        position, data = stream.until("log")
        assert position is not None
        assert position == data["head"] > known
        assert "state" in data["views"]
        known = position
        stream.cut()
        end = add(store, 5)  # while nobody listens
        asked = (f"/api/stream?after={known - 3}", f"Last-Event-ID: {known}")
    stream = board.news(*asked)
    while known < end:
        position, data = stream.until("log")
        assert position is not None and position > known
        assert data["views"] == ["state"]
        known = position
    stream.cut()
    assert known == end


def test_a_new_reader_is_told_that_all_may_have_changed(board: RunningBoard) -> None:
    stream = board.news("/api/stream")
    assert stream.until("log")[1]["views"] == sorted(VIEWS)
    _, sample = stream.until("sample")
    assert sample["agents"]["ann"]["heartbeat_at"].endswith("Z")
    stream.cut()


def test_it_is_told_that_no_node_is_up(board: RunningBoard, installation: Installation) -> None:
    os.kill(int(installation.json("up")["pid"]), signal.SIGKILL)
    stream = board.news("/api/stream")
    assert stream.until("still")[1]["why"] == "no node is up, so nothing goes on; `maestro up` starts this one"
    installation.json("up")
    assert stream.until("still")[1]["why"] == ""
    stream.cut()
