"""A run whose work is carried out as a table says: every attempt of an instance ends as it is told, else well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from maestro.model.facts.workflow import (
    StepApproved,
    StepReadied,
    StepStarted,
    WorkflowRunStarted,
    WorkspaceArchived,
    WorkspaceArchiveWanted,
    WorkspaceRestoreWanted,
    WorkspaceReturned,
)
from maestro.model.workflow.decide import Work, decide, due, unanswered
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End, ended, turned
from maestro.model.workflow.run import Run

OK = End("completed", "ok")
BAD = End("failed", "exit", "exit 1")


class Scripted:
    """One run. ends: by instance (or step), how its attempts end, in order, the last one again; until: by step, the
    values of its `until`; items: by step, of `for_each`.
    """

    def __init__(
        self,
        keys: Mapping[str, Any],
        ends: Mapping[str, list[End]] | None = None,
        until: Mapping[str, list[bool]] | None = None,
        items: Mapping[str, list[Any]] | None = None,
    ) -> None:
        self.ends, self.until, self.items = dict(ends or {}), dict(until or {}), dict(items or {})
        self.now = 1_000
        self.log: list[str] = []
        self.agents: list[str] = []
        self.told: list[str] = []
        self.errors: dict[str, str] = {}
        self.archives = 0
        self.run = Run(WorkflowRunStarted("r", "w", 1, ""), self.now, msgspec.convert(keys, Workflow))

    def tell(self, fact: Any) -> None:
        self.run.apply(fact, self.now)

    def go(self, stop: Callable[[Scripted], bool] = lambda _: False) -> Scripted:
        """Carry out all there is to do; where only time helps, time passes. Ends where the run waits for a person."""
        while not self.run.ended and not stop(self):
            moves = decide(self.run, self.now)
            if moves and not isinstance(moves[0], Work):
                self.tell(moves[0])
            elif moves:
                for move in moves:
                    assert isinstance(move, Work)
                    self._carry_out(move)
            elif wishes := unanswered(self.run):
                self._answer(wishes[0])
            elif self.run.working:
                self._end(next(iter(self.run.working)))
            elif at := due(self.run, self.now):
                self.now = max(at, self.now)
            else:
                break
        return self

    def approve(self, instance: str, approved: bool = True) -> None:
        self.tell(StepApproved("r", instance, approved))

    def _carry_out(self, work: Work) -> None:
        step = self.run.steps.get(work.subject)
        if work.kind == "ready" and step is not None:
            items = self.items.get(step.id) if step.for_each is not None else None
            asked = "?" if step.approval else None
            limit = getattr(step.approval, "timeout", None)
            until = self.now + int(limit * 1000) if limit else 0
            round = self.run.current[step.id].round
            self.tell(StepReadied("r", step.id, round, items=items, approval=asked, until=until))
        elif work.kind == "turn":
            values = self.until[work.subject]
            self.tell(turned(self.run, work.subject, values.pop(0) if len(values) > 1 else values[0]))
        elif work.kind == "start":
            instance = self.run.instances[work.subject]
            self.log.append(instance.id)
            agents = self.run.steps[instance.step].agents
            agent = instance.agent or (agents[instance.link] if agents else "")
            self.agents.append(agent)
            self.tell(StepStarted("r", instance.id, instance.attempts + 1, f"t{len(self.log)}", agent=agent))
        elif work.kind == "archive":
            self.told.append(f"archive {work.subject}")
            self.tell(WorkspaceArchiveWanted("r", work.subject, "n", "/w", self.run.instances[work.subject].agent))
        elif work.kind == "restore":
            snapshot = self.run.instances[work.subject].snapshot
            self.told.append(f"restore {work.subject} to {snapshot}")
            self.tell(WorkspaceRestoreWanted("r", work.subject, "n", "/w", snapshot))
        else:
            self.ends[work.subject] = [End("cancelled", "cancelled")]
            self._end(work.subject)

    def _answer(self, wish: WorkspaceArchiveWanted | WorkspaceRestoreWanted) -> None:
        """What the node answers: it could do it, but for the workspaces that it could not."""
        error = self.errors.get(wish.instance, "")
        if isinstance(wish, WorkspaceArchiveWanted):
            self.archives += 1
            self.tell(WorkspaceArchived("r", wish.instance, "" if error else f"s{self.archives}", error))
        else:
            self.tell(WorkspaceReturned("r", wish.instance, wish.snapshot, error))

    def _end(self, id: str) -> None:
        instance = self.run.instances[id]
        ends = self.ends.get(id) or self.ends.get(instance.step) or [OK]
        end = ends.pop(0) if len(ends) > 1 else ends[0]
        self.tell(ended(self.run, instance, end, self.now))

    def statuses(self) -> dict[str, str]:
        return {id: one.status for id, one in self.run.instances.items()}
