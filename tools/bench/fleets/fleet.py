"""A fleet: several nodes with their daemons on this machine, one store, and many agents that are shared out to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

import psutil
import redis

from maestro.model import events as e
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.node.daemon_lock import holder
from maestro.store.contract import Append
from projections.view_reader import Views
from tools.bench.replay_cases import commit
from tools.place import Home, Place, Server

NAMESPACE = "fleet"
FSYNC = "everysec"
SETTLED_S_MAX = 120.0
GROUP = 100


class Fleet:
    """Nodes with agents of the type `sleeper`, whose prompt is a script; beside them one node of an empty namespace.

    homes: of the nodes; beside: the home of the empty namespace. agents: their names, each agent's node by its number.
    """

    def __init__(self, place: Place, nodes: int, agents: int, running: int) -> None:
        self.place = place
        self.server = Server(place, FSYNC)
        shared = {"MAESTRO_REDIS_URL": self.server.url, "MAESTRO_MAX_CONCURRENT": str(-(-running // nodes))}
        self.homes = [Home(place, f"n{node}", MAESTRO_NAMESPACE=NAMESPACE, **shared) for node in range(nodes)]
        self.beside = Home(place, "beside", MAESTRO_NAMESPACE="empty", **shared)
        self.agents = [f"w{number}" for number in range(agents)]
        self.daemons: list[psutil.Process] = []

    def __enter__(self) -> Fleet:
        self.server.start()
        self.client = redis.Redis(unix_socket_path=str(self.server.socket))
        for home in (*self.homes, self.beside):
            home.define("sleeper")
            home.run("up")
        self.daemons = [process_of(home) for home in self.homes]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.close()
        for home in (*self.homes, self.beside):
            home.run("shutdown", "--grace-period", "1", check=False)
        self.server.stop()

    def home_of(self, number: int) -> Home:
        """The home of the node that an agent belongs to."""
        return self.homes[number % len(self.homes)]

    def assign(self) -> None:
        """Assign all agents, the first of each node by a command; returns when each has been looked at by its node."""
        first = self.agents[: len(self.homes)]
        for number, name in enumerate(first):
            workspace = str(self.place.path / "work" / name)
            self.home_of(number).run("agent", "assign", "sleeper", "--name", name, "--to-workspace", workspace)
        store = open_store(self.homes[0].settings)
        try:
            views = Views(store)
            rows = [views.agent(name).row for name in first]
            appends = []
            for number, name in enumerate(self.agents[len(first) :], len(first)):
                row = rows[number % len(rows)]
                assert row is not None
                workspace = str(self.place.path / "work" / name)
                fact = e.AgentAssigned(name, "sleeper", row.definition, row.workspace_root, workspace, "", 3, row.node)
                appends.append(Append((e.NewEvent(f"agent:{name}", fact, 0),), "bench", f"bench:{number}"))
            for start in range(0, len(appends), GROUP):
                commit(store, appends[start : start + GROUP])
        finally:
            store.close()
        self.wait(lambda: all((self.place.path / "work" / name).is_dir() for name in self.agents), SETTLED_S_MAX)

    def wait(self, holds: Callable[[], bool], most_s: float) -> None:
        """Wait until something holds. Raises RuntimeError where it does not in time."""
        deadline = time.monotonic() + most_s
        while not holds():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the fleet was not as it should be within {most_s:g} s")
            time.sleep(0.2)

    def running(self) -> int:
        """How many runs are on."""
        return sum(node["running"] for node in self.homes[0].ask("node", "list"))


def process_of(home: Home) -> psutil.Process:
    """The daemon of a home."""
    found = holder(home.path)
    if found is None:
        raise RuntimeError(f"no daemon of {home.path} runs")
    return psutil.Process(found.pid)
