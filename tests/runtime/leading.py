"""Runs of workflows in a real store, told as the leader tells them; every attempt ends as the test says, else well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.workflow.decide import Work, decide, due
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.folding.endings import End, ended, turned
from maestro.model.workflow.run import Run
from maestro.store.contract import Append, Committed, Store

OK = End("completed", "ok")
BAD = End("failed", "exit", "exit 1", exit_code=1)


def commit(store: Store, *events: NewEvent, actor: str = "test", floors: bool = False) -> Committed:
    result = store.log.commit([Append(events, actor, "cmd:test", floors=floors)], None)[0]
    assert isinstance(result, Committed), result
    return result


class Leader:
    """Leads one run. ends: by instance or step, how attempts end, the last one again; until, items: by step."""

    def __init__(
        self,
        store: Store,
        run: str,
        keys: Mapping[str, Any],
        ends: Mapping[str, Sequence[End]] | None = None,
        until: Mapping[str, list[bool]] | None = None,
        items: Mapping[str, list[Any]] | None = None,
        tasks: bool = True,
        **started: Any,
    ) -> None:
        self.store, self.id, self.tasks = store, run, tasks
        self.ends = {name: list(each) for name, each in (ends or {}).items()}
        self.until, self.items = dict(until or {}), dict(items or {})
        self.workflow = msgspec.convert(keys, Workflow)
        definition = msgspec.json.encode(self.workflow).decode()
        fact = e.WorkflowRunStarted(run, started.pop("workflow", "deploy"), 1, definition, **started)
        committed = commit(store, NewEvent(self.subject, fact), actor="cli:ann")
        self.now = committed.at
        self.run = Run(fact, self.now, self.workflow)
        self.started = 0

    @property
    def subject(self) -> str:
        return f"workflow-run:{self.id}"

    def tell(self, fact: Any, *also: NewEvent, actor: str = "scheduler:1") -> None:
        committed = commit(self.store, NewEvent(self.subject, fact), *also, actor=actor)
        self.now = max(self.now, committed.at)
        self.run.apply(fact, committed.at, actor)

    def go(self, stop: Callable[[Leader], bool] = lambda _: False) -> Leader:
        """All there is to do, but for what only a person can; what is to wait for a time does not."""
        while not self.run.ended and not stop(self):
            moves = decide(self.run, self.now)
            if moves and not isinstance(moves[0], Work):
                self.tell(moves[0])
            elif moves:
                self.carry_out(next(move for move in moves if isinstance(move, Work)))
            elif self.run.working:
                self.end(next(iter(self.run.working)))
            elif at := due(self.run, self.now):
                self.now = max(at, self.now)
            else:
                break
        return self

    def carry_out(self, work: Work) -> None:
        if work.kind == "ready":
            step = self.run.steps[work.subject]
            items = self.items.get(step.id) if step.for_each is not None else None
            asked = (getattr(step.approval, "prompt", "") or "Go on?") if step.approval else None
            self.tell(e.StepReadied(self.id, step.id, self.run.current[step.id].round, items=items, approval=asked))
        elif work.kind == "turn":
            values = self.until[work.subject]
            self.tell(turned(self.run, work.subject, values.pop(0) if len(values) > 1 else values[0]))
        elif work.kind == "start":
            self.start(work.subject)
        else:
            self.ends[work.subject] = [End("cancelled", "cancelled")]
            self.end(work.subject)

    def start(self, id: str, told: str = "") -> str:
        instance = self.run.instances[id]
        self.started += 1
        task = f"{self.id}T{self.started}"
        step = self.run.steps[instance.step]
        agent = step.agents[0] if step.agents else ".run"
        fact = e.StepStarted(self.id, id, instance.attempts + 1, task=task, agent=agent, told=told or f"do {id}")
        also = e.TaskDispatched(task, f"do {id}", f"do {id}", (agent,), workflow=self.id, step=id)
        self.tell(fact, *([NewEvent(f"task:{task}", also)] if self.tasks else []))
        return task

    def end(self, id: str, end: End | None = None, **more: Any) -> None:
        instance = self.run.instances[id]
        ends = self.ends.get(id) or self.ends.get(instance.step) or [OK]
        end = end or (ends.pop(0) if len(ends) > 1 else ends[0])
        if self.tasks and instance.task:
            finished = e.TaskFinished(instance.task, end.status, end.outcome, end.exit_code)
            commit(self.store, NewEvent(f"task:{instance.task}", finished))
        self.tell(msgspec.structs.replace(ended(self.run, instance, end, self.now), **more))
