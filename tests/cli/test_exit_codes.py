"""Exit codes and the one line that says what went wrong, whoever finds it: the parser, the client or the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from maestro.config import Settings
from maestro.runtime.client import daemon_start
from maestro.runtime.node.daemon_lock import DaemonLock
from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine, Result
from tests.cli.scripted import Scripted


def one_line(result: Result) -> str:
    """The line on stderr; there must be one, and nothing on stdout."""
    assert result.out == ""
    assert result.err.count("\n") == 1 and result.err.startswith("maestro: ")
    return result.err.removeprefix("maestro: ").rstrip("\n")


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 124])
def test_a_failure_keeps_its_exit_code_and_its_line(maestro: CommandLine, daemon: Scripted, code: int) -> None:
    daemon.answers(p.Failed("x", code, "no such agent 'a'", "agent a", "see `maestro agent list`"))
    result = maestro.here("agent", "restart", "a")
    assert result.code == code
    assert one_line(result) == "agent a: no such agent 'a'; see `maestro agent list`"


def test_the_exit_code_of_the_agents_is_that_of_the_command(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"id": "t", "status": "failed"}, 7))
    assert maestro.here("task", "dispatch", "x", "--to", "a", "--sync").code == 7
    assert maestro.here("task", "wait", "t").code == 7


def test_a_list_that_fails_half_way_is_not_closed(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item({"id": "a"}), p.Failed("store_away", 5, "the store went away"))
    result = maestro.here("task", "list")
    assert result == (5, '[\n{"id":"a"}', "maestro: the store went away\n")


def test_a_message_with_newlines_is_one_line(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Failed("invalid", 2, "no agent 'a\nb\x1b[2J'"))
    assert one_line(maestro.here("agent", "restart", "a\nb")) == "no agent 'a\\nb\\x1b[2J'"


def test_tracebacks_are_for_debug_only(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Failed("defect", 1, "defect in maestro", traceback="Traceback: deep"))
    assert one_line(maestro.here("agent", "list")) == "defect in maestro"
    maestro.env["MAESTRO_LOG_LEVEL"] = "DEBUG"
    assert "Traceback: deep" in maestro.here("agent", "list").err


def test_a_server_that_ends_without_an_answer_is_said(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers()
    result = maestro.here("agent", "list")
    assert result.code == 5
    assert "ended before it answered" in result.err


def test_no_traceback_for_settings_that_cannot_be(maestro: CommandLine, daemon: Scripted) -> None:
    maestro.env["MAESTRO_MAX_CONCURRENT"] = "many"
    result = maestro.here("agent", "list")
    assert result.code == 2
    assert "MAESTRO_MAX_CONCURRENT" in one_line(result)


def test_ctrl_c_is_told_to_the_server_and_gives_130(env: dict[str, str], daemon: Scripted) -> None:
    daemon.answers(p.Note("waiting", "info"))
    daemon.until_interrupt = [p.Failed("interrupted", 130, "task 01J goes on; `maestro task wait 01J`")]
    with subprocess.Popen(
        [sys.executable, "-m", "maestro", "task", "wait", "01J"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
    ) as process:
        assert process.stderr and process.stdout
        assert process.stderr.readline() == "maestro: waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "maestro: task 01J goes on; `maestro task wait 01J`\n"
        assert process.stdout.read() == ""
    assert process.returncode == 130
    assert daemon.interrupted.is_set()


def test_a_second_ctrl_c_does_not_wait_for_the_server(env: dict[str, str], daemon: Scripted) -> None:
    daemon.answers(p.Note("waiting"))
    daemon.until_interrupt = []
    with subprocess.Popen(
        [sys.executable, "-m", "maestro", "events", "tail", "--follow"], stderr=subprocess.PIPE, env=env, text=True
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == "maestro: waiting\n"
        process.send_signal(signal.SIGINT)
        daemon.interrupted.wait(10)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
    assert process.returncode == 130


def test_inside_a_run_only_state_is_offered(maestro: CommandLine, home: Path, daemon: Scripted) -> None:
    run = Scripted(home / "run.sock")
    run.answers(p.Done({"key": "k", "value": "v"}))
    maestro.env |= {"MAESTRO_RUN_SOCKET": str(home / "run.sock"), "MAESTRO_RUN_TOKEN": "12"}
    assert maestro.here("state", "set", "k", "v").code == 0
    assert run.commands == [p.StateSet("k", "v")]
    assert "MAESTRO_RUN_TOKEN" not in run.callers[0].env
    for command in (["agent", "list"], ["task", "dispatch", "x", "--to", "a"], ["redis", "flush"], ["worker"]):
        result = maestro.here(*command)
        assert result.code == 4
        assert "may use `maestro state` only" in one_line(result)
    assert daemon.commands == []
    run.close()


def test_a_run_whose_socket_is_gone_is_told_so(maestro: CommandLine, home: Path, daemon: Scripted) -> None:
    maestro.env["MAESTRO_RUN_SOCKET"] = str(home / "gone.sock")
    result = maestro.here("state", "list")
    assert result.code == 5
    assert "gone.sock" in one_line(result)
    assert daemon.commands == []


def test_a_socket_of_another_user_is_refused(maestro: CommandLine, home: Path, daemon: Scripted) -> None:
    if os.geteuid() == 0:  # only root can give a file away
        os.chown(home / "daemon.sock", 1, 1)
        result = maestro.here("agent", "list")
        assert result.code == 4
        assert "another user" in one_line(result)
    assert daemon.commands == []


def test_of_what_is_cancelled_the_ids_alone_are_printed_where_that_is_asked_for(
    maestro: CommandLine, daemon: Scripted
) -> None:
    daemon.answers(p.Done({"id": "t", "status": "cancelled"}))
    assert maestro.here("task", "cancel", "-q", "t").out == "t\n"
    assert maestro.here("task", "cancel", "-q", "t", "u", "--format", "json").out == "t\nt\n"


def test_without_autostart_a_node_is_not_started(maestro: CommandLine) -> None:
    maestro.env["MAESTRO_AUTOSTART"] = "false"
    result = maestro.here("task", "dispatch", "x", "--to", "a")
    assert result.code == 4
    assert "maestro up" in one_line(result)


def test_another_build_is_waited_for_by_commands_that_need_the_node(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.greetings = [p.Skew("1.1.0", 1, 2), p.Skew("1.1.0", 1, 1)]
    daemon.answers(p.Done({"id": "t"}))
    result = maestro.here("task", "cancel", "t")
    assert result.code == 0
    assert result.err.count("\n") == 1 and "build 1.1.0" in result.err and "2 runs" in result.err
    assert daemon.commands == [p.TaskCancel("t")]


def test_a_daemon_that_starts_anew_as_the_other_build_again_is_not_waited_for(
    maestro: CommandLine, daemon: Scripted, home: Path
) -> None:
    lock = DaemonLock.take(home)
    lock.say("starting")
    daemon.greetings = [p.Skew("1.1.0", 1, 1), p.Skew("1.1.0", 1, 0), None, p.Skew("1.1.0", 1, 0)]
    result = maestro.here("task", "cancel", "t")
    lock.release()
    assert result.code == 4
    assert "stays at build 1.1.0" in result.err and f"kill {os.getpid()}" in result.err
    assert daemon.commands == []


def test_a_run_of_a_daemon_of_another_build_may_use_its_states(
    maestro: CommandLine, home: Path, daemon: Scripted
) -> None:
    run = Scripted(home / "run.sock")
    run.greetings = [p.Skew("1.1.0", p.PROTOCOL, 1)]
    maestro.env |= {"MAESTRO_RUN_SOCKET": str(home / "run.sock"), "MAESTRO_RUN_TOKEN": "12"}
    assert maestro.here("state", "set", "k", "v").code == 0
    assert run.commands == [p.StateSet("k", "v")]
    run.close()


def test_a_daemon_of_another_namespace_or_store_is_not_used(maestro: CommandLine, daemon: Scripted) -> None:
    for greeting in (
        p.Welcome("1.2.0", "n", namespace="other"),
        p.Welcome("1.2.0", "n", namespace="default", store="redis://there"),
    ):
        daemon.greeting = greeting
        for command in (["task", "dispatch", "x", "--to", "a"], ["shutdown"], ["up"]):
            result = maestro.here(*command)
            assert result.code == 4
            assert "MAESTRO_HOME" in one_line(result)
    assert daemon.commands == []


def test_a_daemon_that_ends_at_each_greeting_is_not_started_for_ever(
    maestro: CommandLine, daemon: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.greeting = None
    started: list[Settings] = []
    monkeypatch.setattr(daemon_start, "start_daemon", lambda settings: started.append(settings) or 1)
    result = maestro.here("task", "cancel", "t")
    assert result.code == 5
    assert result.err.splitlines()[-1].startswith("maestro: ") and "as soon as it is asked" in result.err
    assert len(started) == 2


def test_what_the_server_notices_goes_to_stderr(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.greeting = p.Welcome("1.2.0", "n", ["MAESTRO_MAX_CONCURRENT is 8 here but 4 at the daemon"])
    assert maestro.here("agent", "list") == (
        0,
        "[]\n",
        "maestro: MAESTRO_MAX_CONCURRENT is 8 here but 4 at the daemon\n",
    )
