"""A snapshot holds what was asked for, or is none; or it names what it lacks, where that was allowed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.acting import Node

GONE = {"moved away": "is not there", "a link": "is now a link", "a file": "is no folder any more"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        for name in ("ann", "ben"):
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", str(node.folder / name))
            (node.folder / name / "work").write_text("hours of work")
        node.json("state", "snapshot")
        yield node


@pytest.fixture(params=GONE)
def gone(node: Node, request: pytest.FixtureRequest) -> Iterator[str]:
    """The workspace of ann is not what it was; why, in words."""
    place, away = node.folder / "ann", node.folder / "away"
    place.rename(away)
    if request.param == "a link":
        place.symlink_to(away)
    if request.param == "a file":
        place.write_text("in its place")
    yield GONE[request.param]
    if os.path.lexists(place):
        place.unlink()
    away.rename(place)


def test_what_cannot_be_kept_fails_the_snapshot_by_name(node: Node, gone: str) -> None:
    before = node.json("state", "snapshots", "--all")
    for words in ((), ("--workspace", "ann"), ("--workspace", str(node.folder / "ann")), ("--rolling",)):
        done = node.run("state", "snapshot", *words)
        assert (done.returncode, done.stdout) == (4, ""), done.stderr
        assert f"the workspace of ann {gone}: {node.folder / 'ann'}" in done.stderr
        assert "ben" not in done.stderr and "--allow-missing" in done.stderr
    assert node.json("state", "snapshots", "--all") == before, "`latest` is the one that it was"
    assert node.json("state", "snapshot", "--workspace", "ben")["agents"] == ["ben"], "the way out leads out"


def test_what_may_be_missing_is_named_in_it_and_by_latest(node: Node, gone: str, tmp_path: Path) -> None:
    out = str(tmp_path / "x.tar.gz")
    for words, name in (((), "latest"), (("--output", out), out)):
        done = node.run("state", "snapshot", "--allow-missing", *words)
        assert done.returncode == 0 and f"is not kept: {node.folder / 'ann'} {gone}" in done.stderr
        missing = [{"agent": "ann", "workspace": str(node.folder / "ann"), "why": gone}]
        row = node.json("state", "snapshots")[0]
        assert (row["missing"], row["agents"]) == (missing, ["ben"])
        assert node.json("state", "verify", name)["missing"] == missing


def test_nothing_is_cleared_that_is_not_what_it_was(node: Node, gone: str) -> None:
    """What is not there leaves nothing to keep; anything else that is there now is not the workspace."""
    for words in (("agent", "reset", "ann"), ("workspace", "clean", "ann")):
        done = node.run(*words)
        assert "is kept" not in done.stderr
        if gone == "is not there":
            assert done.returncode == 0
            shutil.rmtree(node.folder / "ann", ignore_errors=True)
        else:
            assert (done.returncode, gone in done.stderr) == (4, True)
    assert (node.folder / "away" / "work").read_text() == "hours of work"


def test_a_restore_brings_back_what_is_gone_and_says_what_undoing_it_cannot(node: Node, tmp_path: Path) -> None:
    whole = node.json("state", "snapshot")["id"]
    (node.folder / "ann").rename(tmp_path / "away")
    done = node.run("state", "restore", whole)
    assert done.returncode == 0, done.stderr
    assert f"the workspace of ann is not kept: {node.folder / 'ann'} is not there" in done.stderr
    assert (node.folder / "ann" / "work").read_text() == "hours of work"
    row = next(row for row in node.json("state", "snapshots") if row["reason"] == "restore")
    assert [each["agent"] for each in row["missing"]] == ["ann"]


def test_what_a_snapshot_lacks_is_told_where_its_assignments_are_put_back(tmp_path: Path) -> None:
    """And `latest` is the same for all commands: none, where all were written to a file."""
    out = str(tmp_path / "x.tar.gz")
    with Node(tmp_path / "here") as here:
        for name in ("ann", "ben"):
            here.json("agent", "assign", "shell", "--name", name, "--to-workspace", str(here.folder / name))
            (here.folder / name / "work").write_text("hours of work")
        shutil.rmtree(here.folder / "ann")
        none = here.run("state", "verify", "latest")
        assert none.returncode == 3 and "maestro state snapshots" in none.stderr
        assert here.run("state", "restore", "latest").stderr.endswith(none.stderr)
        taken = here.json("state", "snapshot", "--allow-missing", "--output", out)["id"]
        for words in (("state", "verify"), ("state", "restore"), ("agent", "assign", "--from-snapshot")):
            assert here.run(*words, "latest").stderr.endswith(none.stderr), words
        assert here.json("state", "restore", taken, "--skip-failed")["source"] == taken
        shutil.rmtree(here.folder / "ben")
        done = here.run("agent", "assign", "--from-snapshot", out)
        assert done.returncode == 0 and (here.folder / "ben/work").read_text() == "hours of work"
        assert (
            f"the workspace of ann is not in the snapshot: nothing of it is put back in {here.folder / 'ann'}"
            in done.stderr
        )
        assert "workspace of ben" not in done.stderr
    with Node(tmp_path / "there") as there:
        refused = there.run("state", "restore", out)
        assert refused.returncode == 4 and "--skip-failed" in refused.stderr
        assert "--at" not in refused.stderr, "there is nothing earlier where the log is empty"
