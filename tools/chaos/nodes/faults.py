"""The faults of hosts. Each sets up a fleet, and strikes once; the strike undoes itself.

`seconds`: how long a strike lasts at most. Above ten seconds a node that is cut off is taken for lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from random import Random

import psutil

from tools.chaos.nodes.failover import watched
from tools.chaos.nodes.fleet import NODES, PORT, STORE, Fleet, FleetWork, server
from tools.chaos.nodes.hosts import Hosts, clock_library
from tools.chaos.nodes.line import Line
from tools.place import Place

Strike = Callable[[FleetWork, Random, float], None]
Scene = Callable[[Place, Hosts, Random], AbstractContextManager[tuple[Fleet, Strike]]]
HOURS = (1.0, -1.0, 0.0)


@contextmanager
def plain(place: Place, hosts: Hosts, hours: tuple[float, ...] = ()) -> Iterator[Fleet]:
    """Three nodes and a store."""
    with server(place, hosts[STORE], "primary") as store:
        fleet = Fleet(place, hosts, store)
        for number, name in enumerate(NODES):
            fleet.add(name, f"redis://{hosts[STORE].address}:{PORT}/0", hours[number] if hours else 0.0)
        yield fleet


def struck(strike: Strike) -> Scene:
    """The scene of a fault of one node."""

    @contextmanager
    def scene(place: Place, hosts: Hosts, _: Random) -> Iterator[tuple[Fleet, Strike]]:
        with plain(place, hosts) as fleet:
            yield fleet, strike

    return scene


def at_one(strike: Callable[[FleetWork, str, Random, float], None], leader: bool = False) -> Strike:
    """A strike at one node: any of them, or the one that leads."""

    def begin(work: FleetWork, rng: Random, seconds: float) -> None:
        name = work.fleet.leader() if leader else rng.choice(NODES)
        work.struck.add(name)
        try:
            strike(work, name, rng, seconds)
        finally:
            work.struck.discard(name)

    return begin


def cut_off(work: FleetWork, name: str, rng: Random, seconds: float) -> None:
    """Nothing goes to the node, and nothing comes from it."""
    host = work.fleet.hosts[name]
    host.cut_off()
    time.sleep(rng.uniform(0.3, seconds))
    host.join()


def mute(work: FleetWork, name: str, rng: Random, seconds: float) -> None:
    """What the node sends gets nowhere; what is sent to it arrives."""
    host, store = work.fleet.hosts[name], work.fleet.at
    host.deny(store)
    time.sleep(rng.uniform(0.3, seconds))
    host.allow(store)


def deaf(work: FleetWork, name: str, rng: Random, seconds: float) -> None:
    """What the node sends arrives, and is carried out; no answer comes back."""
    host, store = work.fleet.hosts[name], work.fleet.at
    store.deny(host)
    time.sleep(rng.uniform(0.3, seconds))
    store.allow(host)


def power_cut(work: FleetWork, name: str, rng: Random, seconds: float) -> None:
    """All processes of the node end at once; it comes back later."""
    work.fleet.kill(name)
    time.sleep(rng.uniform(0, seconds))
    work.fleet.nodes[name].away.clear()


def stand_still(work: FleetWork, name: str, rng: Random, seconds: float) -> None:
    """The daemon of the node does nothing for a while, and knows nothing of that."""
    with suppress(psutil.NoSuchProcess):
        daemon = work.fleet.nodes[name].daemon()
        daemon.suspend()
        time.sleep(rng.uniform(0.3, seconds))
        daemon.resume()


@contextmanager
def slow_line(place: Place, hosts: Hosts, rng: Random) -> Iterator[tuple[Fleet, Strike]]:
    """The lines of all nodes are slow, and break again and again."""
    with server(place, hosts[STORE], "primary") as store:
        fleet = Fleet(place, hosts, store)
        lines = [Line(hosts[name], hosts[STORE].address, PORT, rng.random()) for name in NODES]
        for name, line in zip(NODES, lines, strict=True):
            fleet.add(name, line.url)

        def strike(_: FleetWork, rng: Random, seconds: float) -> None:
            for line in lines:
                line.delay_s, line.broken = rng.choice([0.0, 0.02, 0.1]), rng.choice([0.0, 0.02, 0.1])
            time.sleep(rng.uniform(0.5, seconds))
            for line in lines:
                line.delay_s = line.broken = 0.0

        try:
            yield fleet, strike
        finally:
            for line in lines:
                line.close()


@contextmanager
def clocks_apart(place: Place, hosts: Hosts, rng: Random) -> Iterator[tuple[Fleet, Strike]]:
    """The clocks of two nodes are an hour ahead and behind; the leader is killed, so that another one takes over."""
    hours = list(HOURS if clock_library() else ())
    rng.shuffle(hours)
    with plain(place, hosts, tuple(hours)) as fleet:

        def strike(_: FleetWork, __: Random, ___: float) -> None:
            with suppress(psutil.NoSuchProcess):
                fleet.nodes[fleet.leader()].daemon().kill()

        yield fleet, strike


@contextmanager
def split(place: Place, hosts: Hosts, _: Random) -> Iterator[tuple[Fleet, Strike]]:
    """The primary is cut off from replica and Sentinels, and goes on with the nodes: what it takes then is lost."""
    with watched(place, hosts) as store:
        yield store.fleet, lambda _, rng, seconds: store.split_and_accept(rng, min(seconds, 5.0))


@contextmanager
def primary_dies(place: Place, hosts: Hosts, rng: Random) -> Iterator[tuple[Fleet, Strike]]:
    """The primary is cut off from everybody; the clock of its replica is up to an hour apart."""
    with watched(place, hosts, (0.0, rng.choice([0.0, 1.0, -1.0]))) as store:

        def strike(_: FleetWork, rng: Random, seconds: float) -> None:
            store.die(rng, min(seconds, 5.0))
            if store.fleet.lost_tail:
                store.accept()

        yield store.fleet, strike


ONE_NODE: dict[str, Strike] = {
    "cut a node off": at_one(cut_off),
    "a node is not heard": at_one(mute),
    "a node does not hear": at_one(deaf),
    "cut the leader off": at_one(cut_off, leader=True),
    "a node loses its power": at_one(power_cut),
    "the leader loses its power": at_one(power_cut, leader=True),
    "a node stands still": at_one(stand_still),
}
SPLIT = "the store is split"

FAULTS: dict[str, Scene] = {
    **{name: struck(strike) for name, strike in ONE_NODE.items()},
    "clocks an hour apart, the leader dies": clocks_apart,
    "a slow line that breaks": slow_line,
    "the primary is cut off": primary_dies,
    SPLIT: split,
}
