"""`state snapshot|snapshots|verify|pin|unpin` as a command line: what is asked, and what is shown."""

from __future__ import annotations

import json
import os

import pytest

from maestro.cli import completion
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.amounts import size
from tests.cli.conftest import CommandLine
from tests.cli.scripted import Scripted

ROW = {
    "id": "s-20261122T110102Z-1a2b",
    "taken_at": "2026-11-22T11:01:02.345Z",
    "position": 17,
    "state": "complete",
    "reason": "reset",
    "agents": ["ann", "ben"],
    "bytes": 687_275_645,
    "added_bytes": 7_900,
    "expires_at": "2026-11-29T11:01:02.345Z",
    "pinned": False,
}


def test_a_snapshot_is_asked_for_with_an_absolute_output(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done(ROW))
    words = ("--workspace", "ann", "--workspace", "../ben", "--output", "x.tar.gz", "--include-logs", "--rolling")
    result = maestro.here("state", "snapshot", *words, "--allow-torn")
    assert json.loads(result.out)["id"] == ROW["id"]
    output = os.path.abspath("x.tar.gz")
    wanted = p.StateSnapshot(
        workspaces=["ann", "../ben"], output=output, include_logs=True, allow_torn=True, rolling=True
    )
    assert daemon.commands == [wanted]


def test_a_snapshot_is_shown_with_what_it_holds_a_line_each_or_its_id_alone(
    maestro: CommandLine, daemon: Scripted
) -> None:
    """All workspaces were one cell, as JSON."""
    held = [{"agent": name, "workspace": f"/w/{name}", "tree": "t", "position": 7, "node": "n"} for name in ("a", "b")]
    lacks = [{"agent": "c", "workspace": "/w/c", "why": "node m is away"}]
    daemon.answers(
        p.Done({**ROW, "agents": ["a", "b"], "workspaces": held, "missing": lacks, "parts": [{"node": "n"}]})
    )
    shown = [line.split() for line in maestro.here("state", "snapshot", "--format", "table").out.splitlines()]
    assert ["id", ROW["id"]] in shown and ["a", "n", "/w/a", "7"] in shown and ["b", "n", "/w/b", "7"] in shown
    assert ["c", "/w/c", "node", "m", "is", "away"] in shown
    assert not {"workspaces", "missing", "parts"} & {line[0] for line in shown if line}
    assert maestro.here("state", "snapshot", "-q").out == f"{ROW['id']}\n"


def test_snapshots_are_a_table_with_sizes_and_how_long_they_stay(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(
        p.Item(ROW),
        p.Item({**ROW, "expires_at": None, "pinned": True, "damaged": {"files": 3, "why": "3 files", "lost": []}}),
        p.Done(),
    )
    shown = maestro.here("state", "snapshots", "--format", "table").out.splitlines()
    assert shown[0].split() == [
        "SNAPSHOT",
        "TAKEN",
        "POSITION",
        "REASON",
        "AGENTS",
        "SIZE",
        "ADDED",
        "EXPIRES",
        "PINNED",
        "STATE",
        "DAMAGED",
    ]
    assert shown[1].split()[5:] == ["ben", "687", "MB", "7.9", "kB", "2026-11-29T11:01:02Z", "no", "complete", "-"]
    assert shown[2].split()[-4:] == ["yes", "complete", "3", "files"]
    assert maestro.here("state", "snapshots").out.count("\n") == 4, "JSON has a line each"
    assert maestro.here("state", "snapshots", "--all", "--limit", "3").code == 0
    assert daemon.commands[-1] == p.StateSnapshots(all=True, limit=3)


def test_all_of_the_snapshot_store_is_verified_without_a_name(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done({"ok": False, "damaged": []}, 6))
    assert maestro.here("state", "verify", "--all").code == 6
    assert daemon.commands == [p.StateVerify(all=True)]
    result = maestro.here("state", "verify", "latest", "--all")
    assert (result.code, result.err.count("\n")) == (2, 1)


def test_verify_and_pins_name_one_snapshot(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Done(ROW))
    for words in (("verify", "latest"), ("pin", "x"), ("unpin", "x")):
        assert maestro.here("state", *words).code == 0
    assert daemon.commands == [p.StateVerify(source="latest"), p.StatePin(id="x"), p.StatePin(id="x", pinned=False)]


@pytest.mark.parametrize("command", ["snapshot", "snapshots", "verify", "pin", "unpin"])
def test_each_has_help_with_an_example(maestro: CommandLine, daemon: Scripted, command: str) -> None:
    shown = maestro.here("state", command, "--help")
    assert shown.code == 0 and f"maestro state {command}" in shown.out.split("Examples:")[1]


@pytest.mark.parametrize(
    "words", [("snapshot", "--output", ""), ("verify",), ("pin",), ("snapshots", "--limit", "0"), ("snapshot", "x")]
)
def test_what_cannot_be_meant_is_told_in_one_line(
    maestro: CommandLine, daemon: Scripted, words: tuple[str, ...]
) -> None:
    result = maestro.here("state", *words)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert daemon.commands == []


def test_ids_are_completed_with_what_they_are(maestro: CommandLine, daemon: Scripted) -> None:
    daemon.answers(p.Item(ROW), p.Done())
    maestro.here("state", "snapshots")
    found = completion.snapshots("")
    assert [name for name, _ in found] == ["latest", ROW["id"]]
    assert "reset" in found[1][1]
    assert [name for name, _ in completion.snapshots("s-")] == [ROW["id"]]


def test_sizes_are_short() -> None:
    assert [size(count) for count in (0, 999, 1000, 99_400, 999_600, 1_500_000_000, 3 * 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "99.4 kB",
        "1.0 MB",
        "1.5 GB",
        "3000 TB",
    ]
