"""Checks of a workflow's definition that types cannot express; all findings are told at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from maestro.model.workflow.checking.findings import Finding, Path, near
from maestro.model.workflow.checking.template_checks import PREVIOUS, TemplateChecks
from maestro.model.workflow.definition import Retries, Step, Workflow, listed
from maestro.model.workflow.graph import END, Graph, graph_of, waiting_cycle

__all__ = ["PREVIOUS", "Finding", "Path", "findings", "near"]

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESERVED = ("stop", "continue", "failed")


def findings(workflow: Workflow) -> list[Finding]:
    """All that is wrong with a definition by itself: what it names on this installation is not looked at."""
    return list(Checks(workflow).run())


class Checks:
    """The checks of one definition."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.graph: Graph = graph_of(workflow)
        self.ids = tuple(step.id for step in workflow.steps)

    def run(self) -> Iterator[Finding]:
        """All findings, the names first, then the graph, then the templates."""
        yield from self._names()
        for at, step in enumerate(self.workflow.steps):
            yield from self._step(step, ("steps", at))
        yield from self._handlers()
        yield from self._cycles()
        yield from self._loops()
        yield from self._run_keys()
        if not self.graph.cycle:
            yield from TemplateChecks(self.workflow, self.graph).run()

    def _names(self) -> Iterator[Finding]:
        if not self.workflow.steps:
            yield Finding(("steps",), "has no step", "write at least one")
        seen: dict[str, int] = {}
        for at, step in enumerate(self.workflow.steps):
            path = ("steps", at, "id")
            if not ID.fullmatch(step.id):
                yield Finding(path, f"`{step.id[:60]}` is no step id", "use letters, digits, `_` and `-`, 64 at most")
            elif step.id in RESERVED:
                yield Finding(path, f"`{step.id}` has a meaning of its own", "call the step otherwise")
            if step.id in seen:
                yield Finding(path, f"step `{step.id}` is there twice", f"it is first as steps[{seen[step.id]}]")
            seen.setdefault(step.id, at)

    def _known(self, name: str, path: Path, but: tuple[str, ...] = ()) -> Iterator[Finding]:
        if name and name not in self.ids and name not in but:
            yield Finding(path, f"unknown step `{name[:60]}`", near(name, [*self.ids, *but]))

    def _step(self, step: Step, path: Path) -> Iterator[Finding]:
        for key in ("needs", "on_success"):
            value = getattr(step, key)
            for at, name in enumerate(listed(value)):
                yield from self._known(name, (*path, key) if isinstance(value, str) else (*path, key, at))
        yield from self._known(step.on_failure, (*path, "on_failure"), END)
        if step.again is not None:
            yield from self._known(step.again.start, (*path, "again", "from"))
            if step.again.max < 1:
                yield Finding((*path, "again", "max"), "is below 1", "say how many rounds there may be at most")
        for at, files in enumerate(step.copies):
            below = (*path, "files") if not isinstance(step.files, tuple) else (*path, "files", at)
            yield from self._known(files.start.partition("[")[0], (*below, "from"))
            for number, pattern in enumerate(files.paths):
                leads_out = pattern.startswith("/") or ".." in pattern.split("/")
                if leads_out or not pattern:
                    what = f"`{pattern[:60]}` leads out" if leads_out else "is empty"
                    yield Finding((*below, "paths", number), what, "write a path below the workspace")
        yield from self._work(step, path)
        yield from self._numbers(step, path)

    def _work(self, step: Step, path: Path) -> Iterator[Finding]:
        """What a step does: one thing."""
        does = [key for key in ("agent", "run", "workflow") if getattr(step, key)]
        if len(does) > 1:
            yield Finding(
                (*path, does[1]), f"a step does one thing, and this has {does[0]} too", "make two steps of it"
            )
        if not does and not step.approval:
            yield Finding(path, "does nothing", "give it agent and prompt, run, workflow, or approval")
        if bool(step.agent) != bool(step.prompt):
            has, wants = ("agent", "prompt") if step.agent else ("prompt", "agent")
            yield Finding((*path, has), f"has no {wants}", f"add `{wants}: …`")
        only = {
            "shell": ("run",), "with": ("workflow",), "verify": ("agent", "run"), "schema": ("agent", "run"),
            "retries": ("agent", "run", "workflow"), "in": ("agent", "run"), "files": ("agent", "run", "workflow"),
            "snapshot": ("agent", "run"), "env": ("agent", "run"), "timeout": ("agent", "run", "workflow"),
            "for_each": ("agent", "run", "workflow"),
        }  # fmt: skip
        for key, kinds in only.items():
            name = {"with": "params", "schema": "answer_schema", "in": "place"}.get(key, key)
            given = getattr(step, name) != _DEFAULTS[name]
            if given and step.kind not in kinds:
                yield Finding((*path, key), f"is not for a step with {step.kind}", f"it is for {', '.join(kinds)}")
        if step.for_each is None:
            for key in ("max_parallel", "fail_fast"):
                if getattr(step, key):
                    yield Finding((*path, key), "is for steps with for_each", "add for_each, or remove it")

    def _numbers(self, step: Step, path: Path) -> Iterator[Finding]:
        retry = step.retry
        below = (*path, "retries", "max") if isinstance(step.retries, Retries) else (*path, "retries")
        if not 0 <= retry.max <= 100:
            yield Finding(below, f"{retry.max} is not from 0 to 100", "give a number of new attempts")
        if step.max_parallel is not None and step.max_parallel < 1:
            yield Finding((*path, "max_parallel"), "is below 1", "give a number of items")
        if step.priority is not None and not 1 <= step.priority <= 5:
            yield Finding((*path, "priority"), f"{step.priority} is not from 1 to 5", "1 is the most urgent")

    def _handlers(self) -> Iterator[Finding]:
        """Steps that can never run, and handlers that stand in the way of what they are to handle."""
        for key, name in (("on_failure", self.workflow.on_failure), ("finally", self.workflow.final)):
            yield from self._known(name, (key,))
        at = {step: number for number, step in enumerate(self.ids)}
        for step, below in self.graph.below.items():
            others = below - {step}
            if len(others) > 1:
                names = " and ".join(f"`{name}`" for name in sorted(others))
                what = f"step `{step}` is never reached: it needs {names}, which never run in one run"
                yield Finding(("steps", at[step], "id"), what, "let it need one of them")
            if step in self.graph.handlers and self.graph.needs[step]:
                what = f"`{step}` handles failures, and needs `{self.graph.needs[step][0]}`"
                yield Finding(
                    ("steps", at[step], "id"), what, "a handler has no needs: it starts when its cause is there"
                )
        for number, one in enumerate(self.workflow.steps):
            if one.on_failure == one.id:
                yield Finding(
                    ("steps", number, "on_failure"), "handles its own failure", "name another step, or use retries"
                )
            if one.when is False or str(one.when).strip().lower() == "false":
                yield Finding(
                    ("steps", number, "when"), f"step `{one.id}` is never reached", "remove the step, or its when"
                )

    def _cycles(self) -> Iterator[Finding]:
        cycle = self.graph.cycle
        if cycle:
            at = self.ids.index(cycle[0])
            way = " → ".join((*cycle, cycle[0]))
            yield Finding(("steps", at, "id"), f"the steps need each other: {way}", "for a loop use `again`")

    def _loops(self) -> Iterator[Finding]:
        loops = list(self.graph.loops.values())
        for loop in loops:
            path = ("steps", self.ids.index(loop.end), "again")
            if not loop.body and not self.graph.cycle:
                what = f"`{loop.start}` is not before `{loop.end}`"
                yield Finding((*path, "from"), what, "go back to a step that this one needs, or to itself")
            for other in loops:
                if (
                    other is not loop
                    and loop.body & other.body
                    and not loop.body <= other.body
                    and not loop.body >= other.body
                ):
                    what = f"the loops of `{loop.end}` and `{other.end}` overlap"
                    yield Finding(path, what, "put one wholly into the other, or apart")
                elif other.end > loop.end and loop.body == other.body:
                    yield Finding(path, f"the loops of `{loop.end}` and `{other.end}` are the same", "keep one")
        circle = () if self.graph.cycle else waiting_cycle(self.graph)
        if circle:
            what = f"loops wait for each other's end: {' → '.join((*circle, circle[0]))}"
            yield Finding(("steps", self.ids.index(circle[0])), what, "put one loop wholly into the other, or apart")

    def _run_keys(self) -> Iterator[Finding]:
        for at, schedule in enumerate(self.workflow.schedules):
            for name in schedule.params:
                if name not in self.workflow.vars:
                    what = f"there is no var `{name[:60]}`"
                    yield Finding(("schedules", at, "params", name), what, near(name, list(self.workflow.vars)))
        for name in self.workflow.vars:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                yield Finding(("vars", name), "is no name", "use letters, digits and `_`")


_DEFAULTS: dict[str, Any] = {name: getattr(Step(id=""), name) for name in Step.__struct_fields__}
