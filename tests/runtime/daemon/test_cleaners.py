"""Who tidies up under a running daemon: sockets, locks, logs, folders of runs, the home itself are removed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.config import socket_path
from maestro.runtime.node.daemon_lock import LOCK, holder
from maestro.runtime.provision import containment
from maestro.store.embedded import data_files
from tests.installation import left_behind
from tests.runtime.acting import PATIENCE_S, Node, ended, marked, until


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        yield node.up()


def store_pid(node: Node) -> int:
    return int((node.home / "store" / "server.pid").read_text())


def long_run(node: Node, name: str, prompt: str = "", agent: str = "shell") -> tuple[str, str, Path]:
    """A task that runs until a file is there: its id, the mark of its processes, the file."""
    mark, go = f"cleaned-{os.urandom(4).hex()}", node.folder / f"go-{name}"
    if agent != "shell":
        go = node.folder / agent / "go"
    prompt = f"export MARK={mark}; until test -e {go}; do sleep 0.05; done; {prompt or 'echo all is well'}"
    task = str(node.dispatch(prompt, "--to", agent)["id"])
    until(lambda: marked(mark))
    return task, mark, go


# ---- sockets ----


@pytest.mark.parametrize("instead", ["nothing", "a file", "a dead socket", "a link"])
def test_a_daemon_whose_socket_is_removed_or_replaced_listens_again(node: Node, instead: str) -> None:
    pid, path = node.pid, node.home / "daemon.sock"
    path.unlink()
    if instead == "a file":
        path.write_text("no socket")
    elif instead == "a dead socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(aside := node.home / "dead.sock"))
        aside.rename(path)
    elif instead == "a link":
        path.symlink_to(node.home / "node.json")
    assert node.dispatch("echo hi", "--to", "shell", "--sync")["status"] == "completed"
    assert node.pid == pid
    assert path.stat().st_mode & 0o777 == 0o600
    assert len([line for line in node.log().splitlines() if "is up, namespace" in line]) == 1


def test_shutdown_stops_a_daemon_whose_socket_is_gone(node: Node) -> None:
    pid = node.pid
    (node.home / "daemon.sock").unlink()
    assert node.json("shutdown")["daemon"] is True
    assert ended(pid)


def test_a_socket_that_cannot_be_put_back_is_named_with_its_process_and_the_way_out_leads_out(node: Node) -> None:
    pid, path = node.pid, node.home / "daemon.sock"
    path.unlink()
    path.mkdir()
    looked = node.run("doctor", "--format", "json")
    assert looked.returncode == 4
    assert f"process {pid} lives, but nobody answers" in looked.stdout
    for words in (("up",), ("shutdown",), ("task", "dispatch", "true", "--to", "shell")):
        done = node.run(*words)
        assert done.returncode == 5, done.stderr
        assert f"process {pid}" in done.stderr and f"kill {pid}" in done.stderr
    assert "listening at" in node.log()
    os.kill(pid, signal.SIGTERM)  # what it says
    until(lambda: ended(pid))
    path.rmdir()
    node.up()


def test_a_daemon_that_is_stopped_is_named_with_its_process(node: Node) -> None:
    pid = node.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = node.run("up")
        assert done.returncode == 5
        assert f"process {pid}" in done.stderr and f"kill -9 {pid}" in done.stderr
        looked = node.run("doctor", "--format", "json")
        found = {row["check"]: row for row in json.loads(looked.stdout)}
        assert looked.returncode == 4 and {"store", "log", "home", "snapshots"} <= found.keys()
        assert found["daemon"]["status"] == "failed" and f"kill -9 {pid}" in found["daemon"]["remedy"]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_lock_that_is_removed_is_put_back_and_keeps_a_second_daemon_away(node: Node) -> None:
    pid = node.pid
    (node.home / LOCK).unlink()
    found = until(lambda: holder(node.home))
    assert (found.pid, found.state) == (pid, "listening")
    (node.home / LOCK).unlink()
    until(lambda: holder(node.home))
    done = node.run("worker")
    assert done.returncode == 4 and "running already" in done.stderr
    assert node.pid == pid


def test_a_log_that_is_removed_goes_on_in_its_place(node: Node) -> None:
    (node.home / "daemon.log").unlink()
    until(lambda: (node.home / "daemon.log").exists() and "goes on here" in node.log())


def test_an_agent_whose_socket_is_removed_under_it_still_has_the_state(node: Node) -> None:
    task, _, go = long_run(node, "state", "maestro state set k v && maestro state get k")
    for path in node.home.glob("run-*.sock"):
        path.unlink()
    until(lambda: list(node.home.glob("run-*.sock")))
    go.touch()
    assert node.run("task", "wait", task).returncode == 0
    assert node.json("state", "get", "k")["value"] == "v"


def test_an_agent_in_a_sandbox_keeps_the_socket_that_it_has_mounted(node: Node) -> None:
    node.agent_type("box", adapter="shell", isolate_with="bubblewrap")
    assigned = node.run("agent", "assign", "box", "--to-workspace", f"{node.folder}/box")
    if containment.bubblewrap().fault:
        assert assigned.returncode == 4  # what cannot be held is refused
        return
    task, _, go = long_run(node, "box", "maestro state set k v", "box")
    for path in node.home.glob("run-*.sock"):
        path.unlink()
    until(lambda: list(node.home.glob("run-*.sock")))
    go.touch()
    assert node.run("task", "wait", task).returncode == 0, node.run("task", "logs", task).stdout
    assert node.json("state", "get", "k")["value"] == "v"


def test_the_short_folder_of_the_sockets_is_made_again(tmp_path: Path) -> None:
    home = Path(tempfile.mkdtemp(prefix="mh")) / ("long-" * 20)
    with Node(tmp_path / "node", MAESTRO_HOME=str(home)) as node:
        node.home.rmdir()
        node.home = home
        node.json("up")
        folder = socket_path(home, "daemon.sock").parent
        assert folder != home
        task, _, go = long_run(node, "short", "maestro state set k v")
        shutil.rmtree(folder)
        node.json("up")  # needs the daemon, and the store beneath it
        assert folder.stat().st_mode & 0o777 == 0o700
        until(lambda: list(folder.glob("run-*.sock")))
        go.touch()
        assert node.run("task", "wait", task).returncode == 0
    shutil.rmtree(home.parent)


# ---- the embedded store ----


def removed(folder: Path) -> None:
    """As by who removes it until it is gone, though a process puts files back meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("also_its_lock", [False, True])
