"""`tools/bench/fleet`: many agents and a long queue on several nodes of this machine, which share one store.

Agents sleep. Measured are dispatches, starts, lists beside an empty namespace, and what all costs while nothing
changes. It returns 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial

from maestro.model.events import RunStarted
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.protocol import messages as p
from tools.bench.fleets import queue_load
from tools.bench.fleets.fleet import Fleet, process_of
from tools.bench.fleets.idle_cost import Figure, idle, memory
from tools.bench.measure import Case, measure, spawned, table, typical
from tools.bench.run_cases import ask
from tools.place import MAESTRO, Home, Place

IDLE_MOST = 1.0
LISTS_MOST = 1.5
LISTS = (("agent", "list"), ("queue", "status"), ("task", "list"))
TIMES = 3
SPENT_TIMES = 5
STARTED_S_MAX = 120.0


def main() -> int:
    """Build the fleet, measure, print; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="tools/bench/fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4, help="nodes of this machine (4)")
    parser.add_argument("--agents", type=int, default=1000, help="assigned agents on all nodes together (1000)")
    parser.add_argument("--running", type=int, default=64, help="runs that are on at once (64)")
    parser.add_argument("--tasks", type=int, default=100_000, help="tasks that wait (100000)")
    parser.add_argument("--dispatches", type=int, default=3200, help="of them dispatched one by one (3200)")
    parser.add_argument("--seconds", type=float, default=60, help="how long each state is looked at (60)")
    parser.add_argument("--minutes", type=float, default=10, help="how long the queue may take to be filled (10)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds of each list (3)")
    options = parser.parse_args()
    began = time.monotonic()
    missed = False
    load = os.getloadavg()[0]
    with Place("fleet") as place, Fleet(place, options.nodes, options.agents, options.running) as fleet:
        for figure in figures(fleet, options):
            missed |= figure.missed
            print(told(figure), flush=True)
        rows = [measure(case) for case in cases(fleet, options.rounds)]
        print(f"\n{table(rows)}\n")
        for figure in starts(fleet, options.seconds):
            print(told(figure), flush=True)
    print(f"{os.cpu_count()} cores, load {load:.1f} before it; all took {time.monotonic() - began:.0f} s")
    return 1 if missed or any(row.passed is False for row in rows) else 0


def figures(fleet: Fleet, options: argparse.Namespace) -> Iterator[Figure]:
    """All figures but those of lists and starts, in the order in which they are measured."""
    seconds = options.seconds
    start = time.monotonic()
    fleet.assign()
    yield Figure(f"{options.agents} agents assigned and their workspaces made", time.monotonic() - start, "s")
    yield from idle(fleet, seconds, "no task", IDLE_MOST)
    occupy(fleet, options.running)
    yield from idle(fleet, seconds, f"{options.running} runs sleep", IDLE_MOST)
    count = min(options.dispatches, options.tasks)
    yield Figure("dispatches by 16 clients at once, one by one", queue_load.dispatch_rate(fleet, count), "a second")
    filled, rate = queue_load.fill(fleet, options.tasks - count, options.minutes * 60)
    yield Figure("dispatches by 16 clients at once, in files", rate, "a second")
    yield Figure("tasks that wait", count + filled, "")
    ask(fleet.homes[0], p.QueueStatus(which="waiting", limit=1))  # the views are at the end of the log
    yield from idle(fleet, seconds, f"{options.running} runs sleep, {count + filled} tasks wait", IDLE_MOST)
    yield from memory(fleet, "full")


def occupy(fleet: Fleet, running: int) -> None:
    """Have so many runs sleep until they are let go."""
    gate = fleet.place.path / "gate"
    os.mkfifo(gate)
    for number in range(running):
        prompt = f"read go < '{gate}' || :"
        ask(fleet.home_of(number), p.TaskDispatch(prompt=prompt, to=[fleet.agents[number % len(fleet.agents)]]))
    fleet.wait(lambda: fleet.running() == running, STARTED_S_MAX)


def cases(fleet: Fleet, rounds: int) -> Iterator[Case]:
    """A case for each of LISTS, on the full namespace and on the empty one."""
    for words in LISTS:
        argv = [MAESTRO, *words]
        for name, cost, bar in (("processor time", spent_by, LISTS_MOST), ("time", spawned_at, None)):
            yield Case(
                f"{name} of maestro {' '.join(words)}",
                "everysec",
                "ms",
                more=False,
                bar=bar,
                ours=partial(cost, fleet.homes[-1], argv),
                reference_name="the same on an empty namespace",
                reference=partial(cost, fleet.beside, argv),
                rounds=rounds,
            )


def spawned_at(home: Home, argv: list[str]) -> float:
    """Milliseconds of a command: the median of some."""
    return typical(partial(spawned, argv, home.env), TIMES)()


def spent_by(home: Home, argv: list[str]) -> float:
    """Milliseconds of processor time of a command and, for it, of the daemon, which others on the machine do not
    change much: the mean of some.
    """
    daemon = process_of(home)

    def used() -> float:
        children = os.times()
        user, system = daemon.cpu_times()[:2]
        return float(children.children_user + children.children_system + user + system)

    before = used()
    for _ in range(SPENT_TIMES):
        spawned(argv, home.env)
    return 1000 * (used() - before) / SPENT_TIMES


def starts(fleet: Fleet, seconds: float) -> Iterator[Figure]:
    """Let all go that sleep, and count what is started from the queue after that."""
    store = open_store(fleet.homes[0].settings)
    try:
        first = store.log.head().seq
        os.close(os.open(fleet.place.path / "gate", os.O_WRONLY))
        start = time.monotonic()
        time.sleep(min(seconds, 20))
        last, took = store.log.head().seq, time.monotonic() - start
        started = sum(isinstance(event.fact, RunStarted) for events in store.log.scan(first, last) for event in events)
        yield Figure("runs started from the queue", started / took, "a second")
    finally:
        store.close()


def told(figure: Figure) -> str:
    """A figure as a line."""
    bar = "" if figure.most is None else f" (bar ≤ {figure.most:g}{', missed' if figure.missed else ''})"
    note = f": {figure.note}" if figure.note else ""
    digits = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
    return f"{figure.name}: {digits} {figure.unit}{bar}{note}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
