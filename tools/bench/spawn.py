"""Benchmark of launcher and warden: what they add to the bare start of a program, without store and scheduler.

Run it alone as `python -m tools.bench.spawn`, or as part of `tools/bench/run`.
"""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import trio

from maestro.runtime.supervision.spec import Spec
from maestro.runtime.worker.launcher_client import LauncherClient
from tools.bench.measure import Case, measure, spawned, table, timed, typical
from tools.place import Place

RUNS = 200
AT_ONCE = 4
BEYOND_MS_MAX = 3.0
_number = itertools.count()


def cases(place: Place, mode: str) -> Iterator[Case]:
    """One program from launch to its end, and many of them, four at once. Without a store, so mode is only a label."""
    yield Case(
        "launch to end of one /bin/true",
        mode,
        "ms",
        more=False,
        bar=BEYOND_MS_MAX,
        beyond=True,
        ours=lambda: trio.run(one_by_one, place.path),
        reference_name="posix_spawn and wait",
        reference=typical(lambda: spawned(["/bin/true"]), RUNS),
    )
    yield Case(
        f"{RUNS} runs of sh -c '>file', {AT_ONCE} at once",
        mode,
        "runs/s",
        more=True,
        bar=None,
        ours=lambda: trio.run(at_once, place.path),
        reference_name=f"xargs -P{AT_ONCE} sh -c '>file'",
        reference=lambda: by_xargs(place.path),
    )


async def one_by_one(folder: Path) -> float:
    """Median milliseconds of a run, from the launch to its end; its exit record is acknowledged after that."""
    took = []
    async with trio.open_nursery() as nursery:
        launcher = LauncherClient(folder)
        await launcher.start()
        nursery.start_soon(launcher.watch)
        for _ in range(RUNS):
            took.append(await run(launcher, folder, ["/bin/true"]))
            await trio.sleep(0.002)
        await launcher.stop()
        nursery.cancel_scope.cancel()
    return 1000 * median(took)


async def at_once(folder: Path) -> float:
    """Runs per second, with four at any time."""
    async with trio.open_nursery() as nursery:
        launcher = LauncherClient(folder)
        await launcher.start()
        nursery.start_soon(launcher.watch)
        await some(launcher, folder, 5, 0)
        start = time.perf_counter()
        async with trio.open_nursery() as workers:
            for agent in range(AT_ONCE):
                workers.start_soon(some, launcher, folder, RUNS // AT_ONCE, agent)
        took = time.perf_counter() - start
        await launcher.stop()
        nursery.cancel_scope.cancel()
    return RUNS / took


async def some(launcher: LauncherClient, folder: Path, runs: int, agent: int) -> None:
    for _ in range(runs):
        await run(launcher, folder, ["/bin/sh", "-c", ">file"], agent)


async def run(launcher: LauncherClient, folder: Path, argv: list[str], agent: int = 0) -> float:
    """Seconds from the launch to the end of one run. agent: whose workspace lock it takes."""
    attempt = folder / str(next(_number))
    attempt.mkdir()
    spec = Spec(
        run=attempt.name,
        argv=argv,
        env={"PATH": "/usr/bin:/bin"},
        cwd=str(folder),
        log=str(attempt / "agent.log"),
        record=str(attempt / "exit.json"),
        tail=str(attempt / "tail"),
        lock=str(folder / f"lock-{agent}"),
    )
    start = time.perf_counter()
    process = await launcher.launch(spec)
    end = await process.wait()
    took = time.perf_counter() - start
    process.ack()
    assert end.exit_code == 0, end
    return took


def by_xargs(folder: Path) -> float:
    """Programs per second, the same ones started by xargs."""
    numbers = "\n".join(str(number) for number in range(RUNS))
    argv = ["xargs", "-n", "1", f"-P{AT_ONCE}", "sh", "-c", ">file"]
    return RUNS / timed(lambda: subprocess.run(argv, input=numbers, text=True, cwd=folder, check=True))


if __name__ == "__main__":
    with Place("spawn") as here:
        print(table(measure(case) for case in cases(here, "none")))
