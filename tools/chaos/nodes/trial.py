"""One seeded trial of three nodes: set up, work, strike, settle, then check the invariants."""

from __future__ import annotations

import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random

from tools.chaos.invariants import breaches, effects
from tools.chaos.nodes.contents import torn
from tools.chaos.nodes.failover import watched
from tools.chaos.nodes.faults import FAULTS, HOURS, ONE_NODE, SPLIT, Strike
from tools.chaos.nodes.fleet import NODES, REPLICA, STORE, WATCHER, Fleet, FleetWork
from tools.chaos.nodes.hosts import Hosts
from tools.chaos.nodes.keeper import Keeper, not_idle, until_over
from tools.chaos.nodes.works import told
from tools.chaos.trial import Trial, sockets
from tools.chaos.work import STRIKE_S_MAX
from tools.place import Place

SHORT_S, LONG_S = 2.5, 25.0
BEHIND = (0.0, -1.0)
"""The clock of the replica is an hour behind that of the primary: so much behind its log it is when it is promoted."""
RESTORES = 0.85
"""In how many trials there are restores, too."""
KEEPING = ("a node does not hear", SPLIT)
AIMED, AIM_S_MAX = 0.7, 10.0
"""How many strikes come in the middle of a snapshot or a restore, and how long one of these is waited for."""


def fault_of(seed: int) -> str:
    """The fault of a seed: eleven seeds in a row cover all faults, nine all that need one store server."""
    return list(FAULTS)[seed % len(FAULTS)]


def run(seed: int, keep: Path | None = None, fault: str = "", short: bool = False) -> Trial:
    """Run one trial. keep: a folder for the logs of a failed one. short: no strike lasts long."""
    trial = Trial(seed, fault or fault_of(seed), breaches=[])
    start = time.monotonic()
    with Place("nodes") as place, Hosts(*NODES, STORE, REPLICA, WATCHER) as hosts:
        try:
            _run(trial, place, hosts, short)
        except Exception:  # noqa: BLE001  a trial that breaks off is a breach too, with all that is known of it
            trial.breaches.append(traceback.format_exc())
        if trial.breaches and keep is not None:
            folder = keep / f"nodes-{seed}"
            shutil.copytree(place.path, folder, ignore_dangling_symlinks=True, dirs_exist_ok=True, ignore=sockets)
            trial.kept = str(folder)
    trial.seconds = time.monotonic() - start
    return trial


@contextmanager
def watched_fleet(hosts: Hosts, place: Place) -> Iterator[tuple[FleetWork, Callable[[int, str], Trial]]]:
    """A fleet for short trials, one after the other: all of its clocks are apart, and its store has Sentinels.

    Gives its work, and what runs the trial of a seed with a fault: one of `ONE_NODE`, or that the store is split. Only
    those of `KEEPING` have snapshots and restores, as these wait for nodes that are away.
    """
    with watched(place, hosts, BEHIND, HOURS) as store:
        work = FleetWork(store.fleet, Random(0))
        strikes = ONE_NODE | {SPLIT: lambda _, rng, seconds: store.split_and_accept(rng, seconds)}

        def one(seed: int, fault: str) -> Trial:
            trial, rng = Trial(seed, fault, breaches=[]), Random(seed)
            work.rng, work.turn = Random(rng.random()), seed
            _struck(trial, work, strikes[fault], rng, SHORT_S, keeps=fault in KEEPING)
            return trial

        with store.fleet.supervised():
            work.assign()
            yield work, one


def _struck(trial: Trial, work: FleetWork, strike: Strike, rng: Random, seconds: float, keeps: bool = True) -> None:
    """Work, take snapshots and restore them while the strike comes; let all of it end, and check what must hold."""
    fleet = work.fleet
    keeper = Keeper(work, Random(rng.random()), restores=rng.random() < RESTORES)
    aimed = keeper.busy if rng.random() < AIMED and keeps else None
    striker = threading.Thread(target=_strike, args=(trial, work, strike, rng, seconds, aimed), name="striker")
    if keeps:
        work.keep()
    with keeper.at_work() if keeps else nullcontext():
        striker.start()
        work.dispatch(work.turn)
        striker.join()
    until_over(work)
    work.forget_undone()
    work.settle()
    if keeps:
        work.keep()
    events = fleet.events()
    trial.did = told(events)
    trial.breaches += [*fleet.breaches, *breaches(work, events), *effects(work, events), *proven(fleet)]
    trial.breaches += [*(torn(work, events) if keeps else ()), *not_idle(work)]


def _run(trial: Trial, place: Place, hosts: Hosts, short: bool) -> None:
    rng = Random(trial.seed)
    seconds = SHORT_S if short or rng.random() < 0.5 else LONG_S
    with FAULTS[trial.fault](place, hosts, rng) as (fleet, strike):
        work = FleetWork(fleet, Random(rng.random()))
        with fleet.supervised():
            work.assign()
            _struck(trial, work, strike, rng, seconds)
        trial.breaches += [f"left over: {process}" for process in fleet.left_over()]


def _strike(
    trial: Trial, work: FleetWork, strike: Strike, rng: Random, seconds: float, aimed: threading.Event | None
) -> None:
    if aimed is not None:
        aimed.wait(AIM_S_MAX)
    time.sleep(rng.uniform(0, STRIKE_S_MAX))
    try:
        strike(work, rng, seconds)
    except Exception:  # noqa: BLE001  told with the trial, not lost with the thread
        trial.breaches.append(traceback.format_exc())
    finally:
        work.fleet.hosts.heal()


def proven(fleet: Fleet) -> list[str]:
    """What each node's verification of the log and the views finds amiss."""
    fleet.until_up()
    done = fleet.home.run("replay", "verify", check=False)
    return [f"replay verify: {done.returncode}: {done.stdout} {done.stderr}"] if done.returncode else []
