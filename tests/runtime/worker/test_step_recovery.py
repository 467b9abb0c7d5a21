"""A daemon that is killed leaves steps of workflows to the next one, which judges them and tells of them the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.acting import Node, ended, until
from tests.runtime.steps import APPROVED, Step

EXPLODES = {"type": "string", "pattern": "^(a+)+$"}


@pytest.mark.parametrize(
    ("script", "fields", "told"),
    [
        ("echo '  some'; echo", {}, ("ok", "  some", "", "", "")),
        ("echo some; false", {"command": "bash"}, ("exit", "some", "", "", "")),
        (
            "echo '{\"approved\": 1}'",
            {"answer_schema": APPROVED, "verify": "true"},
            ("agent_error", '{"approved": 1}', "", "", "approved: 1 is not of type 'boolean'"),
        ),
        ("echo '{\"approved\": true}'", {"answer_schema": APPROVED}, ("ok", '{"approved": true}', "", "", "")),
    ],
)
def test_what_ended_while_nobody_heard_is_told_as_ever(
    tmp_path: Path, script: str, fields: dict[str, Any], told: tuple[Any, ...]
) -> None:
    with Node(tmp_path / "node") as node:
        node.up()
        go = tmp_path / "go"
        step = Step(node, f"until test -e {go}; do sleep 0.05; done; {script}", **fields)
        pid = node.pid
        until(lambda: step.row["status"] == "running")
        os.kill(pid, signal.SIGSTOP)
        go.touch()
        until((node.root / ".run" / step.id / "attempts" / "1" / "exit.json").exists)
        os.kill(pid, signal.SIGKILL)
        until(lambda: ended(pid))
        node.up()
        found = step.ended()
        assert (found.outcome, found.result, found.output, found.check, found.error) == told


def test_a_daemon_that_is_killed_while_a_schema_is_checked_leaves_it_to_the_next_one(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        node.up()
        step = Step(node, f"echo '\"{'a' * 40}!\"'", answer_schema=EXPLODES)
        until((node.root / ".run" / step.id / "attempts" / "1" / "exit.json").exists)
        node.kill()
        node.up()
        found = step.ended()
        assert found.outcome in ("agent_error", "lost"), found
        assert found.error == "it could not be checked: it takes longer than 2 s"
        assert len([event for event in node.events("run.ended") if event.subject == f"run:{step.id}-0.1"]) == 1
