"""`task result` and `task status --full` on a terminal and in a pipe."""

from __future__ import annotations

from typing import Any

from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

HOSTILE = "\x1b]0;title\x07one\x1b[2Jtwo\r\nthree"


def told(**results: str) -> p.Done:
    runs: list[dict[str, Any]] = [
        {"id": f"t-{name}", "target": name, "agent": name, "ended_at": "2026-01-01T00:00:00Z", "result": result}
        for name, result in results.items()
    ]
    return p.Done({"id": "t", "status": "completed", "finished_at": "2026-01-01T00:00:00Z", "runs": runs})


def test_a_terminal_gets_no_control_sequence_and_a_pipe_every_byte(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(told(a=HOSTILE))
    assert maestro.here("task", "result", "t").out == HOSTILE
    shown = maestro.on_terminal("task", "result", "t").out
    assert "\x1b" not in shown and "\x07" not in shown and "one" in shown and shown.endswith("three\n")
    daemon.answers(told(a=HOSTILE, b="plain\n"))
    shown = maestro.on_terminal("task", "result", "t").out
    assert "\x1b" not in shown and "== a ==\n" in shown and shown.endswith("three\n\n== b ==\nplain\n")
    full = maestro.on_terminal("task", "status", "t", "--full").out
    assert "\x07" not in full and full.endswith("three\n\n== b ==\nplain\n")


def test_the_last_run_of_each_target_counts(maestro: CommandLine, daemon: Scripted) -> None:
    done = told(a="first", b="of b")
    again = {**done.data["runs"][0], "id": "t-2", "result": "second"}
    done.data["runs"] += [again, {**again, "id": "t-3", "ended_at": None, "result": ""}]
    daemon.answers(done)
    assert maestro.here("task", "result", "t").out == '{"a":"second","b":"of b"}\n'
