"""Benchmark of tasks through a warm daemon, against the bare start of the same programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maestro.config import Settings
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p
from tools.bench.measure import Case, spawned, timed, typical
from tools.place import Home, Place

AT_ONCE = 4
TASKS = 200
DISPATCHES = 20
APPENDS = 2
"""Of a dispatch and of its end: each is in the log, on the disk with `always`, before anything is built on it."""


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """Many short tasks (everysec only), and one task from its dispatch to its result."""
    home = Home(place, f"run-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync, MAESTRO_MAX_CONCURRENT=str(AT_ONCE))
    home.define("worker")
    home.define("gate")
    home.define("true", bin="/bin/true", argv=["{bin}"])
    home.run("up")
    for agent in ["gate", "true", *(f"worker-{number}" for number in range(AT_ONCE))]:
        workspace = str(place.path / f"{fsync}-{agent}")
        home.run("agent", "assign", agent.split("-")[0], "--name", agent, "--to-workspace", workspace)
    try:
        if fsync == "everysec":
            yield Case(
                f"{TASKS} short tasks through one worker, {AT_ONCE} at once",
                fsync,
                "tasks/s",
                more=True,
                bar=0.4,
                ours=lambda: through_the_worker(home),
                reference_name=f"xargs -P{AT_ONCE} sh -c '>file'",
                reference=lambda: by_xargs(place.path),
            )
        bare, name = (lambda: spawned(["/bin/true"])), "posix_spawn and wait"
        if fsync == "always":
            bare, name = (lambda: spawned_durably(home.path)), f"{name}, {APPENDS} appends of 4 KiB, each fsynced"
        yield Case(
            "dispatch to result of one /bin/true",
            fsync,
            "ms",
            more=False,
            bar=5 if fsync == "everysec" else 2,
            ours=typical(lambda: dispatched(home), DISPATCHES),
            reference_name=name,
            reference=typical(bare, DISPATCHES),
        )
    finally:
        home.run("shutdown", "--grace-period", "1", check=False)


def ask(home: Home, command: p.Command, settings: Settings | None = None) -> Any:
    """Have the daemon execute a command, as the command line does, but without the start of a Python.

    settings: loaded before, where only the time of the command counts.
    """
    answer = client.execute(command, settings or home.settings, lambda _: None)
    if isinstance(answer, p.Failed) or answer.exit_code:
        raise RuntimeError(f"{command}: {answer}")
    return answer.data


def dispatched(home: Home) -> float:
    """Milliseconds from the dispatch of a task to its result."""
    settings = home.settings
    return 1000 * timed(lambda: ask(home, p.TaskDispatch(prompt="go", to=["true"], sync=True), settings))


def spawned_durably(folder: Path) -> float:
    """Milliseconds of the least that a durable dispatch can take: two appends on the disk of the store, and a start."""
    log = os.open(folder / "appended", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    page = bytes(4096)

    def append() -> None:
        for _ in range(APPENDS):
            os.write(log, page)
            os.fsync(log)

    try:
        return 1000 * timed(append) + spawned(["/bin/true"])
    finally:
        os.close(log)


def through_the_worker(home: Home) -> float:
    """Tasks per second, from the moment at which all become ready (their common dependency ends) to the last end."""
    fifo = home.place.path / "gate"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    gate = ask(home, p.TaskDispatch(prompt=f"read go < '{fifo}'", to=["gate"]))["id"]
    ids = []
    for number in range(TASKS):
        who = f"worker-{number % AT_ONCE}"
        ids.append(ask(home, p.TaskDispatch(prompt=">file", to=[who], depends_on=[gate]))["id"])

    def run() -> None:
        fifo.write_text("go\n")
        ask(home, p.TaskWait(ids=ids))

    return TASKS / timed(run)


def by_xargs(folder: Path) -> float:
    """Programs per second, the same ones started by xargs."""
    numbers = "\n".join(str(number) for number in range(TASKS))
    argv = ["xargs", "-n", "1", f"-P{AT_ONCE}", "sh", "-c", ">file"]
    return TASKS / timed(lambda: subprocess.run(argv, input=numbers, text=True, cwd=folder, check=True))
