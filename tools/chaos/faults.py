"""The faults. Each sets up an installation on a suitable store, and strikes once.

A strike undoes what no supervisor would: it continues processes that it stopped, and lets replies pass again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from random import Random

import psutil

from tools.chaos.failover import failover
from tools.chaos.installation import Installation
from tools.chaos.proxy import Proxy
from tools.place import Place, Server

STOPPED_S_MAX = 3.0
LOSING_S_MAX = 1.5

Strike = Callable[[Random], None]
Fault = Callable[[Place], AbstractContextManager[tuple[Installation, Strike]]]
Find = Callable[[Installation], psutil.Process]


def killed(find: Find) -> Fault:
    """A fault that kills a process with SIGKILL."""

    @contextmanager
    def scene(place: Place) -> Iterator[tuple[Installation, Strike]]:
        installation = Installation(place)

        def strike(_: Random) -> None:
            with suppress(psutil.NoSuchProcess):
                find(installation).kill()

        yield installation, strike

    return scene


def stopped(find: Find) -> Fault:
    """A fault that stops a process with SIGSTOP, and continues it a while later."""

    @contextmanager
    def scene(place: Place) -> Iterator[tuple[Installation, Strike]]:
        installation = Installation(place)

        def strike(rng: Random) -> None:
            with suppress(psutil.NoSuchProcess):
                process = find(installation)
                process.suspend()
                time.sleep(rng.uniform(0.1, STOPPED_S_MAX))
                process.resume()

        yield installation, strike

    return scene


@contextmanager
def replies_lost(place: Place) -> Iterator[tuple[Installation, Strike]]:
    """A fault in which commands reach the store and are executed, but for a while no reply comes back."""
    with Server(place, "everysec") as server:
        proxy = Proxy(place.path / "proxy", server.socket)

        def strike(rng: Random) -> None:
            proxy.lose_replies(True)
            time.sleep(rng.uniform(0.05, LOSING_S_MAX))
            proxy.lose_replies(False)

        try:
            yield Installation(place, proxy.url, (server,)), strike
        finally:
            proxy.close()


FAULTS: dict[str, Fault] = {
    "kill the worker": killed(Installation.daemon),
    "stop the worker": stopped(Installation.daemon),
    "kill the launcher": killed(Installation.launcher),
    "stop the launcher": stopped(Installation.launcher),
    "kill a warden": killed(Installation.warden),
    "stop a warden": stopped(Installation.warden),
    "kill the embedded server": killed(Installation.embedded_server),
    "stop the embedded server": stopped(Installation.embedded_server),
    "lose replies": replies_lost,
    "promote a replica without its tail": failover,
}
