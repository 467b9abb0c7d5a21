"""Kill and stop worker, launcher and wardens in every combination: nothing runs unguarded, and nothing stays."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from maestro.runtime.supervision import cgroup_root
from maestro.runtime.supervision.exit_record import read_record
from maestro.runtime.supervision.spec import HOME_MARK, LAUNCHER_MARK, Spec
from maestro.runtime.worker import janitor
from tests.runtime.wardens import PATIENCE_S, Rig, alive, gone, play, python

HIDDEN = (
    "import os, signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "for _ in range(2):\n"
    " if os.fork() == 0:\n"
    "  os.setsid()\n"
    "  if os.fork() == 0:\n"
    "   print('hidden', flush=True)\n"
    "   time.sleep(1000)\n"
    "  os._exit(0)\n"
    "time.sleep(1000)\n"
)
"""An agent with two daemons of its own that left its session and its group, all deaf to SIGTERM."""


class Worker:
    """A worker process with runs, and whom it has told of."""

    def __init__(self, rig: Rig, *specs: Spec, before: Callable[[], None] | None = None) -> None:
        """before: what the new process does first."""
        listing = rig.home / f"specs-{specs[0].run}"
        listing.write_bytes(b"".join(spec.encode() for spec in specs))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.lone_worker", str(rig.home), str(listing)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            preexec_fn=before,
            env={name: value for name, value in os.environ.items() if not name.startswith("MAESTRO_")},
        )
        self.pid = self.process.pid
        self._told: queue.Queue[list[Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.launcher = self.hear("launcher")["pid"]

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._told.put(json.loads(line))

    def hear(self, kind: str) -> dict[str, Any]:
        """The next message, which must be of this kind."""
        _, told, fields = self._told.get(timeout=PATIENCE_S)
        assert told == kind, (told, fields)
        found: dict[str, Any] = fields
        return found

    def end(self) -> None:
        """Kill it, running or stopped, and reap it."""
        self.process.kill()
        self.process.wait()


@contextmanager
def worker(tmp_path: Path, **fields: Any) -> Iterator[tuple[Rig, Worker, dict[str, Any]]]:
    """A worker whose one run, `r1`, has started and hidden its children. Nothing is left of it afterwards."""
    rig = Rig(tmp_path)
    process = Worker(rig, rig.spec("r1", *python(HIDDEN), **fields))
    try:
        started = process.hear("Started")
        deadline = time.monotonic() + PATIENCE_S
        while rig.log("r1").count("hidden") < 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(alive(rig.home, HOME_MARK)) == 3
        yield rig, process, started
        process.end()
        gone(rig.home)
    finally:
        process.end()
        for left in alive(rig.home):
            left.kill()
        cgroup_root.sweep(rig.home)


def kill(*pids: int) -> None:
    """Kill all at once: none may notice the death of another."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


def test_a_killed_worker_leaves_nothing_running_and_a_record(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, _):
        process.end()
        assert gone(rig.home, HOME_MARK) < 1.0
        gone(rig.home)
        end = read_record(rig.folder("r1"))
        assert end is not None and (end.worker_gone, end.signal) == (True, 9)


def test_trees_are_dead_soon_after_their_worker(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    took = []
    for number in range(5):
        process = Worker(rig, rig.spec(f"r{number}", *python(HIDDEN)))
        process.hear("Started")
        process.end()
        took.append(gone(rig.home, HOME_MARK))
        gone(rig.home)
    assert sorted(took)[2] < 0.5  # the aim is 0.1 s; a crowded machine is no failure


def zombies() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE}


