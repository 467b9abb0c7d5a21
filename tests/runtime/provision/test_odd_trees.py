"""Two agents, one of which has the oddest of trees: nothing of it hinders the other, and it is told for that one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maestro.workspaces.cleaning import remove_tree
from tests.installation import Installation
from tests.workspaces.mounted import in_namespace


def long_link(tree: Path) -> None:
    (tree / "x").symlink_to("x" * 300)
    (tree / "longest").symlink_to("y" * 4095)


def loops(tree: Path) -> None:
    (tree / "self").symlink_to("self")
    (tree / "a").symlink_to("b")
    (tree / "b").symlink_to("a")
    (tree / "up").symlink_to("..")


def no_text(tree: Path) -> None:
    for name in (b"\xff\xfe", b"new\nline", b"\x1b[2J", b"x" * 255, "\u202e".encode(), b"-rf"):
        os.mkdir(os.fsencode(tree) + b"/" + name)
        with open(os.fsencode(tree) + b"/" + name + b"/" + name, "wb") as file:
            file.write(name)


def no_files(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tree)  # its name may be too long for a socket
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    if os.geteuid() == 0:
        os.mknod(tree / "device", 0o600 | 0o020000, os.makedev(1, 3))


def deep(tree: Path) -> None:
    at = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deep", dir_fd=at)
        inner = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)


def dated(tree: Path) -> None:
    (tree / "future").write_text("x")
    os.utime(tree / "future", (5_000_000_000, 5_000_000_000))
    (tree / "past").write_text("x")
    os.utime(tree / "past", (-2_500_000_000, -2_500_000_000))


def locked(tree: Path) -> None:
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "closed/inner/file").write_text("x")
    (tree / "closed").chmod(0o500)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that goes whatever is in it: pytest cannot remove a tree that is deep."""
    folder = Path(tempfile.mkdtemp())
    yield folder
    remove_tree(folder)


@pytest.mark.parametrize("make", [long_link, loops, no_text, no_files, deep, dated, locked])
def test_every_command_goes_on(make: Callable[[Path], None], place: Path) -> None:
    odd, plain = place / "odd", place / "plain"
    with Installation(place / "m") as maestro:
        maestro.agent_type("code")
        for folder in (odd, plain):
            maestro.json("agent", "assign", "code", "--name", folder.name, "--to-workspace", str(folder))
            (folder / "mine").write_text("mine")
        make(odd)
        listed = {row["agent"]: row for row in maestro.json("workspace", "list")}
        assert listed["plain"]["files"] == 1 and listed["odd"]["files"] >= 1
        taken = maestro.json("state", "snapshot")
        assert (taken["state"], taken["not_held"], taken["torn"]) == ("complete", [], [])
        maestro.json("state", "verify", "latest")
        assert maestro.run("state", "restore", "latest", "--dry-run").returncode == 0
        for name in ("odd", "plain"):
            maestro.json("agent", "reset", name)
        assert os.listdir(odd) == os.listdir(plain) == []
        maestro.json("state", "restore", taken["id"])
        assert (odd / "mine").read_text() == (plain / "mine").read_text() == "mine"
        assert maestro.run("state", "restore", "latest", "--dry-run").returncode == 0
        for name in ("odd", "plain"):
            maestro.json("workspace", "clean", name)
        assert os.listdir(odd) == os.listdir(plain) == []


UNREADABLE = """
from maestro.workspaces.cleaning import remove_tree
from tests.installation import Installation
odd, plain = place / "odd", place / "plain"
with Installation(place / "m") as maestro:
    maestro.agent_type("code")
    for folder in (odd, plain):
        maestro.json("agent", "assign", "code", "--name", folder.name, "--to-workspace", str(folder))
    told = {"list": maestro.run("workspace", "list").returncode}
    for words in (
        ["state", "snapshot"],
        ["state", "snapshot", "--workspace", "plain"],
        ["agent", "reset", "odd"],
        ["agent", "reset", "plain"],
        ["workspace", "clean", "odd"],
        ["workspace", "clean", "plain"],
    ):
        done = maestro.run(*words)
        named = "odd/secret (Permission denied)" in done.stderr
        told[" ".join(words)] = done.returncode, named, "defect" in done.stderr
    told["left"] = sorted(os.listdir(odd)), os.listdir(plain)
print(json.dumps(told))
"""


def test_a_file_of_somebody_else_is_told_for_the_one_who_has_it(tmp_path: Path) -> None:
    """Tried as a user who may not read it: root in a namespace in which its owner does not exist."""
    for name in ("odd", "plain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    secret = tmp_path / "odd/secret"
    secret.write_text("x")
    secret.chmod(0)
    if os.geteuid() == 0:
        os.chown(secret, 4321, 4321)
    told = json.loads(in_namespace(UNREADABLE, tmp_path))
    refused, done = [4, True, False], [0, False, False]
    assert told["list"] == 0
    for words in ("state snapshot", "agent reset odd", "workspace clean odd"):
        assert told[words] == refused, words
    for words in ("state snapshot --workspace plain", "agent reset plain", "workspace clean plain"):
        assert told[words] == done, words
    assert told["left"] == [["mine", "secret"], []]


CLOSED = """
import os, sys
from maestro.workspaces.cleaning import expired_runs
from maestro.workspaces.guards import check_workspace
root, home = sys.argv[1:]
print([run.task for run in expired_runs(root, 1)], check_workspace("a", root + "-ws", root=root, home=home))
"""


def test_an_odd_name_among_the_runs_hides_no_others(tmp_path: Path) -> None:
    runs = tmp_path / "root/a"
    (runs / "t1").mkdir(parents=True)
    (runs / ".maestro-runs").touch()
    os.utime(runs / "t1", (0, 0))
    for number in range(3):
        (runs / f"link{number}").symlink_to("x" * 300)
        (tmp_path / f"root/link{number}").symlink_to("x" * 300)
    argv = [sys.executable, "-c", CLOSED, str(tmp_path / "root"), str(tmp_path / "home")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.stdout.split() == ["['t1']", str(tmp_path / "root-ws")], done.stderr
