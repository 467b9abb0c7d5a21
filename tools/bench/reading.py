"""Benchmark of commands that read a view, with a warm daemon, against the start of a Python that does nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial

from tools.bench.measure import Case, spawned, typical
from tools.place import MAESTRO, Home, Place

TIMES = 20
TASKS = 30
READS = (
    ("maestro agent list", ("agent", "list")),
    ("maestro task list --limit 20", ("task", "list", "--limit", "20")),
    ("maestro queue status", ("queue", "status")),
)


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """A case for each of READS in a home with a few agents and tasks."""
    home = Home(place, f"read-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync)
    home.define("true", bin="/bin/true", argv=["{bin}"])
    home.run("up")
    try:
        for _ in range(TASKS):
            home.run("task", "dispatch", "go", "--to", "true", "--async")
        for name, words in READS:
            yield Case(
                name,
                fsync,
                "ms",
                more=False,
                bar=8,
                ours=typical(partial(spawned, [MAESTRO, *words], home.env), TIMES),
                reference_name="python -c pass",
                reference=typical(lambda: spawned([sys.executable, "-c", "pass"]), TIMES),
            )
    finally:
        home.run("shutdown", "--grace-period", "1", check=False)