@pytest.mark.parametrize("with_daemon", [True, False])
def test_an_embedded_store_whose_socket_is_removed_is_started_anew_and_loses_nothing(
    node: Node, with_daemon: bool, also_its_lock: bool
) -> None:
    node.json("state", "set", "k", "kept")
    if not with_daemon:
        pid = node.pid
        os.kill(pid, signal.SIGTERM)
        until(lambda: ended(pid))
    first = store_pid(node)
    (node.home / "store" / "store.sock").unlink()
    if also_its_lock:
        (node.home / "store" / "data.lock").unlink()
    if not with_daemon:
        assert node.json("state", "get", "k")["value"] == "kept"
        assert ended(first)
    assert node.dispatch("echo hi", "--to", "shell", "--sync")["status"] == "completed"
    assert node.json("state", "get", "k")["value"] == "kept"


@pytest.mark.parametrize("what", ["appendonlydir", "appendonlydir/*.base.*", "appendonlydir/*.incr.*"])
def test_an_embedded_store_whose_files_are_removed_writes_them_again(node: Node, what: str) -> None:
    data = node.home / "store" / "data"
    node.json("state", "set", "k", "kept")
    for path in data.glob(what):
        removed(path) if path.is_dir() else path.unlink()
    until(lambda: "writes all of its data again" in node.log() and not data_files.missing(data))
    node.json("state", "set", "l", "kept")
    node.json("shutdown")
    assert [node.json("state", "get", key)["value"] for key in "kl"] == ["kept", "kept"]


def test_an_embedded_store_whose_folder_is_removed_says_so_and_the_way_out_leads_out(node: Node) -> None:
    node.json("state", "set", "k", "kept")
    removed(node.home / "store" / "data")
    looked = node.run("doctor", "--format", "json")
    assert looked.returncode == 5
    assert "data was removed under the store" in looked.stdout
    way_out = (
        ("state", "snapshot", "--output", str(export := node.folder / "kept.tar.gz")),
        ("shutdown",),
        ("redis", "flush", "--confirm", node.namespace),
        ("state", "restore", str(export)),
    )
    for words in way_out:
        assert " ".join(words[:2]) in looked.stdout
        node.json(*words)
    assert node.json("state", "get", "k")["value"] == "kept"
    assert "store files" not in node.run("doctor", "--format", "json").stdout


def test_shutdown_stops_an_embedded_store_whose_socket_is_gone(node: Node) -> None:
    store = store_pid(node)
    (node.home / "store" / "store.sock").unlink()
    node.json("shutdown")
    assert ended(store)


# ---- the home ----


@pytest.mark.parametrize("instead", ["nothing", "another", "one made anew"])
def test_a_daemon_whose_home_is_removed_ends_with_all_that_it_started(tmp_path: Path, instead: str) -> None:
    with Node(tmp_path / "node") as node:
        errors = (tmp_path / "errors").open("wb")
        daemon = subprocess.Popen([sys.executable, "-m", "maestro", "worker"], env=node.env, stderr=errors)
        until(lambda: (node.home / "daemon.sock").exists())
        _, mark, _ = long_run(node, "home")
        store = store_pid(node)
        if instead == "another":
            aside = node.home.with_name(f"{node.home.name}-aside")
            node.home.rename(aside)
            node.home.mkdir()
        else:
            removed(node.home)
        if instead == "one made anew":  # on many file systems with the inode that the old one had
            node.home.mkdir(0o700)
        if instead != "nothing":
            (node.home / "known").mkdir(0o700)
        assert daemon.wait(PATIENCE_S) == 4
        errors.close()
        (last,) = (tmp_path / "errors").read_text().splitlines()[-1:]
        assert "MAESTRO_HOME was removed or replaced" in last
        assert "Traceback" not in (tmp_path / "errors").read_text()
        assert not marked(mark) and ended(store)
        if instead == "nothing":
            assert not left_behind(node.home)
        else:
            assert os.listdir(node.home) == ["known"] and not os.listdir(node.home / "known")
        node.up()
        if instead == "another":
            shutil.rmtree(aside)


def test_of_two_daemons_in_one_home_the_first_gives_way(node: Node) -> None:
    first = node.pid
    os.kill(first, signal.SIGSTOP)
    for name in (LOCK, "daemon.sock"):
        (node.home / name).unlink()
    node.up()
    second = node.pid
    assert second != first
    os.kill(first, signal.SIGCONT)
    until(lambda: ended(first))
    assert node.pid == second
    assert node.dispatch("echo hi", "--to", "shell", "--sync")["status"] == "completed"
    assert [row["status"] for row in node.json("node", "list")] == ["up"]
