"""Seeded trials of a hostile agent whose guards are killed: `python -m tools.chaos.hostile [--runs N] [--flood]`.

Each trial starts a worker of its own with one run of `hostile_agent.py`, contained by control groups, by bubblewrap,
by both or by neither, kills worker, launcher or warden in some combination, and looks for what is left of the agent
by the token in its command line. Where all three guards die at once and nothing contains the agent, only the janitor
of the next daemon can end it, and what has also thrown its marks away nobody can tell from others: so that is left out.

Each trial is enclosed (`enclosure.py`): whatever comes of it, nothing of it stays on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from maestro.runtime.provision import containment
from maestro.runtime.supervision import cgroup_root
from maestro.runtime.supervision.spec import HOME_MARK, LAUNCHER_MARK, Spec
from maestro.runtime.worker import janitor
from maestro.runtime.worker.launcher_client import LauncherClient
from maestro.workspaces.sandbox.isolation import Box, bubblewrap
from tools.chaos import enclosure
from tools.chaos.flood import flood
from tools.place import Place

DEAD_S_MAX = 1.0
PATIENCE_S = 20.0
JANITOR_S = 1.0
"""Added to the limit where the next daemon's janitor kills: it gives wardens half a second to end by themselves."""
TRIAL_S_MAX = 120.0
TOLD = "trial.json"
LONG = 300
LIMITS = {"memory": 128 * 1024 * 1024, "pids": 40}
CONTAINED = ("cgroup", "bubblewrap", "both", "neither")
KILLED = (("worker",), ("launcher", "worker"), ("worker", "launcher"), ("worker", "warden"), ("all",))
"""The processes killed, all at once. Exception: the launcher of the second entry dies first, which must not end the
run.
"""

_AGENT = Path(__file__).with_name("hostile_agent.py")


class Trial(msgspec.Struct):
    """A trial and its result. seconds: from the kill to the last death; breach: "" when all invariants held."""

    seed: int
    contained: str
    killed: tuple[str, ...]
    behaviours: tuple[str, ...]
    seconds: float = 0.0
    breach: str = ""


def plan(seed: int) -> Trial:
    """The trial of a seed; of twenty seeds in a row each combines another containment and kill."""
    rng = Random(seed)
    contained, killed = CONTAINED[seed % 4], KILLED[seed % 5]
    grouped = contained in ("cgroup", "both")
    able = ["daemon", "unmarked", "hop", "flood", *(["bomb", "eat"] if grouped else ["bounded_eat"])]
    if contained == "neither" and killed == ("all",):
        able.remove("unmarked")
    behaviours = rng.sample(able, rng.randint(1, len(able)))
    behaviours += [name for name in ("deaf", "close", "stop") if rng.random() < 0.6]
    return Trial(seed, contained, killed, tuple(behaviours))


def missing() -> str:
    """Why trials here are contained less than their names say; "" where all containments are available."""
    lacks = [*sorted({"memory", "pids"} - cgroup_root.enforceable()), *filter(None, [containment.bubblewrap().fault])]
    return ", ".join(lacks)


def run(seed: int, folder: Path, dead_s_max: float = DEAD_S_MAX) -> Trial:
    """Run one trial in an empty folder, enclosed. dead_s_max: how long after the kill a process may live."""
    line = [sys.executable, "-m", "tools.chaos.hostile", "--trial", str(seed), str(folder), str(dead_s_max)]
    code = enclosure.run(line, TRIAL_S_MAX)
    cgroup_root.sweep(folder / "home")
    told = folder / TOLD
    if told.exists():
        return msgspec.json.decode(told.read_bytes(), type=Trial)
    return msgspec.structs.replace(plan(seed), breach=f"the trial ended with {code} and told nothing")


