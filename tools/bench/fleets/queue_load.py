"""Tasks for a fleet: dispatched by many clients at once, each a process of its own, one by one or in files."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec

from maestro.runtime.protocol import messages as p
from tools.bench.fleets.fleet import Fleet
from tools.bench.run_cases import ask
from tools.place import Home

CLIENTS = 16
PROMPT = "sleep 0.05"
FILE_LINES = 500


def one_by_one(home: Home, agents: list[str]) -> int:
    """Dispatch a task to each of these agents, one when the one before is acknowledged; how many."""
    settings = home.settings
    for agent in agents:
        ask(home, p.TaskDispatch(prompt=PROMPT, to=[agent]), settings)
    return len(agents)


def by_file(home: Home, agents: list[str], file: Path) -> int:
    """Dispatch a task to each of these agents by a file; how many."""
    file.write_bytes(b"\n".join(msgspec.json.encode({"prompt": PROMPT, "to": agent}) for agent in agents) + b"\n")
    ask(home, p.TaskBatch(path=str(file), name=file.name, key=file.name))
    return len(agents)


def dispatch_rate(fleet: Fleet, tasks: int) -> float:
    """Tasks a second that CLIENTS clients at once dispatch one by one, to all agents in turn."""
    with _clients() as clients:
        shares = [list(_targets(fleet, client, -(-tasks // CLIENTS))) for client in range(CLIENTS)]
        homes = [fleet.home_of(client) for client in range(CLIENTS)]
        list(clients.map(len, shares))  # all have started by then
        start = time.monotonic()
        done = sum(clients.map(one_by_one, homes, shares))
        return done / (time.monotonic() - start)


def fill(fleet: Fleet, tasks: int, seconds: float) -> tuple[int, float]:
    """Dispatch so many tasks by files, for at most about so many seconds; how many, and how many a second."""
    start, done = time.monotonic(), 0
    with _clients() as clients:
        for first in range(0, tasks, CLIENTS * FILE_LINES):
            if time.monotonic() - start > seconds:
                break
            lines = min(FILE_LINES, -(-(tasks - first) // CLIENTS))
            shares = [list(_targets(fleet, client, lines)) for client in range(CLIENTS)]
            files = [fleet.place.path / f"tasks-{first}-{client}" for client in range(CLIENTS)]
            homes = [fleet.home_of(client) for client in range(CLIENTS)]
            done += sum(clients.map(by_file, homes, shares, files))
    return done, done / (time.monotonic() - start)


def _clients() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(CLIENTS, multiprocessing.get_context("fork"))


def _targets(fleet: Fleet, client: int, count: int) -> list[str]:
    """The agents of a client's tasks, in turn; each client begins elsewhere."""
    agents = fleet.agents
    first = client * len(agents) // CLIENTS
    return [agents[(first + number) % len(agents)] for number in range(count)]