def test_a_killed_launcher_is_replaced_and_its_runs_go_on(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.started("r1", "while [ ! -e go ]; do sleep 0.01; done; echo done")
        before, zombies_before = rig.launcher.pid, zombies()
        kill(before)
        assert (await rig.run("r2", "echo ran")).exit_code == 0
        with trio.fail_after(PATIENCE_S):
            while rig.launcher.pid == before:
                await trio.sleep(0.01)
        assert (await rig.run("r3", "echo ran")).exit_code == 0
        (rig.home / "workspace" / "go").touch()
        end = await process.wait()
        process.ack()
        assert (end.exit_code, end.lost, rig.log("r1")) == (0, False, "done\n")
        await trio.sleep(0.5)
        assert zombies() <= zombies_before

    play(tmp_path, story)


def test_a_killed_warden_loses_its_run_and_all_of_its_tree_is_dead_by_then(tmp_path: Path) -> None:
    with worker(tmp_path, lock=str(tmp_path / "lock")) as (rig, process, started):
        kill(started["warden"])
        assert process.hear("End")["lost"]
        assert not alive(rig.home, HOME_MARK)
        assert psutil.pid_exists(process.launcher) and read_record(rig.folder("r1")) is None


def test_other_runs_survive_a_killed_warden(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        other = await rig.started("r2", "while [ ! -e go ]; do sleep 0.01; done; sh -c 'echo done'")
        process = await rig.started("r1", *python(HIDDEN))
        await rig.said("r1", "hidden")
        assert process.started is not None
        kill(process.started.warden)
        end = await process.wait()
        process.ack()
        assert end.lost
        (rig.home / "workspace" / "go").touch()
        assert (await other.wait()).exit_code == 0 and rig.log("r2") == "done\n"
        other.ack()
        assert (await rig.run("r3", "true")).exit_code == 0

    play(tmp_path, story)


def test_launcher_and_warden_killed_together_leave_the_rest_to_the_worker(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, started):
        kill(process.launcher, started["warden"])
        assert process.hear("End")["lost"]
        assert not alive(rig.home, HOME_MARK)


def test_worker_and_launcher_killed_together_leave_the_rest_to_the_warden(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, _):
        kill(process.launcher, process.pid)
        assert gone(rig.home, HOME_MARK) < 1.0


def test_worker_and_warden_killed_together_leave_the_rest_to_the_launcher(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, started):
        kill(process.pid, started["warden"])
        assert gone(rig.home, HOME_MARK) < 1.0


def test_all_three_killed_leave_the_rest_to_the_janitor(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, started):
        kill(process.pid, process.launcher, started["warden"])
        time.sleep(0.1)
        assert alive(rig.home, HOME_MARK)
        assert janitor.sweep(rig.home) >= 3
        assert not alive(rig.home)


def test_all_three_killed_leave_the_workspace_to_its_next_holder(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with worker(tmp_path, lock=str(lock)) as (rig, process, started):
        kill(process.pid, process.launcher, started["warden"])
        process.process.wait()
        beside = tmp_path / "beside"
        beside.mkdir()

        async def story(other: Rig) -> None:
            assert alive(rig.home, HOME_MARK)
            assert (await other.run("r2", "echo alone", lock=str(lock))).exit_code == 0
            assert not alive(rig.home, HOME_MARK)

        play(beside, story)


def test_a_stopped_worker_changes_nothing_and_hears_the_end_later(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    process = Worker(rig, rig.spec("r1", "sleep 0.3; echo done", lock=rig.lock("w")))
    try:
        process.hear("Started")
        os.kill(process.pid, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_S
        while (end := read_record(rig.folder("r1"))) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert end is not None and (end.exit_code, end.worker_gone) == (0, False)
        os.kill(process.pid, signal.SIGCONT)
        assert process.hear("End")["exit_code"] == 0
    finally:
        process.end()
    gone(rig.home)


def test_a_worker_that_was_stopped_and_replaced_never_shares_a_workspace(tmp_path: Path) -> None:
    with worker(tmp_path, lock=str(tmp_path / "home" / "locks" / "w")) as (rig, process, _):
        os.kill(process.pid, signal.SIGSTOP)
        other = Worker(rig, rig.spec("r2", "echo ran", lock=rig.lock("w"), lock_wait_s=0.3))
        end = other.hear("End")
        assert end["retriable"] and end["spawn_error"] == "the workspace is busy with run r1"
        other.end()
        os.kill(process.pid, signal.SIGCONT)
        assert rig.log("r2") == ""


@pytest.mark.parametrize("stopped", ["launcher", "warden"])
def test_a_stopped_launcher_or_warden_goes_on_where_it_was(tmp_path: Path, stopped: str) -> None:
    rig = Rig(tmp_path)
    process = Worker(rig, rig.spec("r1", "sleep 0.2; echo done"))
    try:
        pid = {"warden": process.hear("Started")["warden"], "launcher": process.launcher}[stopped]
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.4)
        os.kill(pid, signal.SIGCONT)
        assert process.hear("End")["exit_code"] == 0
    finally:
        process.end()
    gone(rig.home)


def test_a_stopped_warden_whose_worker_is_dead_gives_up_the_workspace(tmp_path: Path) -> None:
    lock = str(tmp_path / "lock")
    with worker(tmp_path, lock=lock) as (rig, process, started):
        os.kill(started["warden"], signal.SIGSTOP)
        process.end()
        beside = tmp_path / "beside"
        beside.mkdir()

        async def story(other: Rig) -> None:
            end = await other.run("r2", "echo alone", lock=lock, lock_wait_s=PATIENCE_S)
            assert end.exit_code == 0 and not alive(rig.home, HOME_MARK)

        play(beside, story)


def test_the_janitor_ends_stopped_wardens_and_launchers_of_dead_workers(tmp_path: Path) -> None:
    with worker(tmp_path) as (rig, process, started):
        for pid in (started["warden"], process.launcher):
            os.kill(pid, signal.SIGSTOP)
        process.end()
        time.sleep(0.1)
        assert alive(rig.home, LAUNCHER_MARK) and alive(rig.home, HOME_MARK)
        janitor.sweep(rig.home)
        assert not alive(rig.home)
