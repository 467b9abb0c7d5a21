"""The live screen on a real terminal, of a real daemon with agents that work, wait, print and end."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

from maestro import config
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p
from tests.cli.monitoring.screens import Program
from tests.installation import Installation
from tests.runtime.acting import until

FLOW = """\
steps:
  - id: build
    run: echo built
  - id: gate
    needs: [build]
    approval: {prompt: "Ship it?"}
"""
NOISY = (
    r"run: n=0; while [ ! -e stop ]; do n=$((n+1)); printf 'line %d \033[31m\033[2Jred 日本語\n' $n; sleep 0.3; done"
)
START = [sys.executable, "-m", "maestro", "monitor", "start"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One agent works, a task waits for it, one has worked, one is stopped; a workflow asks."""
    folder = tmp_path_factory.mktemp("screen")
    with Installation(folder) as place:
        place.agent_type("worker")
        for name in ("w1", "w2", "w3"):
            place.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{folder}/{name}")
        place.json("agent", "stop", "w3")
        place.json("task", "dispatch", f"noisy {NOISY}", "--to", "w1", "--async")
        place.json("task", "dispatch", "behind it", "--to", "w1", "--async", "--priority", "1")
        place.json("task", "dispatch", "quick", "--to", "w2", "--sync")
        (folder / "flow.yaml").write_text(FLOW)
        place.json("workflow", "run", str(folder / "flow.yaml"), "--async")
        yield place
        (folder / "w1" / "stop").touch()


@pytest.fixture
def program(place: Installation, request: pytest.FixtureRequest) -> Iterator[Program]:
    """The screen, at work."""
    program = Program(START, place.env | getattr(request, "param", {}))
    program.until(lambda screen: "asks for" in screen.text and "red" in screen.text)
    yield program
    program.close()


def look(place: Installation, **asked: Any) -> dict[str, Any]:
    end = client.execute(p.MonitorLook(**asked), config.load(place.env, place.folder), lambda _: None)
    assert isinstance(end, p.Done), end
    data: dict[str, Any] = end.data
    return data


def test_a_look_tells_what_each_does_and_what_waits_for_what(place: Installation) -> None:
    until(lambda: len(look(place, check=False, lines=2)["agents"][0]["lines"]) == 2 and look(place)["runs"][0]["asks"])
    found = look(place, monitor="m1", present_s=60.0, lines=2)
    assert found["agents_by_state"] == {"all": 3, "active": 1, "failed": 0, "idle": 1, "stopped": 1}
    working, idle, stopped = found["agents"]
    assert working["doing"]["title"].startswith("noisy") and len(working["lines"]) == 2
    assert working["lines"][-1].endswith("red 日本語")
    assert (idle["doing"], idle["did"]["title"], idle["did"]["outcome"]) == (None, "quick", "ok")
    assert stopped["state"] == "stopped"
    assert found["queue"]["counts"] == {"agent": 1} and found["queue"]["running"] == 1
    (waiting,) = found["queue"]["first"]
    assert waiting["title"] == "behind it" and "is busy with task" in waiting["reason"]
    (run,) = found["runs"]
    assert run["steps"] == {"done": 1, "failed": 0, "all": 2} and run["asks"][0]["step"] == "gate"
    assert [node["status"] for node in found["nodes"]] == ["up"] and found["store"]["up"]
    assert "m1" in [monitor["id"] for monitor in found["monitors"]]
    assert found["usage"]["total"] == {"tokens": 0, "cost": 0.0}


def test_a_look_is_bounded_and_still_counts_all(place: Installation) -> None:
    found = look(place, check=False, rows=1)
    assert [row["id"] for row in found["agents"]] == ["w1"] and found["agents_by_state"]["all"] == 3
    assert [row["id"] for row in look(place, check=False, state="stopped")["agents"]] == ["w3"]


def test_the_screen_lives(program: Program) -> None:
    shown = program.screen.text
    assert "AGENTS 3  1 active" in shown and "WORKFLOWS 1 open" in shown and "store up" in shown
    assert "behind it" in shown and "maestro workflow approve" in shown
    first = next(line for line in program.screen.lines if "w1 active" in line)
    program.until(lambda screen: first not in screen.lines)
    sent = len(program.output)
    program.read(3.0)
    assert len(program.output) - sent < 4000
    assert program.screen.cleared == 2  # as it was taken over, and before the first frame: never between frames


