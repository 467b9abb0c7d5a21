"""Runs of workflows whose daemon is killed again and again: loops, retries, approvals, items, children, groups.

Each run must end, no step may run more often than its retries and rounds allow, nothing may be started twice, and the
log must prove all of it.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil

from maestro.model.errors import MaestroError
from maestro.model.events import (
    Event,
    LoopTurned,
    RunEnded,
    RunReleased,
    StepEnded,
    StepStarted,
    TaskDispatched,
    WorkflowRunFinished,
    WorkflowRunStarted,
)
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.instances import parse_instance
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.protocol import messages as p
from projections.view_reader import Views
from tools.chaos.installation import Installation
from tools.chaos.invariants import breaches
from tools.chaos.trial import Trial, proven, sockets
from tools.chaos.work import AGENTS, POLL_S, Work
from tools.place import Place

RUNS = 3
KILLS = 4
BETWEEN_S = (0.1, 2.5)
END_S_MAX = 180.0
FLOW, LEAF = "flow", "leaf"
ROUNDS_MAX = 4
OPEN = ("queued", "running", "paused")


class Flows(Work):
    """Runs of workflows, acknowledged, and answered where they ask. runs: by key."""

    def __init__(self, installation: Installation, rng: Random) -> None:
        super().__init__(installation, rng)
        self.runs: dict[str, str] = {}

    def define(self) -> None:
        """Store the workflows: one with everything, and its child."""
        for name, definition in ((LEAF, self._leaf()), (FLOW, self._flow())):
            file = self.installation.place.path / f"{name}.yaml"
            file.write_bytes(msgspec.json.encode(definition))
            self.installation.home.run("workflow", "create", name, "--definition", str(file))

    def start(self) -> None:
        """Start the runs, each until it is acknowledged."""
        self._deadline = time.monotonic() + END_S_MAX
        for number in range(RUNS):
            key = f"flow-{number}"
            self.runs[key] = self.insist(p.WorkflowStart(workflow=FLOW, key=key))[0]["id"]
            time.sleep(self.rng.uniform(0, 0.3))

    def settle(self) -> None:
        """Answer what asks until every run has ended. Raises TimeoutError with those that have not."""
        waiting = list(self.runs.values())
        while waiting:
            waiting = [run for run in waiting if self._look(run) in OPEN]
            if waiting and time.monotonic() > self._deadline:
                raise TimeoutError(f"not ended after {END_S_MAX:.0f} s: {', '.join(waiting)}")
            time.sleep(POLL_S)

    def _look(self, run: str) -> str:
        """The status of a run; each of its questions gets an answer, which may be the second one."""
        row = self.insist(p.WorkflowStatus(id=run))[0]
        for step in row["steps"]:
            if step.get("waiting_for") == "approval" and self.rng.random() < 0.5:
                with suppress(MaestroError, OSError):
                    self.ask(p.WorkflowAnswer(id=run, step=step["id"], approved=True))
        return str(row["status"])

    # ---- definitions ----

    def _leaf(self) -> dict[str, Any]:
        steps = [self._step("one"), self._step("two", needs=["one"])]
        return {"steps": steps, "result": "{{ steps.two.status }}"}

    def _flow(self) -> dict[str, Any]:
        again = {"from": "loop", "until": f"round == {self.rng.randint(1, ROUNDS_MAX)}", "max": ROUNDS_MAX}
        retries = {"max": 2, "backoff": 0.2}
        steps = [
            self._step("first"),
            self._step("flaky", code=3, retries=retries, on_failure="continue"),
            self._step("loop", needs=["first"]),
            self._step("judge", needs=["loop"], again=again, retries=1),
            self._step("items", needs=["first"], for_each=[1, 2, 3, 4], max_parallel=2),
            {"id": "gate", "needs": ["judge"], "approval": True},
            {"id": "child", "needs": ["gate"], "workflow": LEAF},
            self._step("last", needs=["child", "items", "flaky"]),
            self._step("bye"),
        ]
        grouped = {"concurrency": {"group": "all"}} if self.rng.random() < 0.3 else {}
        return {"steps": steps, "finally": "bye", **grouped}

    def _step(self, id: str, code: int = 0, **keys: Any) -> dict[str, Any]:
        agent = f"a{self.rng.randrange(AGENTS)}"
        return {"id": id, "agent": agent, "prompt": self._prompt(self.rng.choice([0.02, 0.1, 0.4]), code), **keys}


def run(seed: int, keep: Path | None = None) -> Trial:
    """Run one trial. keep: a folder for the logs of a failed one."""
    trial = Trial(seed, "kill the daemon while workflows run", breaches=[])
    start = time.monotonic()
    with Place("flows") as place:
        try:
            _run(trial, place)
        except Exception:  # noqa: BLE001  a trial that breaks off is a breach too, with all that is known of it
            trial.breaches.append(traceback.format_exc())
        if trial.breaches and keep is not None:
            folder = keep / f"flows-{seed}"
            shutil.copytree(place.path, folder, ignore_dangling_symlinks=True, dirs_exist_ok=True, ignore=sockets)
            trial.kept = str(folder)
    trial.seconds = time.monotonic() - start
    return trial


def _run(trial: Trial, place: Place) -> None:
    rng = Random(trial.seed)
    installation = Installation(place)
    flows = Flows(installation, Random(rng.random()))
    killer = threading.Thread(target=_kill, args=(trial, installation, rng), name="killer")
    with installation.supervised():
        flows.assign()
        flows.define()
        killer.start()
        try:
            flows.start()
            flows.settle()
        finally:
            killer.join()
        events = installation.events()
        trial.breaches += [*breaches(flows, events), *of_workflows(flows.runs, events)]
        trial.breaches += _by_definition(installation, events)
        trial.breaches += proven(installation)
    trial.breaches += [f"left over: {process}" for process in installation.left_over()]


def _kill(trial: Trial, installation: Installation, rng: Random) -> None:
    try:
        for _ in range(KILLS):
            time.sleep(rng.uniform(*BETWEEN_S))
            with suppress(psutil.NoSuchProcess):
                installation.daemon().kill()
    except Exception:  # noqa: BLE001  told with the trial, not lost with the thread
        trial.breaches.append(traceback.format_exc())


def of_workflows(runs: dict[str, str], events: Sequence[Event]) -> Iterator[str]:
    """The breaches of what a log must say of runs of workflows. runs: those that were acknowledged, by key."""
    started = {fact.run: fact for event in events if isinstance(fact := event.fact, WorkflowRunStarted)}
    finished = Counter(event.fact.run for event in events if isinstance(event.fact, WorkflowRunFinished))
    for key, id in runs.items():
        same = [fact.run for fact in started.values() if fact.key == key]
        if same != [id]:
            yield f"the acknowledged run {id} (key {key}) is in the log as {same}"
    for id in started:
        if finished[id] != 1:
            yield f"the run {id} has finished {finished[id]} times"
    tasks = Counter(event.fact.task for event in events if isinstance(event.fact, StepStarted) and event.fact.task)
    dispatched = Counter(fact.task for event in events if isinstance(fact := event.fact, TaskDispatched) and fact.step)
    if tasks != dispatched:
        yield f"attempts and their tasks differ: {tasks - dispatched} and {dispatched - tasks}"
    yield from _losses(events)


def attempts(definitions: Mapping[str, Workflow], events: Sequence[Event]) -> Iterator[str]:
    """No instance began more attempts than its step may, each of which ended once; no loop had more rounds."""
    begun = Counter((fact.run, fact.instance) for event in events if isinstance(fact := event.fact, StepStarted))
    ended = Counter((fact.run, fact.instance) for event in events if isinstance(fact := event.fact, StepEnded))
    rounds = Counter((fact.run, fact.step) for event in events if isinstance(fact := event.fact, LoopTurned))
    steps = {run: {step.id: step for step in definition.steps} for run, definition in definitions.items()}
    for (run, instance), times in begun.items():
        parsed = parse_instance(instance)
        assert parsed is not None
        most = 1 + steps[run][parsed[0]].retry.max
        if times > most or ended[run, instance] != times:
            yield f"{instance} of run {run} began {times} times ({most} may), and ended {ended[run, instance]} times"
    for (run, name), times in rounds.items():
        again = steps[run][name].again
        if again is None or times > again.max:
            yield f"the loop of {name} in run {run} turned {times} times"


def _losses(events: Sequence[Event]) -> Iterator[str]:
    """The task of an attempt ran once more for each loss, and no more than that."""
    of_steps = {fact.task for event in events if isinstance(fact := event.fact, TaskDispatched) and fact.step}
    released = Counter(event.fact.task for event in events if isinstance(event.fact, RunReleased))
    lost = Counter(fact.task for event in events if isinstance(fact := event.fact, RunEnded) and fact.outcome == "lost")
    for task in of_steps:
        if released[task] > 1 + lost[task]:
            yield f"the attempt {task} ran {released[task]} times and was lost {lost[task]} times"


def _by_definition(installation: Installation, events: Sequence[Event]) -> Iterator[str]:
    """The breaches that a look at the definitions shows, and headers that do not say what the events of a run do."""
    definitions: dict[str, Workflow] = {}
    store = installation.open_store()
    try:
        for id in (event.fact.run for event in events if isinstance(event.fact, WorkflowRunStarted)):
            header = Views(store).workflow_run(id).row
            assert header is not None
            found, _ = read_run(store, header)
            definitions[id] = found.workflow
            if found.status != header.status or not found.ended:
                yield f"the header of run {id} says {header.status}, its events {found.status}"
    finally:
        store.close()
    yield from attempts(definitions, events)


def main() -> int:
    """Run one trial by its seed, for whoever looks for a fault."""
    trial = run(int(sys.argv[1]) if len(sys.argv) > 1 else 0, Path.cwd())
    print("\n".join([f"{trial.seconds:.1f} s", *trial.breaches]))
    return 1 if trial.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
