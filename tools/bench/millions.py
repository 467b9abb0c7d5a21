"""`tools/bench/million [--tasks N]`: a namespace with a long past, beside an empty one; memory, and a rebuild.

200,000 finished tasks are a million events. What is listed must not cost more for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial

from maestro.runtime.daemon.store_access import open_store
from projections.projector import Projector
from replayers import sealer
from replayers.sealed import sealed_of
from tools.bench.history import EVENTS_PER_TASK
from tools.bench.measure import Case, measure, spawned, table, timed, typical
from tools.bench.replay_cases import write
from tools.place import MAESTRO, Home, Place

TIMES = 10
BAR = 1.5
FSYNC = "everysec"
READS = (
    ("maestro task list --limit 20", ("task", "list", "--limit", "20")),
    ("maestro queue status --waiting", ("queue", "status", "--waiting")),
    ("maestro agent list", ("agent", "list")),
)


def main() -> int:
    """Fill a namespace, measure, print; returns 1 when a command misses the bar."""
    parser = argparse.ArgumentParser(prog="tools/bench/million", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000, help="finished tasks, five events each (200000)")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each command (5)")
    options = parser.parse_args()
    with Place("million") as place:
        full = Home(place, "full", MAESTRO_EMBEDDED_FSYNC=FSYNC)
        empty = Home(place, "empty", MAESTRO_EMBEDDED_FSYNC=FSYNC)
        for line in fill(full, options.tasks):
            print(line, flush=True)
        for home in (full, empty):
            home.run("up")
        rows = [measure(case) for case in cases(full, empty, options.rounds)]
        print(f"\n{table(rows)}")
        for home in (full, empty):
            home.run("shutdown", "--grace-period", "1", check=False)
    return 1 if any(row.passed is False for row in rows) else 0


def fill(home: Home, tasks: int) -> Iterator[str]:
    """Write the history, build the views, rebuild them; yields lines that say how long each took."""
    store = open_store(home.settings)
    try:
        before = store.memory_bytes()
        took = timed(lambda: write(store, tasks))
        events = store.log.head().seq
        logged = store.memory_bytes()
        yield f"{events:,} events, {tasks:,} finished tasks ({EVENTS_PER_TASK} events each), appended in {took:.1f} s"
        yield f"memory of the log: {(logged - before) / events:.0f} bytes an event, {logged >> 20} MiB"
        took = timed(lambda: Projector(store).catch_up())
        yield f"all views built for the first time in {took:.1f} s ({events / took:,.0f} events/s)"
        viewed = store.memory_bytes()
        yield f"memory of the views: {(viewed - logged) / tasks:.0f} bytes a task, {(viewed - logged) >> 20} MiB"
    finally:
        store.close()
    took = timed(lambda: home.run("replay", "rebuild", timeout_s=1800))
    yield f"maestro replay rebuild, all views beside the live ones: {took:.1f} s ({events / took:,.0f} events/s)"
    yield from sealed(home)
    took = timed(lambda: home.run("replay", "rebuild", timeout_s=1800))
    yield f"the same rebuild, most of it from segments: {took:.1f} s ({events / took:,.0f} events/s)"


def sealed(home: Home) -> Iterator[str]:
    """Seal and trim what is due, as the leading daemon would; yields lines with the time and the memory freed."""
    store = open_store(home.settings)
    try:
        past = sealed_of(store)
        spans = sealer.due(store, home.settings.log_events_max)
        if past is None or not spans:
            return
        before = store.memory_bytes()
        took = 0.0
        for span in spans:
            took += timed(partial(sealer.seal, store, past, span))
            store.log.trim(span[1] + 1)
        count, size = spans[-1][1], sum(path.stat().st_size for path in past.folder.glob("*.seg"))
        yield f"{count:,} events sealed, read back and trimmed in {took:.1f} s ({count / took:,.0f} events/s)"
        given = before - store.memory_bytes()
        yield f"segments: {size / count:.0f} bytes an event; the store gave back {given >> 20} MiB"
    finally:
        store.close()


def cases(full: Home, empty: Home, rounds: int) -> Iterator[Case]:
    """A case for each of READS, with a warm daemon on both namespaces."""
    for name, words in READS:
        yield Case(
            name,
            FSYNC,
            "ms",
            more=False,
            bar=BAR,
            ours=typical(partial(spawned, [MAESTRO, *words], full.env), TIMES),
            reference_name="the same on an empty namespace",
            reference=typical(partial(spawned, [MAESTRO, *words], empty.env), TIMES),
            rounds=rounds,
        )


if __name__ == "__main__":
    sys.exit(main())
