"""What an answer looks like: JSON in a pipe, a table on a terminal, and nothing that a row says can act."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from maestro.cli.escape import escaped, plain
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

ROWS = (p.Item({"id": "a", "state": "idle"}), p.Item({"id": "b", "state": "active"}))
HOSTILE = "x\x1b[31m\x07\nroot# \x9b2J\u202eevil"


def test_a_list_is_json_with_one_object_a_line(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    result = maestro.here("agent", "list")
    assert result == (0, '[\n{"id":"a","state":"idle"},\n{"id":"b","state":"active"}\n]\n', "")
    assert json.loads(result.out)[1]["id"] == "b"


def test_an_empty_list_is_json_too(maestro: CommandLine, daemon: Scripted) -> None:
    assert maestro.here("agent", "list") == (0, "[]\n", "")


def test_a_list_that_is_cut_says_so_and_how_to_see_more(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done(cut=p.Cut(2, "tasks", "--limit 20000 shows all", 20_000)))
    told = "maestro: only 2 of 20000 tasks are shown; --limit 20000 shows all\n"
    whole = maestro.here("queue", "status", "--limit", "2")
    assert (len(json.loads(whole.out)), whole.err) == (2, told)
    counted = maestro.here("queue", "status", "--limit", "2", "--counted")
    assert json.loads(counted.out) == {"rows": [row.data for row in ROWS], "truncated": True, "total": 20_000}
    assert counted.err == told
    assert maestro.here("task", "list", "--format", "table").err == told
    assert told.rstrip() in maestro.on_terminal("state", "snapshots").out


def test_a_list_that_is_whole_can_be_told_from_one_that_is_cut(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    assert maestro.here("task", "list").err == ""
    assert json.loads(maestro.here("task", "list", "--counted").out)["total"] == 2
    daemon.answers(p.Done())
    empty = json.loads(maestro.here("events", "tail", "--counted").out)
    assert empty == {"rows": [], "truncated": False, "total": 0}


def test_last_prints_one_object(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"id": "01J"}))
    assert json.loads(maestro.here("task", "list", "--last").out)["id"] == "01J"
    assert daemon.commands == [p.TaskList(last=True)]


def test_the_format_can_be_chosen_on_either_side(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    assert maestro.here("agent", "list", "--format", "table").out.splitlines()[1].split()[0] == "a"
    assert json.loads(maestro.on_terminal("agent", "list", "--format", "json").out)[0]["id"] == "a"


def test_a_terminal_gets_a_table(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    shown = maestro.on_terminal("agent", "list").out
    assert "AGENT" in shown and "{" not in shown


def test_a_table_without_rows_says_so_on_stderr(maestro: CommandLine, daemon: Scripted) -> None:
    result = maestro.here("task", "list", "--format", "table")
    assert result == (0, "", "maestro: no tasks\n")


def test_a_long_row_stays_one_line_where_no_terminal_is(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item({"id": "a", "workspace": "/w" * 3000}), p.Done())
    assert len(maestro.here("agent", "list", "--format", "table").out.splitlines()) == 2


@pytest.mark.parametrize("command", [("agent", "list"), ("state", "list"), ("audit",), ("task", "status", "x")])
def test_nothing_in_a_row_acts_on_a_terminal(maestro: CommandLine, daemon: Scripted, command: tuple[str, ...]) -> None:
    row = {name: HOSTILE for name in ("id", "role", "key", "value", "because", "title", "prompt")}
    daemon.answers(p.Item(row), p.Done(row))
    for chosen in ((), ("--format", "json")):
        shown = maestro.on_terminal(*command, *chosen).out
        assert "x\\" in shown
        assert not {"\x07", "\x9b", "\u202e"} & set(shown)
        assert "\x1b[31m" not in shown and "\nroot#" not in shown


def test_logs_keep_their_lines_on_a_terminal_but_no_control_sequences(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Output("one\n\x1b[2J\x1b]0;title\x07two\r\nthree\x1b"), p.Done())
    shown = maestro.on_terminal("task", "logs", "x").out
    assert shown == "one\ntwo\nthree\\x1b"


def test_logs_go_into_a_pipe_as_they_are(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Output("one\x1b[2J\n"), p.Done())
    assert maestro.here("agent", "logs", "x").out == "one\x1b[2J\n"


def test_notes_go_to_stderr_and_progress_only_to_a_terminal(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Note("low disk", "warn"), p.Note("1 of 2", "progress"), p.Done({"id": "t"}))
    result = maestro.here("task", "dispatch", "x", "--to", "a", "--sync")
    assert result.err == "maestro: low disk\n"
    assert "1 of 2" in maestro.on_terminal("task", "dispatch", "x", "--to", "a", "--sync").out


def test_the_last_lines_of_agents_stand_below_the_progress_on_a_terminal_only(
    maestro: CommandLine, daemon: Scripted
) -> None:
    below = [HOSTILE, "a\tb " + "wide 漢字 " * 40]
    daemon.answers(p.Note("task t: a running", "progress", below), p.Done({"id": "t"}))
    for command in (("task", "dispatch", "x", "--to", "a", "--sync"), ("task", "wait", "t")):
        alone = maestro.here(*command)
        assert alone.err == "" and "wide" not in alone.out
        shown = maestro.on_terminal(*command, COLUMNS="60").out
        assert "task t: a running" in shown and "root#" in shown and "x\\x1b[31m" in shown
        assert not {"\x07", "\x9b", "\u202e"} & set(shown) and "\x1b[31m" not in shown
        assert "\x1b[?25l" not in shown  # the cursor stays: a command that is killed cannot show it again
        (line,) = {line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).split("\n") if "wide" in line}
        assert line.strip().startswith("a   b wide") and "…" in line
        assert cell_len(line.replace("\r", "")) <= 60


def test_a_terminal_is_where_progress_would_be_shown(maestro: CommandLine, daemon: Scripted) -> None:
    maestro.here("task", "wait", "t")
    maestro.on_terminal("task", "wait", "t")
    assert [caller.terminal for caller in daemon.callers] == [False, True]


def test_a_followed_stream_is_json_lines(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item({"seq": 1}), p.Item({"seq": 2}), p.Done())
    assert maestro.here("events", "tail", "--follow").out == '{"seq":1}\n{"seq":2}\n'


def test_an_export_is_json_lines(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item({"seq": 1}), p.Item({"seq": 2}), p.Done())
    assert maestro.here("events", "export", "--from", "7").out == '{"seq":1}\n{"seq":2}\n'
    assert daemon.commands == [p.EventsExport(from_position=7)]


def test_health_is_text_unless_json_is_asked_for(maestro: CommandLine, daemon: Scripted) -> None:
    checks = [{"name": "process", "ok": True}, {"name": "disk", "ok": False, "detail": "1 MB free"}]
    daemon.answers(p.Done({"id": "a", "status": "unhealthy", "checks": checks, "log": ["l1", "l2"]}, 1))
    result = maestro.here("agent", "health", "a")
    assert result.code == 1
    assert result.out == "status: unhealthy\nok: process\nfailed: disk: 1 MB free\nlog:\nl1\nl2\n"
    assert json.loads(maestro.here("agent", "health", "a", "--format", "json").out)["status"] == "unhealthy"


def test_a_dispatched_task_is_its_json_in_a_pipe_and_its_id_on_a_terminal(
    maestro: CommandLine, daemon: Scripted
) -> None:
    daemon.answers(p.Done({"id": "01J", "status": "queued"}))
    assert json.loads(maestro.here("task", "dispatch", "x", "--to", "a").out)["status"] == "queued"
    assert maestro.here("task", "dispatch", "x", "--to", "a", "-q").out == "01J\n"
    assert maestro.on_terminal("task", "dispatch", "x", "--to", "a").out == "01J\n"


def test_a_state_value_can_be_had_raw(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"key": "k", "value": "two\nlines"}))
    assert maestro.here("state", "get", "k", "--raw").out == "two\nlines\n"


def test_a_reader_that_goes_away_is_no_error(env: dict[str, str], daemon: Scripted) -> None:
    daemon.script = lambda _: [*(p.Item({"seq": n, "data": "x" * 1000}) for n in range(3000)), p.Done()]
    with subprocess.Popen(
        [sys.executable, "-m", "maestro", "events", "export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_below_stdout_is_one_line(env: dict[str, str], daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "maestro", "agent", "list"], stdout=full, stderr=subprocess.PIPE, env=env, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == b"maestro: standard output: cannot write the answer: No space left on device\n"


def test_a_closed_stdout_is_borne(env: dict[str, str], daemon: Scripted) -> None:
    daemon.answers(*ROWS, p.Done())
    done = subprocess.run(
        [sys.executable, "-m", "maestro", "agent", "list"],
        stderr=subprocess.PIPE,
        env=env,
        timeout=60,
        preexec_fn=lambda: os.close(1),
    )
    assert (done.returncode, done.stderr) == (0, b"")


PRINTING = [
    ("--help",),
    ("--version",),
    (),
    ("task",),
    ("task", "--help"),
    ("task", "dispatch", "--help"),
    ("agent", "list"),
]


@pytest.mark.parametrize("words", PRINTING)
def test_whatever_is_printed_a_full_disk_is_one_line(
    env: dict[str, str], daemon: Scripted, words: tuple[str, ...]
) -> None:
    daemon.answers(*ROWS, p.Done())
    command = [sys.executable, "-m", "maestro", *words]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=env, timeout=60)
        assert done.returncode == 1
        assert done.stderr == b"maestro: standard output: cannot write the answer: No space left on device\n"
        assert subprocess.run(command, stdout=full, stderr=full, env=env, timeout=60).returncode == 1


@pytest.mark.parametrize("words", PRINTING)
def test_whatever_is_printed_closed_streams_and_readers_that_go_away_are_borne(
    env: dict[str, str], daemon: Scripted, words: tuple[str, ...]
) -> None:
    daemon.answers(*ROWS, p.Done())
    script = '"$0" -m maestro "$@"'
    for how, code in (
        (f"{script} >&-", 0),
        (f"{script} >/dev/null 2>&-", 0),
        (f"set -o pipefail; {script} | true", 141),
    ):
        command = ["bash", "-c", how, sys.executable, *words]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, timeout=60)
        assert (done.returncode in (0, code), done.stderr) == (True, b"")


def test_what_went_wrong_has_its_exit_code_where_nobody_can_be_told(env: dict[str, str]) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "maestro", "nonsense"]
        assert subprocess.run(command, stderr=full, env=env, timeout=60).returncode == 2


def test_what_is_escaped_can_be_read() -> None:
    assert escaped("a\tb\x00\u2066") == "a\\tb\\x00\\u2066"
    assert plain("a\tb\x1b[1;31mred\x1b[0m\n") == "a\tbred\n"
