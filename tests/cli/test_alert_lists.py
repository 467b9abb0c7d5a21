"""`monitor alerts` and `monitor start --once`: what a narrow terminal keeps, and what cron gets to read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

TASK = "01M8N5HB751EBS8KQHBJEHHD03"


def alert(**more: Any) -> dict[str, Any]:
    row = {"id": f"task_failed:{TASK}", "severity": "warning", "what": "task 01M8N5 failed", "why": "disk is full"}
    times = {"since": "2026-05-01T12:00:00.000Z", "resolved_at": None, "how": None, "snoozed": False}
    return {**row, **times, "command": f"maestro task status {TASK}  # then: maestro task retry {TASK}", **more}


@pytest.mark.parametrize("columns", ["80", "60"])
def test_why_stays_longest_and_each_command_says_what_for(maestro: CommandLine, daemon: Scripted, columns: str) -> None:
    daemon.answers(p.Item(alert()), p.Done())
    out = maestro.on_terminal("monitor", "alerts", COLUMNS=columns, NO_COLOR="1").out
    assert "WHY" in out and "disk is full" in out
    assert f"{alert()['command']}  # for task_failed:{TASK}" in out.splitlines()
    delivery = {"alert": alert()["id"], "of": "raised", "endpoint": "5" * 16, "state": "failed", "attempts": 3}
    daemon.answers(p.Item({**delivery, "why": "it answers 500"}), p.Done())
    out = maestro.on_terminal("monitor", "alerts", "--undelivered", COLUMNS=columns, NO_COLOR="1").out
    assert "WHY" in out and "answers 500" in out


def test_cron_reads_nothing_while_all_is_well(maestro: CommandLine, daemon: Scripted) -> None:
    listed: list[msgspec.Struct] = []
    hint = p.Note("1 delivery has not arrived")
    looked = [p.Done({"store": {"up": True}})]
    daemon.script = lambda command: looked if isinstance(command, p.MonitorLook) else listed
    for rows in ([], [p.Item(alert(snoozed=True))]):
        listed = [hint, *rows, p.Done()]
        assert maestro.here("monitor", "start", "--once", "--quiet") == (0, "", "")
    listed = [hint, p.Done()]
    assert maestro.here("monitor", "start", "--once") == (0, "[]\n", "")
    listed = [hint, p.Item(alert()), p.Done()]
    code, out, err = maestro.here("monitor", "start", "--once", "--quiet", "--format", "table")
    assert (code, err) == (1, "maestro: 1 delivery has not arrived\n") and "disk is full" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("monitor start --alert-webhook", "option '--alert-webhook' needs a value; see `maestro monitor start --help`"),
        ("monitor start --allow-private", "--allow-private without --alert-webhook; add --alert-webhook URL"),
        ("monitor start --metrics-host ::1", "--metrics-host without --metrics-port; add --metrics-port PORT"),
        ("monitor start --quiet", "--quiet without --once; add --once"),
        ("workflow create wf.yaml", "behind --definition; maestro workflow create wf --definition wf.yaml"),
        ("workflow create wf", "behind --definition; maestro workflow create wf --definition FILE.yaml"),
    ],
)
def test_an_option_without_its_value_or_the_one_that_it_needs_is_refused(
    maestro: CommandLine, words: str, said: str
) -> None:
    code, out, err = maestro.here(*words.split())
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