def test_keys_filter_open_a_log_that_follows_and_quit(program: Program) -> None:
    program.press(b"s")
    program.until(lambda screen: "only stopped" in screen.text and "w1 active" not in screen.text)
    program.press(b"sg\r")
    program.until(lambda screen: "LOG w1" in screen.text and "line " in screen.text)
    newest = program.screen.lines[22]
    program.until(lambda screen: screen.lines[22] not in ("", newest))
    program.press(b"\t")
    program.until(lambda screen: "LOG w2" in screen.text and "did: quick" in screen.text)
    program.press(b"q?")
    program.until(lambda screen: "KEYS" in screen.text)
    program.press(b"xq")
    assert program.ended() == 0
    assert program.given_back()
    assert "q quit" not in program.output.decode().rpartition("\x1b[?1049l")[2]  # nothing is echoed, nothing stays


def test_another_size_is_drawn_at_once(program: Program) -> None:
    program.resize(50, 12)
    program.until(lambda screen: screen.lines[11].startswith("q quit") and "AGENTS 3" in screen.text)
    program.resize(100, 30)
    program.until(lambda screen: screen.lines[29].startswith("q quit"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_terminal_is_given_back_at_each_end(program: Program, how: signal.Signals) -> None:
    program.process.send_signal(how)
    assert program.ended() == (130 if how == signal.SIGINT else 0)
    assert program.given_back()


def test_it_stops_for_the_shell_and_comes_back(program: Program) -> None:
    program.process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(program.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    program.read(0.2)
    assert program.given_back()
    program.process.send_signal(signal.SIGCONT)
    program.until(lambda screen: screen.other and "AGENTS 3" in screen.text)
    program.press(b"q")
    assert program.ended() == 0 and program.given_back()


def test_a_terminal_that_takes_nothing_does_not_keep_it(program: Program) -> None:
    for _ in range(80):
        program.press(b"\x0c")  # draw all anew; nobody reads it, until the terminal has no room for more
        time.sleep(0.03)
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(30) == 0


@pytest.mark.parametrize("program", [{"NO_COLOR": "1"}], indirect=True)
def test_no_colour_means_no_styles(program: Program) -> None:
    assert not [
        piece for piece in program.output.split(b"\x1b[")[1:] if piece.split(b"m")[0].strip(b"0123456789;") == b""
    ]


def test_a_defect_gives_the_terminal_back_too(place: Installation) -> None:
    code = """
        import os, pathlib, trio
        from maestro import config
        from maestro.cli.monitoring.screen import LiveScreen

        async def main():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(LiveScreen(config.load(os.environ, pathlib.Path.cwd())).run)
                await trio.sleep(1)
                raise RuntimeError("a defect")

        trio.run(main)
    """
    program = Program([sys.executable, "-c", textwrap.dedent(code)], place.env)
    assert program.ended() == 1
    assert program.given_back()
    assert b"RuntimeError: a defect" in program.output.rpartition(b"\x1b[?1049l")[2]
    program.close()


def test_what_is_told_on_stderr_meanwhile_is_told_at_the_end(place: Installation) -> None:
    code = """
        import os, pathlib, sys, trio
        from maestro import config
        from maestro.cli.monitoring.screen import LiveScreen

        async def main():
            screen = LiveScreen(config.load(os.environ, pathlib.Path.cwd()))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(screen.run)
                await trio.sleep(1)
                print("a warning", file=sys.stderr)

        trio.run(main)
    """
    program = Program([sys.executable, "-c", textwrap.dedent(code)], place.env)
    program.until(lambda screen: "AGENTS 3" in screen.text)
    program.read(1.0)
    assert b"a warning" not in program.output
    program.press(b"q")
    assert program.ended() == 0
    assert program.output.rpartition(b"\x1b[?1049l")[2] == b"a warning\r\n"
    program.close()


def test_a_daemon_that_was_shut_down_is_said_to_be_away_and_not_started(place: Installation, program: Program) -> None:
    place.json("shutdown", "--grace-period", "1", "--keep")
    program.until(lambda screen: "no daemon runs on this node" in screen.text and "old)" in screen.text)
    program.read(2.5)  # another look has been asked for by then
    assert "no daemon runs on this node" in program.screen.text
    place.json("up")
    program.until(lambda screen: "no daemon runs" not in screen.text and "AGENTS 3" in screen.text)
