"""Limits hold, by real control groups; where this machine lets nobody make them, such runs are refused instead."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro.runtime.supervision import cgroup_root, run_cgroup
from maestro.runtime.supervision.cgroup_root import Place
from maestro.runtime.supervision.processes import descendants
from maestro.runtime.supervision.spec import End, Limits
from maestro.runtime.worker import janitor
from tests.crash.test_processes import Worker, kill
from tests.runtime.wardens import PATIENCE_S, Rig, alive, gone, play, python

MIB = 1024 * 1024
HELD = cgroup_root.enforceable()
UNMARKED = (
    "import os, signal, sys, time\n"
    "if os.fork() == 0:\n"
    " os.setsid()\n"
    " if os.fork() == 0:\n"
    "  signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "  script = 'import time; print(\\'hidden\\', flush=True); time.sleep(1000)'\n"
    f"  os.execve({sys.executable!r}, ['-', '-ISc', script], {{}})\n"
    " os._exit(0)\n"
    "time.sleep(1000)\n"
)
"""An agent with a daemon of its own that left its session and has thrown away the marks in its environment."""


async def held(rig: Rig, limit: str, end: End) -> bool:
    """Whether the machine can hold this limit; if not, the run must have been refused, which this says."""
    if limit in HELD:
        return True
    warnings.warn(f"no control group here can hold {limit}: checked that the run is refused", stacklevel=2)
    assert end.spawn_error is not None and limit in end.spawn_error and "Delegate=yes" in end.spawn_error
    assert not end.retriable and rig.log(end.run) == ""
    return False


def groups(rig: Rig) -> list[str]:
    """The folders that this process's daemon has in the groups of this machine."""
    return [folder for folder in cgroup_root._recorded(rig.home) if Path(folder).exists()]


