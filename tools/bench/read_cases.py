"""Benchmark of commands that read a view, with a warm daemon and without one, against the start of a Python that does
nothing.
"""

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
    """Two cases for each of READS in a home with a few agents and tasks: with its daemon, and without one."""
    home = Home(place, f"read-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync)
    home.define("true", bin="/bin/true", argv=["{bin}"])
    home.run("up")
    try:
        for _ in range(TASKS):
            home.run("task", "dispatch", "go", "--to", "true", "--async")
        for name, words in READS:
            yield _case(home, name, fsync, words, 5)
        home.run("shutdown", "--grace-period", "1")
        for name, words in READS:
            home.run(*words)  # starts the embedded store, which stays
            yield _case(home, f"{name}, no daemon", fsync, words, 12)
    finally:
        home.run("shutdown", "--grace-period", "1", check=False)


def _case(home: Home, name: str, fsync: str, words: tuple[str, ...], bar: float) -> Case:
    return Case(
        name,
        fsync,
        "ms",
        more=False,
        bar=bar,
        ours=typical(partial(spawned, [MAESTRO, *words], home.env), TIMES),
        reference_name="python -c pass",
        reference=typical(lambda: spawned([sys.executable, "-c", "pass"]), TIMES),
    )
