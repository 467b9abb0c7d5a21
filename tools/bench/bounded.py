"""`python -m tools.bench.bounded [--tasks N]`: the memory of a store with a long past, and what is asked of that.

Finished tasks are appended as fast as it goes; sealing, views and forgetting go on as in a daemon that leads. Memory is
`used_memory` of the embedded store, which counts log, views, versions and what the server needs itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from itertools import islice

from maestro.model.events import NewEvent
from maestro.runtime.daemon.store_access import open_store
from maestro.store.contract import Append, Store
from projections.projector import Projector
from projections.view_reader import Views
from replayers import sealer
from replayers.past.forgetting import forget
from replayers.sealed import Segments, sealed_of
from tools.bench.history import agents, finished_tasks
from tools.bench.measure import timed
from tools.place import Home, Place

BAR_MIB = 200
A_TIME = 5000
A_COMMIT = 200


def main() -> int:
    """Fill a namespace, print its memory on the way, then the time of old tasks; returns 1 above the bar."""
    parser = argparse.ArgumentParser(prog="tools.bench.bounded", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000, help="finished tasks, five events each (1000000)")
    options = parser.parse_args()
    with Place("bounded") as place:
        home = Home(place, "full", MAESTRO_EMBEDDED_FSYNC="everysec")
        store = open_store(home.settings)
        sealed = sealed_of(store)
        assert sealed is not None
        try:
            store.log.commit([agents()], None)
            most = max(fill(store, sealed, options.tasks, home.settings.log_events_max))
            views, middle = Views(store), options.tasks // 2
            home.run("up")
            for number in (1, 1, middle, middle, middle + 1, options.tasks):
                name = f"{number:026d}"
                print(f"task {number}: {timed(lambda name=name: views.task(name)) * 1000:.1f} ms")  # type: ignore[misc]
                took = timed(lambda name=name: home.run("task", "status", name))  # type: ignore[misc]
                print(f"maestro task status {number}: {took * 1000:.0f} ms")
        finally:
            store.close()
        home.run("shutdown", "--grace-period", "1", check=False)
    return 1 if most > BAR_MIB else 0


def fill(store: Store, sealed: Segments, tasks: int, events_max: int) -> Iterator[int]:
    """Append finished tasks; yields the store's memory in MiB, and prints it where something was sealed."""
    projector, appends, began = Projector(store), finished_tasks(1, tasks), time.monotonic()
    while group := list(islice(appends, A_TIME)):
        for start in range(0, len(group), A_COMMIT):
            store.log.commit(group[start : start + A_COMMIT], None)
        projector.catch_up()
        if upto := _seal(store, sealed, projector, events_max):
            sealed.index.catch_up(store.log, upto)
            gone, mib, took = forget(store), store.memory_bytes() >> 20, time.monotonic() - began
            size = sealed.index.path.stat().st_size >> 20
            print(f"{took:.0f} s: {upto:,} events sealed, {gone:,} versions forgotten: {mib} MiB, index {size} MiB")
        yield store.memory_bytes() >> 20


def _seal(store: Store, sealed: Segments, projector: Projector, events_max: int) -> int:
    """Seal and trim what is due, as a daemon that leads does; returns the last position sealed, 0 where none was."""
    upto = 0
    for span in sealer.due(store, events_max):
        fact = sealer.seal(store, sealed, span)
        event = NewEvent(sealer.SUBJECT, fact, store.log.version(sealer.SUBJECT))
        store.log.commit([Append((event,), "bench", f"seal:{fact.first}")], None)
        store.log.trim(fact.last + 1)
        upto = fact.last
    projector.catch_up()
    return upto


if __name__ == "__main__":
    sys.exit(main())
