"""Benchmark of workflows: time and memory of large runs beside smaller ones, and the way from one step to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from statistics import mean

import msgspec

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.node.ids import new_id
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Append, Store
from tools.bench.driven_runs import SHAPES, checked, items, lived, microseconds, peak_bytes
from tools.bench.measure import Case, timed
from tools.bench.replay_cases import commit
from tools.bench.run_cases import ask
from tools.place import Home, Place

FEW = 500
MANY = 2000
LINEAR = 1.3
STEPS = 20
NEXT = 2.0
SHOWN_FEW = 100
CHAIN = "chain"


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """Large runs in memory, then runs of a daemon."""
    for shape in SHAPES:
        yield _in_memory(f"time of a run, {shape}", "µs", partial(microseconds, lived, shape))
        yield _in_memory(f"memory of a run, {shape}", "bytes", partial(peak_bytes, lived, shape))
    for shape in ("wide", "deep"):
        yield _in_memory(f"time of a check, {shape}", "µs", partial(microseconds, checked, shape))
    home = Home(place, f"flows-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync)
    home.define("true", bin="/bin/true", argv=["{bin}"])
    home.run("up")
    home.run("agent", "assign", "true", "--name", "worker", "--to-workspace", str(place.path / f"{fsync}-worker"))
    try:
        yield from _of_a_daemon(place, home, fsync)
    finally:
        home.run("shutdown", "--grace-period", "1", check=False)


def _in_memory(name: str, unit: str, measured: Callable[[int], float]) -> Case:
    return Case(
        f"{name}: of {MANY:,} instances, for each",
        "none",
        unit,
        more=False,
        bar=LINEAR,
        ours=lambda: measured(MANY),
        reference_name=f"of {FEW}",
        reference=lambda: measured(FEW),
    )


def _of_a_daemon(place: Place, home: Home, fsync: str) -> Iterator[Case]:
    chain = place.path / "chain.yaml"
    needs = [{"needs": [f"s{number - 1}"]} if number else {} for number in range(STEPS)]
    steps = [{"id": f"s{number}", "agent": "worker", "prompt": "go", **needs[number]} for number in range(STEPS)]
    chain.write_bytes(msgspec.json.encode({"steps": steps}))
    home.run("workflow", "create", CHAIN, "--definition", str(chain))
    yield Case(
        "from the end of a step to the start of the next",
        fsync,
        "ms",
        more=False,
        bar=NEXT,
        ours=lambda: between_steps(home),
        reference_name="from a dispatch to its start",
        reference=lambda: dispatch_to_start(home),
    )
    with_few, with_many = (stored_run(home, size) for size in (SHOWN_FEW, MANY))
    yield Case(
        f"workflow status of a run with {MANY:,} instances, for each",
        fsync,
        "µs",
        more=False,
        bar=LINEAR,
        ours=partial(status, home, with_many, MANY),
        reference_name=f"the same with {SHOWN_FEW}",
        reference=partial(status, home, with_few, SHOWN_FEW),
    )


def between_steps(home: Home) -> float:
    """Milliseconds from the end of a step's run to the start of the next one's, by the log; the mean of a chain."""
    head = _head(home)
    run = ask(home, p.WorkflowStart(workflow=CHAIN))["id"]
    ask(home, p.WorkflowWait(ids=[run]))
    ends, starts = _ends_and_starts(home, head)
    assert len(starts) == len(ends) == STEPS, (len(starts), len(ends))
    return mean(start - end for end, start in zip(ends, starts[1:], strict=False))


def dispatch_to_start(home: Home) -> float:
    """Milliseconds from when a dispatch is sent to the start of its run in the log; the mean of as many tasks.

    Dispatch and start are one append on an idle node, so that the log alone would say 0.
    """
    took = []
    for _ in range(STEPS):
        head, sent = _head(home), time.time() * 1000
        ask(home, p.TaskDispatch(prompt="go", to=["worker"], sync=True))
        took += [event.at - sent for event in _events(home, head) if isinstance(event.fact, e.RunStarted)]
    return mean(took)


def status(home: Home, run: str, instances: int) -> float:
    """Microseconds that the daemon takes to answer `workflow status`, for each instance."""
    settings = home.settings
    return 1e6 * timed(lambda: ask(home, p.WorkflowStatus(id=run), settings)) / instances


def stored_run(home: Home, size: int) -> str:
    """A run over so many items that has ended, told to the log at once."""
    run = new_id()
    definition = msgspec.json.encode(items(size)).decode()
    facts: list[e.AnyFact] = [
        e.WorkflowRunStarted(run, "stored", 1, definition),
        e.StepReadied(run, "each", 1, items=list(range(size))),
    ]
    for number in range(size):
        task = new_id()
        facts.append(e.StepStarted(run, f"each[{number}]", 1, task, agent=".run", told="true"))
        facts.append(e.StepEnded(run, f"each[{number}]", "completed", "ok", result="done", exit_code=0))
    facts.append(e.WorkflowRunFinished(run, "completed", "ok"))
    store = open_store(home.settings)
    try:
        _commit_all(store, [NewEvent(f"workflow-run:{run}", fact) for fact in facts])
    finally:
        store.close()
    return run


def _commit_all(store: Store, events: list[NewEvent]) -> None:
    bounds = [*range(0, len(events), 500), len(events)]
    for first, last in pairwise(bounds):
        commit(store, [Append(tuple(events[first:last]), "bench", "bench:1")])


def _ends_and_starts(home: Home, after: int) -> tuple[list[int], list[int]]:
    events = _events(home, after)
    ends = [event.at for event in events if isinstance(event.fact, e.RunEnded)]
    return ends, [event.at for event in events if isinstance(event.fact, e.RunStarted)]


def _head(home: Home) -> int:
    store = open_store(home.settings)
    try:
        return store.log.head().seq
    finally:
        store.close()


def _events(home: Home, after: int) -> list[e.Event]:
    store = open_store(home.settings)
    try:
        return store.log.read(after, 100_000)
    finally:
        store.close()
