"""The janitor ends what is left of this installation's dead daemons, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import trio

from maestro.runtime.supervision.processes import boot_id, start_time
from maestro.runtime.supervision.spec import HOME_MARK, RUN_MARK
from maestro.runtime.supervision.workspace_lock import Holder, ProcessIdentity, end_tree
from maestro.runtime.worker import janitor
from tests.runtime.wardens import SLEEP, Rig, alive, play


@contextmanager
def leftover(home: Path, run: str, script: str = f"{SLEEP} 1000 & wait") -> Iterator[subprocess.Popen[bytes]]:
    """An agent that nobody guards."""
    environment = {HOME_MARK: str(home), RUN_MARK: run, "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(["/bin/sh", "-c", script], env=environment, start_new_session=True)
    try:
        yield process
    finally:
        for left in alive(home, HOME_MARK):
            left.kill()
        process.wait()


def test_leftovers_of_this_home_are_ended_with_what_they_started(tmp_path: Path) -> None:
    script = f"env -i {SLEEP} 1000 & env -i {SLEEP} 1000 & wait"
    with leftover(tmp_path, "r1", script) as process:
        while len(children := psutil.Process(process.pid).children()) < 2:
            continue
        assert janitor.sweep(tmp_path) == 3
        process.wait()
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert janitor.sweep(tmp_path) == 0


def test_other_installations_are_left_alone(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "home", tmp_path / "home-2"
    with leftover(ours, "r1"), leftover(theirs, "r1") as other:
        janitor.sweep(ours)
        assert not alive(ours) and other.poll() is None
        janitor.sweep(theirs)
        assert not alive(theirs)


def test_the_callers_own_launcher_is_spared_with_its_runs(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        run = await rig.started("r1", "while [ ! -e go ]; do sleep 0.01; done; exit 7")
        with leftover(rig.home, "r0") as agent:
            await trio.to_thread.run_sync(janitor.sweep, rig.home, rig.launcher.pid)
            agent.wait()
            (rig.home / "workspace" / "go").touch()
            assert (await run.wait()).exit_code == 7
            run.ack()
            launcher = psutil.Process(rig.launcher.pid)
            assert {process.pid for process in alive(rig.home)} == {launcher.pid, *(c.pid for c in launcher.children())}

    play(tmp_path, story)


def test_a_predecessor_is_ended_by_its_marks_and_its_identity_never_by_its_pid_alone(tmp_path: Path) -> None:
    nobody = ProcessIdentity(0, 0)
    with leftover(tmp_path, "r1") as agent, leftover(tmp_path / "other", "r1") as bystander:
        reused = ProcessIdentity(bystander.pid, start_time(bystander.pid) - 1)
        assert end_tree(Holder("r2", str(tmp_path), boot_id(), nobody, nobody, reused))
        assert agent.poll() is None and bystander.poll() is None
        assert end_tree(Holder("r1", str(tmp_path), boot_id(), nobody, nobody, nobody))
        agent.wait()
        assert not alive(tmp_path) and bystander.poll() is None
        known = ProcessIdentity(bystander.pid, start_time(bystander.pid))
        assert end_tree(Holder("r2", str(tmp_path), boot_id(), nobody, nobody, known))
        assert bystander.wait(60) in (-9, 0), "killed, or ended as what it waited for was killed first"
        assert len(alive(tmp_path / "other")) == 0