def _try(seed: int, folder: Path, dead_s_max: float) -> None:
    trial = plan(seed)
    token = f"hostile-{seed}-{os.urandom(4).hex()}"
    home = folder / "home"
    for name in ("workspace", "attempt"):
        (home / name).mkdir(parents=True)
    (folder / "spec").write_bytes(_spec(trial, home, token).encode())
    grouped = str(trial.contained in ("cgroup", "both"))
    line = [sys.executable, "-m", "tools.chaos.hostile", "--worker", str(home), str(folder / "spec"), grouped]
    root = Path(__file__).parents[2]
    with subprocess.Popen(line, stdout=subprocess.PIPE, cwd=root, start_new_session=True) as worker:
        try:
            _strike(trial, worker, token, home, dead_s_max)
        finally:
            worker.kill()
            for pid in [*_tokened(token), *_marked(home)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            cgroup_root.sweep(home)
    (folder / TOLD).write_bytes(msgspec.json.encode(trial))


def _strike(trial: Trial, worker: subprocess.Popen[bytes], token: str, home: Path, dead_s_max: float) -> None:
    assert worker.stdout is not None
    told = json.loads(worker.stdout.readline() or "{}")
    if "warden" not in told:
        trial.breach = f"the run did not start: {told}"
        return
    time.sleep(Random(trial.seed).uniform(0.05, 0.5))
    pids = {"worker": worker.pid, "launcher": told["launcher"], "warden": told["warden"]}
    victims = list(pids) if trial.killed == ("all",) else list(trial.killed)
    if victims[0] == "launcher":
        os.kill(pids["launcher"], signal.SIGKILL)
        time.sleep(0.1)
        victims = ["worker"]
    at = time.monotonic()
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for name in victims:
            with contextlib.suppress(ProcessLookupError):  # a warden ends when its run is over
                os.kill(pids[name], number)
    worker.wait()
    if trial.killed == ("all",) and trial.contained in ("cgroup", "neither"):
        at = time.monotonic()
        dead_s_max += JANITOR_S
        janitor.sweep(home)
    while left := _tokened(token):
        trial.seconds = time.monotonic() - at
        if trial.seconds > max(dead_s_max, PATIENCE_S):
            break
        time.sleep(0.002)
    trial.seconds = time.monotonic() - at
    if left or trial.seconds > dead_s_max:
        trial.breach = f"{len(left)} processes were left after {trial.seconds:.2f} s"
    while (guards := _marked(home)) and not trial.breach:
        if time.monotonic() - at > PATIENCE_S:
            trial.breach = f"{len(guards)} launchers and wardens were left"
        time.sleep(0.01)


def _spec(trial: Trial, home: Path, token: str) -> Spec:
    argv = [os.path.realpath(sys.executable), "-I", "-S", str(_AGENT), token, *trial.behaviours]
    boxed = trial.contained in ("bubblewrap", "both")
    tool = containment.bubblewrap()
    if boxed and not tool.fault:
        box = Box(write=(str(home / "workspace"),), read=(sys.base_prefix, str(_AGENT)))
        argv = bubblewrap(box, tuple(argv), str(home / "workspace"), tool.path, can_seal=tool.version >= (0, 8))
    held = cgroup_root.enforceable() if trial.contained in ("cgroup", "both") else set()
    return Spec(
        run=f"r{trial.seed}",
        argv=argv,
        env={"PATH": "/usr/bin:/bin"},
        cwd=str(home / "workspace"),
        log=str(home / "attempt" / "agent.log"),
        record=str(home / "attempt" / "exit.json"),
        home=str(home),
        limits={name: value for name, value in LIMITS.items() if name in held} or None,
        wrapped=boxed and not tool.fault,
        log_bytes_max=1024 * 1024,
    )


def _tokened(token: str) -> list[int]:
    return [pid for pid in _pids() if token.encode() in _bytes(pid, "cmdline") and _state(pid) not in "ZX"]


def _marked(home: Path) -> list[int]:
    wanted = {f"{name}={home}".encode() for name in (HOME_MARK, LAUNCHER_MARK)}
    return [pid for pid in _pids() if wanted & set(_bytes(pid, "environ").split(b"\0")) and _state(pid) not in "ZX"]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _bytes(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _state(pid: int) -> str:
    return (_bytes(pid, "stat").rpartition(b")")[2].split() or [b"X"])[0].decode()


async def _work(home: Path, spec: Spec, grouped: bool) -> None:
    """Run as a worker: launch one run, print the pids in one line, and wait."""
    if not grouped:
        setattr(cgroup_root, "prepare", lambda _: [])  # noqa: B010 - simulates a system without control groups
    launcher = LauncherClient(home)
    await launcher.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(launcher.watch)
        process = await launcher.launch(spec)
        first: dict[str, Any] = (await anext(process.events))._asdict()
        print(json.dumps({"launcher": launcher.pid, **first}), flush=True)
        await process.wait()
        await trio.sleep_forever()


def main() -> int:
    """Run the trials; returns 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.chaos.hostile", description=__doc__)
    parser.add_argument("--runs", type=int, default=LONG, help=f"how many trials ({LONG})")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--dead-s", type=float, default=DEAD_S_MAX, help="seconds that something may live after (1)")
    parser.add_argument("--flood", action="store_true", help="eight agents that print 100 MB each, instead")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--trial", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trial:
        seed, folder, dead_s = options.trial
        _try(int(seed), Path(folder), float(dead_s))
        return 0
    if options.worker:
        home, spec, grouped = options.worker
        trio.run(_work, Path(home), Spec.decode(Path(spec).read_bytes()), grouped == "True")
    if options.flood:
        broken = flood()
        print("\n".join(broken) or "nothing else to tell")
        return 1 if broken else 0
    if lacks := missing():
        print(f"note: contained less than named, for want of: {lacks}")
    took: list[float] = []
    failed = 0
    for seed in range(options.first, options.first + options.runs):
        with Place("hostile") as place:
            trial = run(seed, place.path, options.dead_s)
        took.append(trial.seconds)
        failed += bool(trial.breach)
        words = f"seed {seed}: {trial.contained}, {'+'.join(trial.killed)} killed, {' '.join(trial.behaviours)}"
        print(f"{words}: {trial.breach or 'nothing left'} ({trial.seconds * 1000:.0f} ms)", flush=True)
    took.sort()
    print(f"{options.runs - failed} of {options.runs} left nothing; the slowest death took {took[-1] * 1000:.0f} ms")
    print(f"half of them were dead in {took[len(took) // 2] * 1000:.0f} ms")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
