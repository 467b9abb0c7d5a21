"""Runs of workflows in memory, of any size and shape: each decision is carried out at once, each attempt ends well."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from maestro.model.events import AnyFact, StepReadied, StepStarted, WorkflowRunStarted
from maestro.model.workflow.checks import findings
from maestro.model.workflow.decide import Work, decide
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End, ended, turned
from maestro.model.workflow.run import Run

RUN = "r"
STACK = 100
"""How many calls deep a run may lead, however many steps it has."""
OK = End("completed", "ok", tokens=1)


def wide(size: int) -> Workflow:
    """So many steps that need nothing."""
    return _workflow([{"id": f"s{number}", "run": "true"} for number in range(size)])


def deep(size: int) -> Workflow:
    """So many steps, each of which needs the one before it."""
    needs = [{"needs": [f"s{number - 1}"]} if number else {} for number in range(size)]
    return _workflow([{"id": f"s{number}", "run": "true", **needs[number]} for number in range(size)])


def rounds(size: int) -> Workflow:
    """Half as many rounds of a loop of two steps."""
    again = {"from": "fix", "until": "false", "max": size // 2}
    judge = {"id": "judge", "run": "true", "needs": ["fix"], "again": again, "on_failure": "continue"}
    return _workflow([{"id": "fix", "run": "true"}, judge])


def items(size: int) -> Workflow:
    """One step for so many items."""
    return _workflow([{"id": "each", "run": "true", "for_each": list(range(size))}])


SHAPES: dict[str, Callable[[int], Workflow]] = {"wide": wide, "deep": deep, "rounds": rounds, "items": items}


def _workflow(steps: list[dict[str, Any]]) -> Workflow:
    return msgspec.convert({"steps": steps}, Workflow)


class DrivenRun:
    """A run of a workflow, from its check to its end. facts: all that was told."""

    def __init__(self, workflow: Workflow) -> None:
        started = WorkflowRunStarted(RUN, "bench", 1, "")
        self.facts: list[AnyFact] = [started]
        self.now = 1
        self.run = Run(started, self.now, workflow)

    def drive(self) -> None:
        """To its end. Raises RuntimeError where it does not come to one."""
        while not self.run.ended:
            moves = decide(self.run, self.now)
            if not moves and not self.run.working:
                raise RuntimeError(f"the run waits for ever: {self.run.status}")
            for move in moves:
                self._tell(self._done(move) if isinstance(move, Work) else move)
            if not moves:
                for id in list(self.run.working):
                    self._tell(ended(self.run, self.run.instances[id], OK, self.now))

    def _done(self, work: Work) -> AnyFact:
        run = self.run
        if work.kind == "turn":
            return turned(run, work.subject, until=False)
        if work.kind == "start":
            return StepStarted(RUN, work.subject, run.instances[work.subject].attempts + 1, "t", told="true")
        step = run.steps[work.subject]
        found = list(step.for_each) if step.for_each is not None else None
        return StepReadied(RUN, step.id, run.current[step.id].round, items=found)

    def _tell(self, fact: AnyFact) -> None:
        self.now += 1
        self.facts.append(fact)
        self.run.apply(fact, self.now)


def checked(shape: str, size: int) -> None:
    """Check a definition of a shape, as `workflow create` does. Raises as `lived`."""
    workflow = SHAPES[shape](size)
    with shallow():
        if found := findings(workflow):
            raise RuntimeError(f"{shape}: {found[0]}")


def lived(shape: str, size: int) -> None:
    """Drive a run of a shape to its end, and fold it anew from its facts.

    Raises RecursionError where that needs more calls in each other with more steps.
    """
    workflow = SHAPES[shape](size)
    with shallow():
        driven = DrivenRun(workflow)
        driven.drive()
        again = Run(driven.run.fact, 1, workflow)
        for number, fact in enumerate(driven.facts[1:], 2):
            again.apply(fact, number)
    if again.status != driven.run.status or len(again.instances) != size:
        raise RuntimeError(f"{shape}: {again.status}, {len(again.instances)} instances")


@contextmanager
def shallow() -> Iterator[None]:
    """Let no call in the block lead deeper than STACK."""
    before, depth = sys.getrecursionlimit(), 0
    frame = sys._getframe()
    while frame.f_back is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + STACK)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def microseconds(act: Callable[[str, int], None], shape: str, size: int) -> float:
    """Processor time of `checked` or `lived`, for each instance."""
    start = time.process_time()
    act(shape, size)
    return (time.process_time() - start) * 1e6 / size


def peak_bytes(act: Callable[[str, int], None], shape: str, size: int) -> float:
    """The most memory that it takes, for each instance."""
    tracemalloc.start()
    try:
        act(shape, size)
        return tracemalloc.get_traced_memory()[1] / size
    finally:
        tracemalloc.stop()