def test_an_agent_that_allocates_without_end_is_ended_by_its_limit_and_its_end_says_oom(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        eat = python("print('begun', flush=True)\nx = []\nwhile True: x.append(b'x' * 1000000)")
        end = await rig.run("r1", *eat, limits={"memory": 64 * MIB})
        if await held(rig, "memory", end):
            assert (end.oom, end.signal, end.oom_kills > 0) == (True, 9, True), end
            assert rig.log("r1") == "begun\n"
        assert (await rig.run("r2", "echo fine", limits=None)).exit_code == 0

    play(tmp_path, story)


def test_a_child_that_the_limit_of_memory_ended_is_told_of_though_the_agent_went_on_well(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        script = f"{sys.executable} -ISc 'x = b\"x\" * 300000000'; echo went on"
        end = await rig.run("r1", script, limits={"memory": 64 * MIB})
        if await held(rig, "memory", end):
            whole = any(Path(f"{folder}/memory.max").exists() for folder in groups(rig))
            assert end.oom_kills > 0 and end.oom is whole  # version 2 ends a run as a whole

    play(tmp_path, story)


def test_an_agent_that_forks_without_end_stays_below_its_limit_and_leaves_nothing(tmp_path: Path) -> None:
    bomb = (
        "import os, time\n"
        "made = 0\n"
        "while made < 3000:\n"
        " try:\n"
        "  if os.fork() == 0:\n"
        "   os.setsid()\n"
        "   time.sleep(1000)\n"
        "  made += 1\n"
        " except BlockingIOError:\n"
        "  break\n"
        "print('made', made, flush=True)\n"
    )

    async def story(rig: Rig) -> None:
        end = await rig.run("r1", *python(bomb), limits={"pids": 20})
        if await held(rig, "pids", end):
            assert rig.log("r1") == "made 19\n"
            assert (end.exit_code, end.leftovers, end.forks_refused) == (0, 19, 1)

    play(tmp_path, story)


def test_a_limit_of_one_process_still_lets_the_agent_itself_start(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "echo alone", limits={"pids": 1})
        if await held(rig, "pids", end):
            assert (end.exit_code, rig.log("r1")) == (0, "alone\n")

    play(tmp_path, story)


def test_an_agent_gets_no_more_of_the_processors_than_its_limit(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        spin = python(
            "import time\nend = time.monotonic() + 1.5\nwhile time.monotonic() < end: pass\nprint(time.process_time())"
        )
        end = await rig.run("r1", *spin, limits={"cpu": 0.1})
        if await held(rig, "cpu", end):
            assert float(rig.log("r1")) < 0.75

    play(tmp_path, story)


def test_a_run_s_groups_are_removed_with_it_and_the_installation_s_with_the_daemon(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        limits = {name: {"memory": 512 * MIB, "cpu": 1, "pids": 100}[name] for name in HELD}
        run = await rig.started("r1", "sleep 1000", limits=limits)
        made = [group for folder in groups(rig) for group in Path(folder).glob("run.r1")]
        assert len(made) == len(groups(rig))
        run.stop("enough", force=True)
        await run.wait()
        run.ack()
        with trio.fail_after(PATIENCE_S):
            while any(group.exists() for group in made):
                await trio.sleep(0.01)

    play(tmp_path, story)
    assert not groups(Rig(tmp_path))


def test_what_threw_away_its_marks_is_found_by_its_group_when_all_guards_are_dead(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with hidden(rig) as (worker, started, pid):
        kill(worker.pid, worker.launcher, started["warden"])
        worker.process.wait()
        time.sleep(0.1)
        if not grouped(rig):
            warnings.warn("no control groups here: what has no marks and no guard is nobody's", stacklevel=1)
            os.kill(pid, signal.SIGKILL)
        janitor.sweep(rig.home)
        dead(pid)
        assert not groups(rig)
    gone(rig.home)


def test_what_threw_away_its_marks_is_ended_by_the_next_holder_of_its_workspace(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    beside = tmp_path / "beside"
    beside.mkdir()
    with hidden(rig) as (worker, started, pid):
        kill(worker.pid, worker.launcher, started["warden"])
        worker.process.wait()

        async def story(other: Rig) -> None:
            assert (await other.run("r2", "echo alone", lock=rig.lock("w"))).exit_code == 0
            if grouped(rig):
                assert not running(pid)

        play(beside, story)
    gone(rig.home)


def test_a_killed_warden_s_groups_are_cleared_before_its_run_is_told_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with hidden(rig) as (worker, started, pid):
        kill(started["warden"])
        assert worker.hear("End")["lost"]
        assert not running(pid)
        assert not any(list(Path(folder).glob("run.*")) for folder in groups(rig))


class hidden:
    """A worker with a run whose unmarked daemon has started; nothing of it is left afterwards."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def __enter__(self) -> tuple[Worker, dict[str, Any], int]:
        self._worker = Worker(self._rig, self._rig.spec("r1", *python(UNMARKED), lock=self._rig.lock("w")))
        started = self._worker.hear("Started")
        deadline = time.monotonic() + PATIENCE_S
        while "hidden" not in self._rig.log("r1") and time.monotonic() < deadline:
            time.sleep(0.005)
        self._pid = next(pid for pid in descendants(started["warden"]) if b"hidden" in command(pid))
        return self._worker, started, self._pid

    def __exit__(self, *_: object) -> None:
        self._worker.end()
        if running(self._pid):
            os.kill(self._pid, signal.SIGKILL)
        for left in alive(self._rig.home):
            left.kill()
        cgroup_root.sweep(self._rig.home)


def command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def running(pid: int) -> bool:
    try:
        return b"hidden" in command(pid)
    except OSError:
        return False


def dead(pid: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while running(pid):
        assert time.monotonic() < deadline
        time.sleep(0.005)


def grouped(rig: Rig) -> bool:
    return bool(groups(rig))


V2 = Place("/sys/fs/cgroup/maestro-1", 2, ("cpu", "memory", "pids"))


def test_in_version_2_one_group_has_all_limits_and_ends_as_a_whole() -> None:
    (group,) = cgroup_root.plan([V2], "t-0.1", Limits(512 * MIB, 1.5, 100))
    assert group.path == "/sys/fs/cgroup/maestro-1/run.t-0.1"
    assert group.limits == {
        "memory.max": str(512 * MIB),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "150000 100000",
    }
    assert group.pids == 100


def test_in_version_1_only_controllers_with_a_limit_get_a_group() -> None:
    places = [Place(f"/cg/{name}/m", 1, (name,)) for name in ("cpu", "memory", "pids")]
    assert cgroup_root.plan(places, "r", Limits()) == []
    (memory,) = cgroup_root.plan(places, "r", Limits(memory=MIB))
    assert memory == run_cgroup.Group(
        "/cg/memory/m/run.r", {"memory.limit_in_bytes": str(MIB), "memory.memsw.limit_in_bytes": str(MIB)}
    )
    assert cgroup_root.covered(places) == {"cpu", "memory", "pids"}


def test_a_run_without_limits_still_has_a_group_to_be_killed_by() -> None:
    assert [group.path for group in cgroup_root.plan([Place("/u/m", 2, ())], "r", Limits())] == ["/u/m/run.w"]


def test_a_limit_that_cannot_be_written_ends_the_start_and_leaves_no_group(tmp_path: Path) -> None:
    cgroup = run_cgroup.RunCgroup([run_cgroup.Group(str(tmp_path / "run.r"), {"memory.max": "1"})])
    with pytest.raises(FileNotFoundError), cgroup.entered():
        raise AssertionError("the program must not start")
    assert not (tmp_path / "run.r").exists()


def test_strikes_are_counted_from_the_kernel_s_files(tmp_path: Path) -> None:
    group = tmp_path / "run.r"
    group.mkdir()
    (group / "cgroup.procs").touch()
    (tmp_path / run_cgroup.WARDENS).mkdir()
    (tmp_path / run_cgroup.WARDENS / "cgroup.procs").touch()
    cgroup = run_cgroup.RunCgroup([[str(group), {}]])
    with cgroup.entered():
        (group / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 1\n")
        (group / "pids.events").write_text("max 7\n")
    assert cgroup.strikes() == run_cgroup.Strikes(oom=2, pids=7)
