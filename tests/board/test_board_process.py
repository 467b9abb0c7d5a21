"""The board as a process: its end, a port that is taken, a store that dies, a timeline that is deleted."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.board.server import listen
from maestro.model.errors import Invalid
from tests.board.boards import RunningBoard, until
from tests.installation import Installation, left_behind


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation without a daemon."""
    with Installation(tmp_path_factory.mktemp("process"), MAESTRO_AUTOSTART="off") as installation:
        installation.json("state", "set", "port", "8080")
        yield installation


@pytest.fixture(scope="module")
def running(place: Installation) -> Iterator[RunningBoard]:
    """A board over it."""
    with RunningBoard(place) as board:
        yield board


def failing(place: Installation, *words: str, **env: str) -> tuple[int, str]:
    """The exit code and stderr of a board that cannot be served."""
    command = [sys.executable, "-m", "maestro", "board", *words]
    done = subprocess.run(command, env={**place.env, **env}, capture_output=True, text=True, timeout=60)
    assert not done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_also_with_streams_that_nobody_reads(place: Installation, number: int) -> None:
    board = RunningBoard(place).enter()
    streams = [board.news() for _ in range(3)]
    assert board.end(number) == (-number, b"")  # which a shell tells as 130 and 143
    for stream in streams:
        stream.cut()


def test_a_port_that_is_taken_is_told_with_the_way_out(place: Installation, running: RunningBoard) -> None:
    code, said = failing(place, "--port", str(running.port))
    assert code == 2
    assert said == (
        f"maestro: 127.0.0.1:{running.port}: the board cannot be served: address already in use; "
        "`--port 0` picks a free port, `--port N` names another\n"
    )
    for number in (-1, 65_536):
        with pytest.raises(Invalid, match="there is no port"):
            listen(number)


def test_without_a_store_it_says_so_in_one_line(place: Installation) -> None:
    code, said = failing(place, "--port", "0", MAESTRO_REDIS_URL="redis://127.0.0.1:1/0")
    assert (code, said.count("\n")) == (5, 1)


def test_whoever_deletes_or_damages_the_timeline_loses_nothing(place: Installation, running: RunningBoard) -> None:
    before = running.ask("/api/view/state?at=1")[2]
    file = next((place.home / "timelines").glob("*.sqlite3"))
    file.unlink()
    assert running.ask("/api/view/state?at=1")[2] == before
    file.write_bytes(b"no database at all" * 1000)
    assert running.ask("/api/view/state?at=1")[2] == before
    assert running.ask("/api/view/state")[0] == 200


def test_a_store_that_died_is_told_and_started_again_and_one_that_was_stopped_is_waited_for(
    place: Installation, running: RunningBoard
) -> None:
    stream = running.news("/api/stream?after=1")
    os.kill(int((place.home / "store" / "server.pid").read_text()), signal.SIGKILL)
    assert stream.until("away")[1]["what"]
    assert stream.until("log")[1]["head"] == 1
    assert running.get("/api/view/state?at=1")[0]["row"] == "port"

    assert place.run("shutdown").returncode == 0
    stream.until("away")
    status, headers, body = running.ask("/api/log")
    error = json.loads(body)["error"]
    assert (status, headers["retry-after"], error["code"]) == (503, "1", "store_away")
    assert error["mend"]
    assert [one for one in left_behind(place.home) if "maestro board" not in one] == []  # looking starts nothing
    place.json("state", "set", "port", "9090")  # as any command, which starts the store
    assert stream.until("log")[1]["head"] > 1
    until(lambda: running.get("/api/view/state")[0]["value"] == "9090")
    stream.cut()


def test_the_address_is_not_among_the_arguments_of_the_browser(place: Installation, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    board = RunningBoard(place, "--open", BROWSER=f"{browser} %s")
    until(seen.exists)
    link = seen.read_text().strip()
    assert "token" not in link
    page = Path(link.removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert board.url in page.read_text()
    board.enter()
    until(lambda: not page.exists())  # once somebody is in
    board.end()


def test_without_a_browser_it_says_so(place: Installation) -> None:
    board = RunningBoard(place, "--open", BROWSER="", PATH=str(place.folder), DISPLAY="")
    assert board.process.stderr is not None
    assert board.process.stderr.readline() == b"maestro: no browser was found here: open the address yourself\n"
    board.end()


def test_of_a_namespace_that_was_flushed_and_filled_again_nothing_old_is_shown(
    place: Installation, running: RunningBoard
) -> None:
    head = running.get("/api/log")["head"]
    _, headers, old = running.ask("/api/view/state?at=1")
    stream = running.news(f"/api/stream?after={head}")
    shown = stream.until("begin")[1]["log"]
    place.json("redis", "flush", "--confirm", place.env["MAESTRO_NAMESPACE"])
    for number in range(head):
        place.json("state", "set", f"new{number}", "1")
    for _ in stream:  # to its end
        pass
    again = running.news(f"/api/stream?after={head}")
    assert again.until("begin")[1]["log"] != shown
    again.cut()
    status, _, now = running.ask("/api/view/state?at=1", f"If-None-Match: {headers['etag']}")
    assert (status, now != old) == (200, True)
    assert running.get("/api/view/state")[0]["row"] == "new0"
