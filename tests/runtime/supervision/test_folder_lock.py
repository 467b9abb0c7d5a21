"""One writer a folder on a host, whatever path and whatever home leads there."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from maestro.runtime.supervision.folder_lock import FolderLock
from tests.runtime.acting import marked, until
from tests.runtime.wardens import Rig, play


def taken(lock: FolderLock) -> bool:
    """Asked again and again, also when the pause after a refusal is over."""
    asked_until = time.monotonic() + 0.2
    while time.monotonic() < asked_until:
        if lock.take():
            return True
    return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "above/ws/inside").mkdir(parents=True)
    (tmp_path / "above/beside").mkdir()
    return tmp_path / "above"


def test_a_folder_has_one_writer_and_the_next_when_that_lets_go(folder: Path) -> None:
    first, second = FolderLock(str(folder / "ws")), FolderLock(str(folder / "ws"))
    assert first.take() and first.take()
    assert not taken(second)
    first.release()
    until(second.take)


@pytest.mark.parametrize(("held", "asked"), [("ws", "ws/inside"), ("ws/inside", "ws")])
def test_nobody_writes_inside_or_around_another_ones_folder(folder: Path, held: str, asked: str) -> None:
    first, second, beside = (FolderLock(str(folder / name)) for name in (held, asked, "beside"))
    assert first.take()
    assert not taken(second)
    assert beside.take()
    first.release()
    until(second.take)


def test_an_agent_may_lock_its_own_folder_in_its_own_way(folder: Path) -> None:
    lock = FolderLock(str(folder / "ws"))
    assert lock.take()
    handle = os.open(folder / "ws", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_a_folder_that_was_exchanged_meanwhile_is_not_taken_for_the_one_that_was_locked(folder: Path) -> None:
    class Exchanging(FolderLock):
        def _is_alone(self) -> bool:
            (folder / "ws").rename(folder / "old")
            (folder / "ws").mkdir()
            return super()._is_alone()

    assert not Exchanging(str(folder / "ws")).take()
    assert FolderLock(str(folder / "ws")).take()


def test_the_lock_ends_with_its_holder_and_a_program_does_not_inherit_it(folder: Path) -> None:
    script = (
        "import subprocess, sys; from maestro.runtime.supervision.folder_lock import FolderLock\n"
        "lock = FolderLock(sys.argv[1]); assert lock.take()\n"
        "child = subprocess.Popen(['sleep', '600'], close_fds=False); print(child.pid, flush=True); sys.stdin.read()"
    )
    words = [sys.executable, "-c", script, str(folder / "ws")]
    lock = FolderLock(str(folder / "ws"))
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        assert not taken(lock)
        holder.kill()
    try:
        until(lock.take)
        os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_wardens_of_two_homes_never_overlap_in_one_folder(tmp_path: Path) -> None:
    shared, count = tmp_path / "shared", 6
    for new in (shared, tmp_path / "other"):
        new.mkdir()
    other = Rig(tmp_path / "other")
    script = f"cd {shared}; mkdir here || echo overlap; echo $$ >> order; sleep 0.05; rmdir here"

    async def run(rig: Rig, name: str) -> None:
        await rig.run(name, script, lock=rig.lock("w"), folder=str(shared), lock_wait_s=60)

    async def story(rig: Rig) -> None:
        await other.launcher.start()
        try:
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(run, rig, f"r{number}")
                    nursery.start_soon(run, other, f"r{number}")
        finally:
            with trio.CancelScope(shield=True):
                await other.launcher.stop()

    play(tmp_path, story)
    logs = [rig.log(f"r{number}") for rig in (Rig(tmp_path), other) for number in range(count)]
    assert logs == [""] * 2 * count
    assert len((shared / "order").read_text().splitlines()) == 2 * count


def test_what_a_killed_warden_left_is_ended_before_another_home_writes_its_folder(tmp_path: Path) -> None:
    shared, mark = tmp_path / "shared", f"left-{os.urandom(4).hex()}"
    for new in (shared, tmp_path / "other"):
        new.mkdir()
    other = Rig(tmp_path / "other")

    async def story(rig: Rig) -> None:
        script = f"export MARK={mark}; sleep 600 & exec sleep 601"
        left = await rig.started("r1", script, lock=rig.lock("w"), folder=str(shared))
        until(lambda: len(marked(mark)) == 2)
        await other.launcher.start()
        try:
            for pid in (rig.launcher.pid, left.started.warden if left.started else 0):
                os.kill(pid, signal.SIGSTOP)
            os.kill(left.started.warden if left.started else 0, signal.SIGKILL)
            assert len(marked(mark)) == 2, "nobody has ended them yet"
            ended = await other.run("r1", f"ls {shared}", lock=other.lock("w"), folder=str(shared))
            assert ended.exit_code == 0 and not marked(mark)
        finally:
            os.kill(rig.launcher.pid, signal.SIGCONT)
            with trio.CancelScope(shield=True):
                await other.launcher.stop()

    play(tmp_path, story)
