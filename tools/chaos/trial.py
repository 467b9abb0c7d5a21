"""One seeded trial: set up, work, strike at a moment that the seed chooses, then check the invariants."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from pathlib import Path
from random import Random

import msgspec

from tools.chaos.faults import FAULTS
from tools.chaos.installation import Installation
from tools.chaos.invariants import breaches
from tools.chaos.work import STRIKE_S_MAX, Work
from tools.place import Place

KEPT = ("daemon.log", "evidence")


class Trial(msgspec.Struct):
    """A trial and its result. breaches: [] when all invariants held. kept: folder of its logs, if it failed.

    did: in words, what there was that the fault could hit.
    """

    seed: int
    fault: str
    seconds: float = 0.0
    breaches: list[str] = []
    kept: str = ""
    did: str = ""


def fault_of(seed: int) -> str:
    """The fault of a seed: ten seeds in a row cover all faults."""
    return list(FAULTS)[seed % len(FAULTS)]


def run(seed: int, keep: Path | None = None, fault: str = "") -> Trial:
    """Run one trial. keep: a folder for the logs of a failed one."""
    trial = Trial(seed, fault or fault_of(seed), breaches=[])
    start = time.monotonic()
    with Place("chaos") as place:
        try:
            _run(trial, place)
        except Exception:  # noqa: BLE001  a trial that breaks off is a breach too, with all that is known of it
            trial.breaches.append(traceback.format_exc())
        if trial.breaches and keep is not None:
            folder = keep / f"seed-{seed}"
            shutil.copytree(place.path, folder, ignore_dangling_symlinks=True, dirs_exist_ok=True, ignore=sockets)
            trial.kept = str(folder)
    trial.seconds = time.monotonic() - start
    return trial


def _run(trial: Trial, place: Place) -> None:
    rng = Random(trial.seed)
    with FAULTS[trial.fault](place) as (installation, strike):
        work = Work(installation, Random(rng.random()))
        striker = threading.Thread(target=_strike, args=(trial, strike, rng), name="striker")
        with installation.supervised():
            work.assign()
            striker.start()
            work.dispatch()
            striker.join()
            work.settle()
            trial.breaches += installation.breaches + breaches(work, installation.events())
            trial.breaches += proven(installation)
        trial.breaches += [f"left over: {process}" for process in installation.left_over()]


def _strike(trial: Trial, strike: object, rng: Random) -> None:
    assert callable(strike)
    time.sleep(rng.uniform(0, STRIKE_S_MAX))
    try:
        strike(rng)
    except Exception:  # noqa: BLE001  told with the trial, not lost with the thread
        trial.breaches.append(traceback.format_exc())


def proven(installation: Installation) -> list[str]:
    """What the verification of the log and the views finds amiss."""
    done = installation.home.run("replay", "verify", check=False)
    return [f"replay verify: {done.returncode}: {done.stdout} {done.stderr}"] if done.returncode else []


def sockets(folder: str, names: list[str]) -> list[str]:
    """What in a folder can be copied in no way."""
    return [name for name in names if not (Path(folder) / name).is_file() and not (Path(folder) / name).is_dir()]
