"""`state restore|rollback`, `agent assign --from-snapshot` as a command line: what is asked, and what is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maestro.runtime.protocol import messages as p
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

NO_EVENTS: dict[str, Any] = {"events": 0, "types": {}, "tasks": [], "workflow_runs": [], "newest": []}
FILES = {"files": 2, "bytes": 5_000, "paths": ["a", "b"]}
NONE: dict[str, Any] = {"files": 0, "bytes": 0, "paths": []}
PREVIEW = {
    "source": "s-1",
    "position": 13,
    "at": "2026-11-22T11:20:24.970Z",
    "state_restored": True,
    "log_loaded": True,
    "agents": [
        {
            "agent": "ann",
            "workspace": "/new/ann",
            "recorded_workspace": "/old/ann",
            "snapshot": "s-1",
            "events_apart": 0,
            "added": FILES,
            "changed": NONE,
            "deleted": NONE,
            "unchanged": FILES,
            "lost": {"untracked": {"files": 12, "paths": [f"f{number:02}" for number in range(12)]}, "ignored": NONE},
            "change": "stays",
        },
        {"agent": "ben", "workspace": "/b", "why_not": "it is no folder", "change": "returns"},
    ],
    "undone": {
        **NO_EVENTS,
        "events": 3,
        "types": {"run.ended": 1, "state.set": 2},
        "tasks": ["T1"],
        "workflow_runs": ["R1"],
    },
    "regained": NO_EVENTS,
    "stopped": ["ann"],
    "restarted": ["ann", "ben"],
    "open_tasks": [],
    "open_workflow_runs": ["R1", "R2"],
    "disk_needed_bytes": 5_000,
    "disk_free_bytes": 64_000_000_000,
}
DONE = {
    "source": "s-1",
    "position": 13,
    "at": "2026-11-22T11:20:24.970Z",
    "workspaces": [{"agent": "ann", "workspace": "/a", "snapshot": "s-1", "events_apart": 7}],
    "skipped": [{"agent": "ben", "workspace": "/b", "why": "it is no folder"}],
    "cancelled": ["T9"],
    "resumed": [],
    "cancelled_workflow_runs": ["R9"],
    "resumed_workflow_runs": [],
    "undo": "maestro state restore s-2",
}


def answering(daemon: Scripted, *logs: str) -> None:
    """`there` or what is given for the log, and DONE for the restore."""
    said = list(logs) or ["there"]

    def script(command: p.Command) -> list[p.Note | p.Done]:
        if isinstance(command, p.RestoreLoad):
            return [p.Done({"log": said.pop(0)})]
        return [p.Note("to undo it: maestro state restore s-2"), p.Done(DONE)]

    daemon.script = script


def test_a_whole_restore_first_has_the_log_looked_for(maestro: CommandLine, daemon: Scripted, home: Path) -> None:
    answering(daemon)
    file = home / "x.tar.gz"
    result = maestro.here("state", "restore", str(file), "--skip-failed", "--resume-queued")
    assert (result.code, json.loads(result.out)["position"]) == (0, 13)
    assert "to undo it: maestro state restore s-2" in result.err
    asked = p.StateRestore(source=str(file), skip_failed=True, resume_queued=True)
    loading = p.RestoreLoad(source=str(file), skip_failed=True, resume_queued=True)
    assert daemon.commands == [loading, asked]


def test_into_an_empty_log_one_command_does_all_of_it_and_a_daemon_is_up_afterwards(
    maestro: CommandLine, daemon: Scripted
) -> None:
    daemon.script = lambda command: [
        p.Done({"log": "done", "restore": DONE}) if isinstance(command, p.RestoreLoad) else p.Done({"id": "n"})
    ]
    result = maestro.here("state", "rollback", "latest", "--skip-verify", "--replace-foreign", "/srv/a")
    assert (result.code, json.loads(result.out)["position"]) == (0, 13)
    asked = p.RestoreLoad(source="latest", skip_verify=True, rollback=True, replace_foreign=("/srv/a",))
    assert daemon.commands == [asked, p.Up()]


def test_what_needs_a_log_does_not_ask_for_one(maestro: CommandLine, daemon: Scripted) -> None:
    answering(daemon)
    maestro.here("state", "restore", "--at", "10m")
    maestro.here("state", "rollback", "latest", "--workspace", "ann", "--skip-verify")
    assert daemon.commands == [
        p.StateRestore(at="10m"),
        p.StateRestore(source="latest", workspace="ann", skip_verify=True, rollback=True),
    ]


def test_what_was_done_and_what_was_left_is_a_table(maestro: CommandLine, daemon: Scripted) -> None:
    answering(daemon)
    lines = maestro.here("state", "restore", "latest", "--format", "table").out.splitlines()
    assert lines[0] == "restored from s-1: position 13, 2026-11-22T11:20:24Z"
    assert lines[2].split() == ["ann", "/a", "s-1", "7", "-"]
    assert lines[3].split()[-4:] == ["it", "is", "no", "folder"]
    assert lines[4:] == ["tasks cancelled: T9", "workflow runs cancelled: R9"]


def test_files_that_are_damaged_are_listed_and_the_code_says_so(maestro: CommandLine, daemon: Scripted) -> None:
    lost = [{"agent": "ann", "workspace": "/a", "path": f"f{number}", "why": "damaged"} for number in range(150)]
    daemon.script = lambda command: [
        p.Done({"log": "there"}) if isinstance(command, p.RestoreLoad) else p.Done({**DONE, "damaged": lost}, 6)
    ]
    result = maestro.here("state", "restore", "latest", "--skip-failed", "--format", "table")
    assert result.code == 6 and "FILE NOT PUT BACK" in result.out
    assert "f99" in result.out and "f100" not in result.out and "and 50 more" in result.out
    assert len(json.loads(maestro.here("state", "restore", "latest", "--skip-failed").out)["damaged"]) == 150


def test_the_dry_run_is_a_table_with_what_would_be_lost(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done(PREVIEW, 6))
    result = maestro.here("state", "restore", "latest", "--dry-run", "--format", "table")
    assert result.code == 6
    assert daemon.commands == [p.RestorePreview(source="latest")]
    for line in (
        "the log is empty here: it is loaded first",
        "ann: /old/ann becomes /new/ann",
        "ann: untracked, would be lost: f00, f01, f02, f03, f04, f05, f06, f07, f08, f09 and 2 more",
        "events undone: 3 (1 run.ended, 2 state.set)",
        "tasks undone: T1",
        "workflow runs undone: R1",
        "workflow runs open then, cancelled unless --resume-queued: R1, R2",
        "agents restarted: ann, ben",
        "disk needed: about 5.0 kB of 64.0 GB free",
    ):
        assert line in result.out.splitlines()
    assert "2 (5.0 kB)" in result.out and "it is no folder" in result.out
    assert json.loads(maestro.here("state", "restore", "latest", "--dry-run").out) == PREVIEW


def test_assignments_are_put_back_from_a_file_or_an_id(maestro: CommandLine, daemon: Scripted, home: Path) -> None:
    daemon.answers(p.Item({"id": "ann", "type": "shell"}), p.Done())
    assert json.loads(maestro.here("agent", "assign", "--from-snapshot", f"{home}/x.tgz").out)[0]["id"] == "ann"
    maestro.here("agent", "assign", "--from-snapshot", "latest")
    assert daemon.commands == [p.AgentsPutBack(source=f"{home}/x.tgz"), p.AgentsPutBack(source="latest")]


@pytest.mark.parametrize(
    "words",
    [
        ("state", "restore"),
        ("state", "rollback", "--skip-verify"),
        ("state", "restore", "a", "b"),
        ("agent", "assign", "--from-snapshot", "newest"),
        ("agent", "assign", "ann", "--from-snapshot", "latest", "--name", "bob"),
        ("agent", "assign", "--from-snapshot", "latest", "--role", "x"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    maestro: CommandLine, daemon: Scripted, words: tuple[str, ...]
) -> None:
    result = maestro.here(*words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert daemon.commands == []


@pytest.mark.parametrize("command", ["restore", "rollback"])
def test_each_has_help_with_an_example(maestro: CommandLine, daemon: Scripted, command: str) -> None:
    shown = maestro.here("state", command, "--help")
    assert shown.code == 0 and f"maestro state {command}" in shown.out.split("Examples:")[1]
