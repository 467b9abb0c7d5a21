"""Daemon, launcher and wardens killed in one instant, without a sandbox: the next start ends what they have left."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.house import sources
from tests.runtime.acting import Node, ended, marked, until

GUARDS = b"MAESTRO_LAUNCHER_HOME="


def guards(home: Path) -> list[int]:
    """The launcher and its wardens."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and GUARDS + os.fsencode(home) in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def killed_at_once(node: Node) -> str:
    """A run whose daemon, launcher and wardens are killed before any of them can act; its mark."""
    mark = f"left-{os.urandom(4).hex()}"
    node.dispatch(f"export MARK={mark}; setsid sleep 600 & exec sleep 601", "--to", "shell", "--key", mark)
    until(lambda: len(marked(mark)) == 2)
    pids = [node.pid, *guards(node.home)]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    until(lambda: all(ended(pid) for pid in pids))
    return mark


def test_the_next_start_ends_what_they_have_left(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        mark = killed_at_once(node)
        left = marked(mark)
        assert len(left) == 2, "nobody is there who could have ended them"
        node.run("task", "list")
        assert marked(mark) == left, "a command that needs no daemon starts none"
        node.up()
        until(lambda: not set(left) & set(marked(mark)))
        (task,) = node.json("task", "list")
        assert task["runs"][0]["outcome"] == "lost" and not task["runs"][0]["restart"]


def test_a_command_that_needs_the_daemon_is_such_a_start(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        left = marked(killed_at_once(node))
        (task,) = node.json("task", "list")
        assert node.json("task", "cancel", task["id"])["status"] == "cancelled"
        assert all(ended(pid) for pid in left)


def test_shutdown_ends_it_too(tmp_path: Path) -> None:
    with Node(tmp_path / "node") as node:
        left = marked(killed_at_once(node))
        node.json("shutdown")
        assert all(ended(pid) for pid in left)


def test_the_documents_say_so_and_give_a_unit_that_covers_a_service() -> None:
    text = (sources.ROOT / "maestro/docs/operations.md").read_text()
    for name in ("maestro.service", "user/maestro.service"):
        unit = (sources.ROOT / "tools/systemd" / name).read_text()
        assert "maestro worker" in unit and "KillMode=mixed" in unit and "Restart=" in unit
    assert "KillMode=mixed" in text and "KillMode=control-group" in text
    assert re.search(
        r"daemon, launcher and wardens are killed in one instant.{0,80}lives on until the next", text, re.DOTALL
    )
