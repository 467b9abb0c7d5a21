"""The launcher: small, quick to start, always with a warden in waiting, and short of nothing without saying so."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import trio

from maestro.runtime.supervision import processes
from maestro.runtime.supervision.spec import LAUNCHER_MARK, End, Spec, Started, decode_message, encode_message
from maestro.runtime.worker import process_usage
from tests.crash.test_processes import Worker
from tests.runtime.wardens import PATIENCE_S, Rig, alive, gone, play, python

ROOT = Path(__file__).parents[3]


def test_the_launcher_imports_nothing_but_itself_and_the_standard_library() -> None:
    script = (
        f"import sys; sys.path.append({str(ROOT)!r}); import maestro.runtime.supervision.launcher; "
        "print([m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)])"
    )
    files = eval(subprocess.run(python(script), capture_output=True, text=True, check=True).stdout)
    assert not [file for file in files if "site-packages" in file]
    ours = {str(Path(file).relative_to(ROOT)) for file in files if file.startswith(f"{ROOT}/")}
    packages = {"maestro/__init__.py", "maestro/runtime/__init__.py"}
    assert packages < ours and "maestro/runtime/supervision/warden.py" in ours
    assert {str(Path(file).parent) for file in ours - packages} == {"maestro/runtime/supervision"}


def test_specs_and_messages_come_out_as_they_went_in() -> None:
    odd = os.fsdecode(b"\xff\xfe")
    spec = Spec("r1", [odd, "a\nb"], {"ONE": odd}, "/", "/log", "/record", redact=["x"], token=3)
    line = spec.encode()
    assert line.count(b"\n") == 1
    assert Spec.decode(line) == spec
    for message in (Started(1, 2, 3), End("r1", exit_code=4, spawn_error="é\n")):
        assert decode_message(encode_message(message)) == message
    with pytest.raises(ValueError, match="not a message"):
        decode_message(b'{"event":"unheard of"}')
    assert decode_message(b'{"event":"thawed","since":1}') is not None


def test_wardens_are_used_again_and_keep_no_descriptor(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.run("r0", "true", lock=rig.lock("w"))
        before = {warden.pid: warden.num_fds() for warden in await settled(rig)}
        for number in range(1, 30):
            end = await rig.run(f"r{number}", "no-such" if number % 3 == 0 else "echo x", lock=rig.lock("w"))
            assert end.exit_code in (0, 127)
        after = {warden.pid: warden.num_fds() for warden in await settled(rig)}
        assert set(before) & set(after) and len(after) <= 4
        assert {count for pid, count in after.items()} == {min(before.values())}

    play(tmp_path, story)


async def settled(rig: Rig) -> list[psutil.Process]:
    """The wardens, when none guards a run any more."""
    await trio.sleep(0.1)
    wardens: list[psutil.Process] = psutil.Process(rig.launcher.pid).children()
    return wardens


def test_many_runs_at_once_each_have_a_warden(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        runs = [await rig.started(f"r{number}", "sleep 1000") for number in range(12)]
        assert len({run.started.warden for run in runs if run.started}) == 12
        for run in runs:
            run.stop("enough")
        for run in runs:
            assert (await run.wait()).signal == 15
            run.ack()

    play(tmp_path, story)


def test_a_prompt_of_ten_megabytes_in_the_environment_is_refused_not_lost(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "true", env={"PROMPT": "x" * 10_000_000})
        assert (end.errno, end.retriable) == (7, False)
        assert end.spawn_error == "cannot execute '/bin/sh': Argument list too long"

    play(tmp_path, story)


def test_a_warden_short_of_descriptors_says_so_and_the_run_may_be_tried_again(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.run("r0", "true")
        wardens = await settled(rig)
        for warden in wardens:
            resource.prlimit(warden.pid, resource.RLIMIT_NOFILE, (warden.num_fds() + 3, 4096))
        end = await rig.run("r1", "true")
        assert (end.errno, end.retriable, end.exit_code) == (24, True, None), end
        assert end.spawn_error is not None and end.spawn_error.startswith("cannot ")
        for warden in wardens:
            resource.prlimit(warden.pid, resource.RLIMIT_NOFILE, (3, 4096))
        end = await rig.run("r2", "true")
        assert end.retriable and end.spawn_error == "no warden could take the run"
        for warden in await settled(rig):
            resource.prlimit(warden.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert (await rig.run("r3", "true")).exit_code == 0

    play(tmp_path, story)


@pytest.mark.parametrize("room", [3, 2])
def test_without_room_for_a_process_a_run_may_be_tried_again(tmp_path: Path, room: int) -> None:
    """Neither for the agent nor, with less room, for a warden; which of them it is depends on what else runs here."""
    rig = Rig(tmp_path)
    worker = Worker(rig, rig.spec("r1", "true"), before=few_processes(room))
    try:
        end = worker.hear("End")
        assert (end["errno"], end["retriable"], end["lost"]) == (11, True, False)
        assert end["spawn_error"].startswith(("cannot execute '/bin/sh': ", "no process can be started: "))
    finally:
        worker.end()
    gone(rig.home)


def few_processes(room: int) -> Callable[[], None]:
    """Limits a new process to so many processes more than its user has; the superuser takes another's limit."""
    user = 65534 if os.getuid() == 0 else os.getuid()
    seen = [process.info for process in psutil.process_iter(["uids", "num_threads"])]
    limit = sum(one["num_threads"] or 0 for one in seen if one["uids"] and one["uids"].real == user) + room

    libc = processes._libc()

    def limited() -> None:
        if os.getuid() == 0:
            for capability in (21, 24):  # SYS_ADMIN and SYS_RESOURCE know no limit
                libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
            os.setresuid(user, 0, 0)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))

    return limited


def test_a_sample_counts_the_whole_tree_and_nothing_else(tmp_path: Path) -> None:
    busy = "import os, time\nif os.fork() == 0:\n os.setsid()\n x = bytearray(50_000_000)\n"
    busy += "print('ready', flush=True)\nwhile True: time.process_time()\n"

    async def story(rig: Rig) -> None:
        run = await rig.started("r1", *python(busy))
        other = await rig.started("r2", "sleep 1000")
        await rig.said("r1", "ready")
        pids = {"r1": run.pid, "r2": other.pid, "r3": 0}
        process_usage.sample(pids)
        await trio.sleep(0.5)
        samples = await trio.to_thread.run_sync(process_usage.sample, pids)
        assert set(samples) == {"r1", "r2"}
        assert samples["r1"].processes == 2 and samples["r1"].memory_bytes > 50_000_000
        assert samples["r1"].cpu_percent > 20 > samples["r2"].cpu_percent
        assert samples["r2"].processes == 2 and samples["r2"].status == "sleeping"

    play(tmp_path, story)


def test_stopping_the_launcher_ends_its_runs_and_itself(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.started("r1", "trap '' TERM INT; sleep 1000")
        with trio.fail_after(PATIENCE_S):
            await rig.launcher.stop()
        assert not alive(rig.home)

    play(tmp_path, story)


def test_signals_meant_for_the_worker_do_not_end_a_launcher(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        run = await rig.started("r1", "sleep 0.3; exit 7")
        for process in alive(rig.home, LAUNCHER_MARK):
            for number in (1, 2, 15):
                process.send_signal(number)
        assert (await run.wait()).exit_code == 7
        run.ack()
        assert (await rig.run("r2", "true")).exit_code == 0

    play(tmp_path, story)
