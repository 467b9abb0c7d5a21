"""A store with a replica under three Sentinels, on hosts of their own; its failovers, orderly or with a split."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from random import Random

import redis

from maestro.model.events import LogForked
from maestro.store.contract import Entry, Store
from maestro.store.redis.redis_store import open_redis
from tools.chaos.failover import named, until_in_step
from tools.chaos.nodes.fleet import NODES, PORT, REPLICA, STORE, WATCHER, Fleet, server
from tools.chaos.nodes.hosts import Hosts
from tools.place import Place, Server, server_binary

SENTINEL_PORT = 26379
DOWN_AFTER_MS = 1000
PROMOTED_S_MAX = 30.0
NOTICED_S_MAX = 90.0
POLL_S = 0.05


class Watched:
    """A primary and its replica, and what was lost between them. fleet: whose store it is."""

    def __init__(self, fleet: Fleet, primary: Server, replica: Server) -> None:
        self.fleet, self.primary, self.replica = fleet, primary, replica

    def split(self, rng: Random, seconds: float) -> None:
        """The primary is cut off from replica and Sentinels, not from the nodes, which go on writing to it; it dies."""
        hosts = self.fleet.hosts
        self._in_step()
        for name in (REPLICA, WATCHER):
            hosts[STORE].deny(hosts[name])
        self.promoted()
        time.sleep(rng.uniform(0, seconds))
        self.lose_primary()
        hosts.heal()

    def split_and_accept(self, rng: Random, seconds: float) -> None:
        """As `split`; then what was lost is accepted."""
        self.split(rng, seconds)
        if self.fleet.lost_tail:
            self.accept()

    def die(self, rng: Random, seconds: float) -> None:
        """The primary is cut off from everybody, and comes back as a replica."""
        hosts = self.fleet.hosts
        self._in_step()
        hosts[STORE].cut_off()
        self.promoted()
        time.sleep(rng.uniform(0, seconds))
        self.lose_primary()
        hosts.heal()

    def _in_step(self) -> None:
        namespace = self.fleet.home.settings.namespace
        ahead, behind = (open_redis(one.url, namespace) for one in (self.primary, self.replica))
        try:
            until_in_step(ahead, behind)
        finally:
            ahead.close()
            behind.close()

    def promoted(self) -> None:
        """Wait until the replica is the primary, and have all look there."""
        deadline = time.monotonic() + PROMOTED_S_MAX
        with redis.Redis(unix_socket_path=str(self.replica.socket)) as client:
            while client.info("replication")["role"] != "master":
                if time.monotonic() > deadline:
                    raise TimeoutError("the Sentinels promoted nobody")
                time.sleep(POLL_S)
        self.fleet.store = self.replica
        for node in self.fleet.nodes.values():
            node.url = self.replica.url

    def lose_primary(self) -> None:
        """End the old primary; what only it had is lost, and must be accepted before anything goes on there."""
        namespace = self.fleet.home.settings.namespace
        with redis.Redis(unix_socket_path=str(self.primary.socket)) as client, suppress(redis.RedisError):
            client.execute_command("CLIENT", "PAUSE", "600000", "WRITE")
        old, new = (open_redis(one.url, namespace) for one in (self.primary, self.replica))
        try:
            kept = {entry.chain for entry in _entries(new)}
            lost = [entry.seq for entry in _entries(old) if entry.chain not in kept]
            tail = [event for seq in lost if (event := old.log.event(seq)) is not None]
        finally:
            self.primary.stop()
            old.close()
            new.close()
        self.fleet.in_tail |= {name for event in tail for name in named(event)}
        self.fleet.lost_tail = bool(tail)

    def accept(self) -> None:
        """Accept the loss on each node that has stopped, as its operator would."""
        deadline = time.monotonic() + NOTICED_S_MAX
        said = ""
        while not any(isinstance(event.fact, LogForked) for event in self.fleet.events()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody noticed the loss: {said}")
            for node in self.fleet.nodes.values():
                words = [*node.within, node.home.maestro, "doctor", "--accept-loss"]
                done = subprocess.run(words, env=node.home.env, capture_output=True, text=True, timeout=60, check=False)
                said = f"doctor --accept-loss: {done.returncode}: {done.stderr[-500:]}"
            time.sleep(POLL_S)


def _entries(store: Store) -> list[Entry]:
    found: list[Entry] = []
    while events := store.log.entries(found[-1].seq if found else 0, 1000):
        found += events
    return found


@contextmanager
def watched(
    place: Place, hosts: Hosts, hours: Sequence[float] = (0.0, 0.0), node_hours: Sequence[float] = (0.0, 0.0, 0.0)
) -> Iterator[Watched]:
    """A primary, a replica and three Sentinels, and the nodes that find the primary through them.

    hours: how far the clocks of primary and replica are apart; node_hours: those of the nodes.
    """
    to = ("--replicaof", hosts[STORE].address, str(PORT))
    with (
        server(place, hosts[STORE], "primary", hours=hours[0]) as primary,
        server(place, hosts[REPLICA], "replica", *to, hours=hours[1]) as replica,
    ):
        running = [_sentinel(place, hosts, name) for name in (STORE, REPLICA, WATCHER)]
        fleet = Fleet(place, hosts, primary, replica)
        fleet.own += running
        sentinels = ",".join(f"{hosts[name].address}:{SENTINEL_PORT}" for name in (WATCHER, REPLICA, STORE))
        for name, apart in zip(NODES, node_hours, strict=True):
            fleet.add(name, f"redis+sentinel://{sentinels}/main", apart)
        try:
            yield Watched(fleet, primary, replica)
        finally:
            for process in running:
                process.kill()
                process.wait()


def _sentinel(place: Place, hosts: Hosts, name: str) -> subprocess.Popen[bytes]:
    folder = place.path / f"sentinel-{name}"
    folder.mkdir()
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {SENTINEL_PORT}\nbind {hosts[name].address}\nprotected-mode no\ndir {folder}\n"
        f"sentinel monitor main {hosts[STORE].address} {PORT} 2\n"
        f"sentinel down-after-milliseconds main {DOWN_AFTER_MS}\nsentinel failover-timeout main 5000\n"
    )
    words = [*hosts[name].within, server_binary(), str(config), "--sentinel"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
