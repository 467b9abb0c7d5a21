"""The fault of a failover that loses acknowledged events: the replica is cut off, the primary goes on, then dies."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import redis

from maestro.model.events import Event, LogForked, StateSet, TaskDispatched
from maestro.store.contract import Store
from maestro.store.redis.redis_store import open_redis
from tools.chaos.installation import Installation
from tools.chaos.proxy import Proxy
from tools.place import MAESTRO, Place, Server

IN_STEP_S_MAX = 20.0
AHEAD_S_MAX = 3.0
NOTICED_S_MAX = 60.0
POLL_S = 0.05


@contextmanager
def failover(place: Place) -> Iterator[tuple[Installation, Callable[[Random], None]]]:
    """A primary with a replica, behind a proxy that the strike switches to the replica."""
    port = free_port()
    replicated = ("--repl-diskless-sync-delay", "0", "--bind", "127.0.0.1")
    with (
        Server(place, "everysec", "primary", "--port", str(port), *replicated) as primary,
        Server(place, "everysec", "replica", "--replicaof", "127.0.0.1", str(port), *replicated) as replica,
    ):
        proxy = Proxy(place.path / "proxy", primary.socket)
        installation = Installation(place, proxy.url, (primary, replica))
        try:
            yield installation, lambda rng: strike(installation, proxy, primary, replica, rng)
        finally:
            proxy.close()


def strike(installation: Installation, proxy: Proxy, primary: Server, replica: Server, rng: Random) -> None:
    """Lose a tail of at least one event, let the operator accept that, and check that nothing was appended before."""
    namespace = installation.home.settings.namespace
    ahead, behind = open_redis(primary.url, namespace), open_redis(replica.url, namespace)
    try:
        until_in_step(ahead, behind)
        with redis.Redis(unix_socket_path=str(replica.socket)) as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        cut = behind.log.head().seq
        deadline = time.monotonic() + AHEAD_S_MAX
        while ahead.log.head().seq == cut and time.monotonic() < deadline:
            time.sleep(POLL_S)
        time.sleep(rng.uniform(0, 0.5))
        proxy.turn_to(installation.place.path / "nowhere")
        tail = list(read(ahead, cut))
        installation.lost |= {name for event in tail for name in named(event)}
        installation.lost_tail = bool(tail)
        primary.stop()
        proxy.turn_to(replica.socket)
        if tail:
            accept(installation)
            first = behind.log.event(cut + 1)
            if first is None or not isinstance(first.fact, LogForked):
                installation.breaches.append(f"history forked silently: behind {cut} came {first}")
    finally:
        ahead.close()
        behind.close()


def until_in_step(ahead: Store, behind: Store) -> None:
    """Wait until the replica has all events of the primary, at least one. Raises TimeoutError."""
    deadline = time.monotonic() + IN_STEP_S_MAX
    while not 0 < ahead.log.head().seq <= behind.log.head().seq:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the replica is not in step after {IN_STEP_S_MAX:.0f} s")
        time.sleep(POLL_S)


def read(store: Store, after: int) -> Iterator[Event]:
    """All events behind a position."""
    while events := store.log.read(after, 1000):
        yield from events
        after = events[-1].seq


def named(event: Event) -> tuple[str, ...]:
    """The id of the task, or the state key, in an acknowledged event that is lost."""
    match event.fact:
        case TaskDispatched(task=task):
            return (task,)
        case StateSet(key=key):
            return (key,)
        case _:
            return ()


def accept(installation: Installation) -> None:
    """Accept the loss as the operator would once Maestro has stopped. Raises TimeoutError when that never works."""
    deadline = time.monotonic() + NOTICED_S_MAX
    words = [MAESTRO, "doctor", "--accept-loss"]
    while True:
        done = subprocess.run(words, env=installation.home.env, capture_output=True, text=True, timeout=60)
        if any(isinstance(event.fact, LogForked) for event in installation.events()):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"doctor --accept-loss: {done.returncode}: {done.stderr} {done.stdout}")
        time.sleep(POLL_S)


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
