"""Folders that are gone, full or not to be written: each is told in one true line that names it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.model.errors import Refused
from maestro.runtime.node.failures import placed, surroundings, user_error
from tests.runtime.acting import Node
from tests.runtime.small_disk import on_small_disk

PREFACE = """
import json, os, subprocess, sys
from pathlib import Path
from tests.runtime.acting import Node

disk, elsewhere = Path(sys.argv[1]), Path(sys.argv[2])
told = {}

def fill():
    with (disk / "filler").open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return

def said(node, *words):
    done = node.run(*words)
    return [done.returncode, done.stderr]
"""

FULL_HOME = (
    PREFACE
    + """
with Node(elsewhere / "node", MAESTRO_HOME=str(disk / "home")) as node:
    fill()
    told["up"] = said(node, "up")
    told["list"] = said(node, "task", "list")
    (disk / "filler").unlink()
    node.home.rmdir()
    node.home = disk / "home"
print(json.dumps(told))
"""
)

READ_ONLY_HOME = (
    PREFACE
    + """
def mount(how):
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)

with Node(elsewhere / "node", MAESTRO_HOME=str(disk / "home")) as node:
    node.home.rmdir()
    node.home = disk / "home"
    node.json("up")
    node.json("shutdown")
    mount("ro")
    told["up"] = said(node, "up")
    told["list"] = said(node, "task", "list")
    mount("rw")
print(json.dumps(told))
"""
)

FULL_ROOT = (
    PREFACE
    + """
root = disk / "root"
with Node(elsewhere / "node", MAESTRO_WORKSPACE_ROOT=str(root)) as node:
    node.json("agent", "assign", "shell", "--to-workspace", str(elsewhere / "ws"))
    node.dispatch("true", "--to", "shell", "--sync")
    prompt = "head -c 30000000 /dev/zero | tr '\\\\0' x; echo the end"
    told["filling"] = node.dispatch(prompt, "--to", "shell", "--sync")["runs"][0]["evidence"]
    fill()
    row = node.dispatch("echo hi", "--to", "shell", "--sync", code=1)
    told["full"] = row["runs"][0]["evidence"]
    (disk / "filler").unlink()
    for log in root.rglob("agent.log*"):
        log.unlink()
    told["again"] = node.dispatch("echo hi", "--to", "shell", "--sync")["status"]
print(json.dumps(told))
"""
)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        yield node


def test_a_home_on_a_full_disk_is_named_by_whoever_starts_the_daemon() -> None:
    told = on_small_disk(FULL_HOME, 1)
    for code, line in (told["up"], told["list"]):  # type: ignore[misc]
        assert code == 5
        assert "/home/" in line and "No space left on device" in line and len(line.splitlines()) == 1


def test_a_home_that_is_read_only_is_named_with_the_way_out() -> None:
    told = on_small_disk(READ_ONLY_HOME, 300)
    code, line = told["up"]  # type: ignore[misc]
    assert code == 1
    assert "the daemon did not start: " in line and "daemon.lock: cannot lock this home: Read-only file system" in line
    assert "mount it writable" in line
    code, line = told["list"]  # type: ignore[misc]
    assert code == 5 and "Read-only file system" in line


def test_a_full_root_of_runs_is_named_in_the_evidence_and_the_next_run_works() -> None:
    told = on_small_disk(FULL_ROOT, 20)
    assert told["filling"] == "exit 0; the rest of its log could not be written: No space left on device"
    assert "/root/shell/" in str(told["full"]) and "No space left on device; make room" in str(told["full"])
    assert told["again"] == "completed"


def test_commands_work_in_a_folder_that_is_gone(node: Node) -> None:
    gone = node.folder / "gone"
    gone.mkdir()
    script = f'cd {gone}; rmdir {gone}; "$0" -m maestro "$@"'
    for words in (["up"], ["task", "list"], ["task", "dispatch", "true", "--to", "shell", "--sync"]):
        done = subprocess.run(["sh", "-c", script, sys.executable, *words], env=node.env, capture_output=True)
        assert done.returncode == 0, done.stderr
        gone.mkdir()


def test_temporary_files_that_have_no_place_hinder_nothing(node: Node) -> None:
    node.env["TMPDIR"] = str(node.folder / "nowhere")
    assert node.dispatch("true", "--to", "shell", "--sync")["status"] == "completed"
    node.json("agent", "assign", "shell", "--name", "s2", "--to-workspace", f"{node.folder}/ws")
    node.json("state", "snapshot", "--output", f"{node.folder}/x.tar.gz")


def test_a_root_of_runs_that_is_removed_is_made_again(node: Node) -> None:
    node.dispatch("true", "--to", "shell", "--sync")
    subprocess.run(["rm", "-rf", node.root], check=True)
    assert node.dispatch("echo hi", "--to", "shell", "--sync")["runs"][0]["result"] == "hi"


def test_a_log_that_cannot_be_opened_is_no_reason_to_hide_why_the_daemon_does_not_start(node: Node) -> None:
    (node.home / "daemon.log").mkdir()
    (node.home / "locks").write_text("no folder")
    done = node.run("up")
    assert done.returncode == 2
    assert (
        "the daemon did not start: MAESTRO_HOME: " in done.stderr and "/locks is, or lies below, a file" in done.stderr
    )
    (node.home / "locks").unlink()
    (node.home / "daemon.log").rmdir()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "/x/y: No space left on device; make room"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room"),
        (PermissionError(errno.EACCES, "Permission denied", b"/x"), "/x: Permission denied; mend its rights"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "Too many open files; raise the limit of open files (ulimit -n)",
        ),
    ],
)
def test_what_the_system_says_is_a_line(error: OSError, line: str) -> None:
    found = user_error(BaseExceptionGroup("all", [ExceptionGroup("some", [error])]))
    assert found is not None and found.line() == line


@pytest.mark.parametrize(
    "error", [ConnectionResetError(errno.ECONNRESET, "reset"), OSError(errno.ENOENT, "?"), OSError()]
)
def test_what_names_nothing_is_a_defect(error: OSError) -> None:
    assert surroundings(error) is None


def test_what_maestro_says_goes_before_what_the_system_says() -> None:
    known = Refused("busy")
    assert user_error(BaseExceptionGroup("all", [OSError(errno.ENOSPC, "full"), known])) is known


def test_a_full_disk_without_a_name_is_looked_for(tmp_path: Path) -> None:
    found = surroundings(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert found is not None
    assert placed(found, [tmp_path]).where == ""
    assert placed(found, [tmp_path, Path("/proc")]).where == "/proc"
