"""`python -m tools.bench.timelines [--tasks N]`: any view at any position of a long log, by the timeline.

200,000 finished tasks are a million events, sealed on the way as by a daemon that leads. A seek is the views at a
position that was not asked for before, and of them what a board shows: all agents, nodes and alerts, the first page of
queue, tasks, workflows and state, the totals, and how many tasks there are by status.

Then a board serves the same namespace, and is asked for agents, queue and tasks, one after the other over one
connection. Of a busy machine the processor time says more than the time.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from random import Random
from statistics import median, quantiles

import psutil

from maestro.runtime.daemon.store_access import open_store
from maestro.store.contract import Store
from replayers import rewind
from replayers.sealed import sealed_of
from replayers.timeline.past_views import Past
from replayers.timeline.timeline import Timeline
from tools.bench.bounded import fill
from tools.bench.history import agents
from tools.bench.measure import timed
from tools.place import Home, Place

BAR_MS = 100
DENSITY_BAR_MS = 50
SEEKS = 200
LISTS = ("agents", "queue", "tasks")


def main() -> int:
    """Fill a namespace, make its timeline, seek in it; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="tools.bench.timelines", description=__doc__)
    parser.add_argument("--tasks", type=int, default=200_000, help="finished tasks, five events each (200000)")
    options = parser.parse_args()
    with Place("timeline") as place:
        home = Home(place, "full", MAESTRO_EMBEDDED_FSYNC="everysec")
        store = open_store(home.settings)
        try:
            store.log.commit([agents()], None)
            sealed = sealed_of(store)
            assert sealed is not None
            for _ in fill(store, sealed, options.tasks, home.settings.log_events_max):
                pass
            missed = look(store, home.settings.home)
        finally:
            store.close()
        missed = serve(home) or missed
        home.run("shutdown", "--grace-period", "1", check=False)
    return 1 if missed else 0


def look(store: Store, home: Path) -> bool:
    """Make the timeline and ask it; returns whether a bar was missed."""
    timeline, head, random = Timeline.open(store, home), store.log.head().seq, Random(1)
    began = time.process_time()
    took = timed(timeline.catch_up)
    size = sum(path.stat().st_size for path in (home / "timelines").iterdir())
    print(f"{head:,} events recorded in {took:.1f} s ({time.process_time() - began:.1f} s of processor time)")
    print(f"the file: {size / head:.0f} bytes an event, {size >> 20} MiB")
    places = [random.randint(1, head) for _ in range(SEEKS)]

    def seek(position: int) -> float:
        return timed(lambda: board(timeline.at(position)))

    seek(places[0])
    seeks = list(map(seek, places))
    told("a seek, and what a board shows", seeks)
    told("one event further, and the same", list(map(seek, range(head // 2, head // 2 + 40))))
    densities = [timed(lambda: timeline.density(1, head, 400)) for _ in range(20)]
    told("the density of the whole log, 400 buckets", densities)
    told("all rows of tasks in the middle", [timed(lambda: timeline.at(head // 2).encoded("tasks")) for _ in range(3)])
    print(
        f"the same folded from the start of the log: {timed(lambda: rewind.folded(store, head // 2, ['tasks'])):.1f} s"
    )
    return median(seeks) * 1000 > BAR_MS or median(densities) * 1000 > DENSITY_BAR_MS


def serve(home: Home) -> bool:
    """Serve the board, and ask it; returns whether the bar was missed."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "maestro", "board", "--port", "0", "--format", "json"]
    with subprocess.Popen(words, env={**os.environ, **home.env}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        print(f"the board began after {time.perf_counter() - began:.2f} s")
        try:
            return ask(url, psutil.Process(process.pid))
        finally:
            process.terminate()


def ask(url: str, process: psutil.Process) -> bool:
    """Seek over HTTP; returns whether the bar was missed."""
    port, _, path = url.removeprefix("http://127.0.0.1:").partition("/")
    link, random, cookie = http.client.HTTPConnection("127.0.0.1", int(port)), Random(2), dict[str, str]()

    def get(path: str) -> tuple[int, str, bytes]:
        link.request("GET", f"/{path}", headers=cookie)
        answer = link.getresponse()
        return answer.status, answer.headers.get("set-cookie", ""), answer.read()

    cookie["Cookie"] = get(path)[1].partition(";")[0]
    head = json.loads(get("api/log")[2])["head"]

    def seek(position: int) -> None:
        for name in LISTS:
            assert get(f"api/{name}?limit=50&at={position}")[0] == 200

    for name in LISTS:
        places = [random.randint(1, head) for _ in range(60)]
        told(f"{name} over HTTP", [timed(partial(get, f"api/{name}?limit=50&at={at}")) for at in places])
    began = sum(process.cpu_times()[:2])
    seeks = [timed(partial(seek, random.randint(1, head))) for _ in range(SEEKS)]
    used = (sum(process.cpu_times()[:2]) - began) / SEEKS
    told(f"a seek over HTTP: {', '.join(LISTS)}", seeks)
    print(f"of that processor time of the board: {used * 1000:.1f} ms")
    told("its density, 400 buckets", [timed(partial(get, "api/density")) for _ in range(20)])
    told("100 events before a position", [timed(partial(get, f"api/events?at={head // 3}")) for _ in range(20)])
    return median(seeks) * 1000 > BAR_MS


def board(past: Past) -> None:
    """Read what a board shows of a position."""
    for view in ("agents", "nodes", "alerts", "queue", "tasks", "workflow_runs", "state"):
        past.page(view)
    past.row("totals", "all")
    past.counts("tasks")


def told(what: str, seconds: list[float]) -> None:
    """Print the median, the 95th of a hundred, and the most."""
    most = quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
    print(
        f"{what}: {median(seconds) * 1000:.1f} ms, 95 % within {most * 1000:.1f} ms, at most {max(seconds) * 1000:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
