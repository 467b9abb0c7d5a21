"""A run of a workflow that is waited for in the foreground: on a real terminal, and elsewhere."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import click
import pytest

from maestro.cli import completion
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted
from tests.cli.terminals import Terminal
from tests.cli.test_live_tree import NOW, RUN, RUNNING, row

ENDED = {**RUNNING, "status": "completed", "ended_at": "2026-11-30T10:06:00Z", "exit_code": 0, "result": "shipped"}
LATER = "2026-11-30T10:05:00Z"
WAITING = row("ship", "waiting", waiting_for="needs", needs=["ask"])
ASKING = row("ask", "waiting", waiting_for="approval", prompt="Ship it?", agent=None)


def items() -> list[p.Item]:
    """The changes of a run, from its first step to its end."""
    steps: list[dict[str, Any]] = [
        {
            "run": RUNNING,
            "steps": [row("build", "running"), ASKING, WAITING],
            "whole": True,
            "lines": {"build": "cc a.c"},
        },
        {"run": RUNNING, "steps": [], "lines": {"build": "cc b.c"}},
        {"run": RUNNING, "steps": [row("build")], "lines": {}},
        {"run": RUNNING, "steps": [row("ask", agent=None), row("ship", "running", started_at=LATER)]},
        {"run": ENDED, "steps": [row("ship")]},
    ]
    return [p.Item({"now": NOW + n, **step}) for n, step in enumerate(steps)]


def on_terminal(maestro: CommandLine, *args: str, size: tuple[int, int] = (80, 24), **env: str) -> tuple[int, str, str]:
    """Run with stderr on a terminal of a size, stdout on a pipe: exit code, stdout, what the terminal got."""
    main, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "maestro", *args],
        stdin=other,
        stdout=subprocess.PIPE,
        stderr=other,
        env={**maestro.env, "TERM": "xterm", **env},
    )
    os.close(other)
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.stdout is not None
    out = process.stdout.read().decode()
    process.stdout.close()
    return process.wait(30), out, shown.decode()


def test_a_terminal_shows_the_run_as_a_tree_that_stands_at_the_end(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*items(), p.Done(ENDED))
    code, out, shown = on_terminal(maestro, "workflow", "wait", RUN)
    assert daemon.commands == [p.WorkflowWatch(RUN, None, rows=True, lines=True)]
    assert (code, json.loads(out)["result"]) == (0, "shipped")
    assert Terminal().feed(shown).shown() == [
        f"maestro: run {RUN} of deploy v3",
        "deploy v3  completed  6m  3 of 3 ended  1200 tokens  cost 0.50",
        "├─ ✔ build  tester   45s",
        "├─ ✔ ask             45s",
        "└─ ✔ ship   tester   45s",
    ]
    assert "cc b.c" in shown and f"to approve: maestro workflow approve {RUN} ask" in shown
    assert "\x1b[32m✔\x1b[0m" in shown
    assert "\x1b[?25l" not in shown  # the cursor is never hidden


def test_no_colour_means_none(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*items(), p.Done(ENDED))
    _, _, shown = on_terminal(maestro, "workflow", "wait", RUN, NO_COLOR="1")
    assert "\x1b[32m" not in shown and "✔" in shown


def test_notes_are_told_above_the_tree(maestro: CommandLine, daemon: Scripted) -> None:
    first, *rest = items()
    daemon.answers(first, p.Note("the disk is nearly full", "warn"), *rest, p.Done(ENDED))
    _, _, shown = on_terminal(maestro, "workflow", "wait", RUN)
    lines = Terminal().feed(shown).shown()
    assert lines[:3] == [f"maestro: run {RUN} of deploy v3", "maestro: the disk is nearly full", lines[2]]
    assert lines[2].startswith("deploy v3  completed") and len(lines) == 6


LINES = [
    f"maestro: run {RUN} of deploy v3",
    "maestro: build: running, tester",
    f"maestro: ask: asks: Ship it?; to approve: maestro workflow approve {RUN} ask",
    "maestro: build: completed",
    "maestro: ask: completed",
    "maestro: ship: running, tester",
    "maestro: ship: completed",
]


@pytest.mark.parametrize("how", [{"size": (50, 24)}, {"size": (80, 5)}, {"TERM": "dumb"}])
def test_a_narrow_or_dumb_terminal_gets_a_line_for_each_change(
    maestro: CommandLine, daemon: Scripted, how: dict[str, Any]
) -> None:
    daemon.answers(*items(), p.Done(ENDED))
    _, out, shown = on_terminal(maestro, "workflow", "wait", RUN, **how)
    assert shown.replace("\r\n", "\n").splitlines() == LINES
    assert json.loads(out)["status"] == "completed"


def test_a_pipe_gets_a_line_for_each_change_and_the_run_as_json(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*items(), p.Done(ENDED, 7))
    done = maestro.here("workflow", "wait", RUN)
    assert (done.code, done.err.splitlines(), json.loads(done.out)["id"]) == (7, LINES, RUN)
    done = maestro.here("workflow", "wait", RUN, "--quiet")
    assert done.err == ""
    assert daemon.commands[-1] == p.WorkflowWatch(RUN)


def test_what_changed_between_two_looks_is_told_in_the_order_in_which_it_happened(
    maestro: CommandLine, daemon: Scripted
) -> None:
    at = "2026-11-30T10:00:0{}Z"
    steps = [
        row("judge", ended_at=at.format(2)),
        row("judge#2", ended_at=at.format(4)),
        row("fix", ended_at=at.format(1)),
        row("fix#2", ended_at=at.format(3)),
        row("fix#3", "running", started_at=at.format(5)),
    ]
    daemon.answers(p.Item({"now": NOW, "run": RUNNING, "steps": steps, "whole": True}), p.Done(ENDED))
    told = [line.split()[1].rstrip(":") for line in maestro.here("workflow", "wait", RUN).err.splitlines()[1:]]
    assert told == ["fix", "judge", "fix#2", "judge#2", "fix#3"]


def test_a_failure_says_what_was_printed_last_and_what_to_do_next(maestro: CommandLine, daemon: Scripted) -> None:
    steps = [row("a"), row("b", "failed", task="01T", last_line="No rule to make target")]
    daemon.answers(p.Done({**ENDED, "status": "failed", "steps": steps}, 2))
    ways = [
        "maestro: b printed last: No rule to make target",
        f"maestro: to see all of it: maestro workflow logs {RUN} b",
        f"maestro: to go on from what failed: maestro workflow run deploy --resume-from failed --run {RUN}",
    ]
    assert maestro.here("workflow", "wait", RUN).err.splitlines() == ways
    assert maestro.here("workflow", "wait", RUN, "--format", "table").err.splitlines() == ways
    assert maestro.here("workflow", "status", RUN, "--format", "table").err.splitlines() == ways
    assert maestro.here("workflow", "wait", RUN, "--quiet").err == ""
    assert maestro.here("workflow", "status", RUN).err == ""


def test_a_run_that_a_shutdown_holds_says_so_once_and_how_it_goes_on(maestro: CommandLine, daemon: Scripted) -> None:
    held = {**RUNNING, "idle": "node n1 is held: shutdown"}
    item = p.Item({"now": NOW, "run": held, "steps": [], "whole": True})
    daemon.answers(item, item, p.Done({**held, "steps": []}, 1))
    way = "maestro: nothing goes on: node n1 is held: shutdown; to go on: maestro up"
    assert maestro.here("workflow", "wait", RUN).err.splitlines()[1:] == [way]
    assert way in maestro.here("workflow", "status", RUN, "--format", "table").err


def test_ctrl_c_leaves_the_tree_and_says_how_to_go_on(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(*items()[:2])
    ways = [f"to watch it: maestro workflow wait {RUN}", f"to end it: maestro workflow stop {RUN}"]
    last = p.Failed("interrupted", 130, f"interrupted; run {RUN} goes on")
    daemon.until_interrupt = [*(p.Note(way, "below") for way in ways), last]
    main, other = os.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "maestro", "workflow", "wait", RUN],
        stdin=other, stdout=other, stderr=other, env={**maestro.env, "TERM": "xterm"},
    )  # fmt: skip
    os.close(other)
    shown = b""
    while b"cc b.c" not in shown:
        shown += os.read(main, 65536)
    process.send_signal(signal.SIGINT)
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:
        pass
    os.close(main)
    assert process.wait(30) == 130
    lines = Terminal().feed(shown.decode()).shown()
    assert lines[-3:] == [f"maestro: {line}" for line in (*ways, f"interrupted; run {RUN} goes on")]
    assert lines[1].startswith("deploy v3  running")


def test_stopping_all_runs_of_a_workflow_shows_them_and_wants_a_yes(maestro: CommandLine, daemon: Scripted) -> None:
    shown = {"workflow": "deploy", "runs": [RUNNING]}
    daemon.script = lambda it: [p.Item(ENDED), p.Done()] if getattr(it, "runs", ()) else [p.Done(shown)]
    done = maestro.apart("workflow", "stop", "deploy")
    assert (done.code, RUN in done.err, "give --yes" in done.err) == (4, True, True)
    assert daemon.commands == [p.WorkflowStop("deploy")]
    for words, answer, code in ((("--yes",), b"", 0), ((), b"yes\n", 0), ((), b"no\n", 4)):
        del daemon.commands[:]
        done = maestro.on_terminal("workflow", "stop", "deploy", *words, stdin=answer)
        assert (done.code, RUN in done.out) == (code, True)
        assert len(daemon.commands) == (2 if code == 0 else 1)


def test_a_run_is_started_and_then_watched_and_only_then_told(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.script = lambda it: [p.Done(RUNNING)] if isinstance(it, p.WorkflowStart) else [*items(), p.Done(ENDED, 3)]
    done = maestro.here("workflow", "run", "deploy")
    assert (done.code, json.loads(done.out)["status"], done.err.splitlines()) == (3, "completed", LINES)
    assert daemon.commands[-1] == p.WorkflowWatch(RUN, rows=True)
    done = maestro.here("workflow", "run", "deploy", "-q")
    assert (done.code, done.out, done.err) == (3, f"{RUN}\n", "")
    done = maestro.here("workflow", "run", "deploy", "--async")
    assert (done.code, json.loads(done.out)["id"], done.err) == (0, RUN, "")


def test_a_dry_run_tells_handlers_last_and_commands_of_the_echo_as_commands(
    maestro: CommandLine, daemon: Scripted
) -> None:
    one = {"needs": [], "does": "run", "only_after_failure": False, "reused": False, "agents": [".echo"],
           "chosen": "echo", "workflow": None, "prompt": "make", "why": None}  # fmt: skip
    steps = [{**one, "id": "h", "only_after_failure": True}, {**one, "id": "a"}]
    found = {"workflow": "w", "version": 2, "params": {}, "group": None, "resumed_from": None, "children": {}}
    daemon.answers(p.Done({**found, "steps": steps}))
    told = maestro.here("workflow", "run", "w", "--dry-run", "--format", "table").out.splitlines()
    assert told[1::2] == ["1. a: command", "2. h: command, only after a failure or at the end"]


def test_a_run_answers_no_approval_of_its_own(maestro: CommandLine, daemon: Scripted) -> None:
    done = maestro.apart("workflow", "approve", RUN, "ask", MAESTRO_RUN_SOCKET="/nowhere")
    assert (done.code, "inside a run" in done.err) == (4, True)
    assert daemon.commands == []


def test_runs_and_steps_are_completed(daemon: Scripted, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAESTRO_HOME", str(home))
    daemon.answers(p.Item(RUNNING), p.Done())
    assert completion.runs("01J") == [(RUN, "deploy running")]
    assert completion.open_runs("dep") == [("deploy", "all its open runs")]
    assert completion.asking_runs("01J")[0][0] == RUN
    assert daemon.commands[-1] == p.WorkflowRuns(waiting=True, limit=100)
    daemon.answers(p.Done({**RUNNING, "steps": [row("build"), ASKING, WAITING]}))
    ctx = click.Context(click.Command("approve"))
    ctx.params["id"] = RUN
    assert completion.steps(ctx, "a") == [("ask", "waiting approval")]
    assert daemon.commands[-1] == p.WorkflowStatus(RUN)
    assert [name for name, _ in completion.gates(ctx, "")] == ["ask"]
    assert [name for name, _ in completion.beginnings(ctx, "")] == ["failed"]
    ctx.params["source"] = "deploy"
    assert [name for name, _ in completion.beginnings(ctx, "")] == ["failed", "build", "ask", "ship"]
