"""Checks of the templates of a definition: what they name is there, and has ended where it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from maestro.model.workflow.checking.findings import Finding, Path, near
from maestro.model.workflow.definition import Retries, Step, Workflow
from maestro.model.workflow.graph import Graph
from maestro.model.workflow.template import Kind, Problem, Read, Template

FIELDS = ("output", "result", "json", "status", "exit_code", "usage", "items")
"""What a template may read of a step."""
OF_ONE = ("output", "result", "json", "exit_code")
"""Of these, what a step with items has for each of them only."""
PREVIOUS = ("verify", "error", "result", "outcome", "exit_code")
"""What a template may read of the last attempt."""
RUN = ("id", "workflow", "version", "started_at", "parent")
"""What a template may read of the run."""


class TemplateChecks:
    """The checks of the templates of one definition."""

    def __init__(self, workflow: Workflow, graph: Graph) -> None:
        self.workflow = workflow
        self.graph = graph
        self.steps = {step.id: step for step in workflow.steps}
        self.ids = tuple(self.steps)

    def run(self) -> Iterator[Finding]:
        """All findings, those of the steps first."""
        for at, step in enumerate(self.workflow.steps):
            yield from self._templates(step, ("steps", at))
        yield from self._run_templates()

    def _templates(self, step: Step, path: Path) -> Iterator[Finding]:
        sees = partial(self._sees, step.id)
        for below, text, kind in _texts(step):
            if kind != "expression" and "{" not in text:
                continue
            extra = self._extra(step, below)
            yield from self._template((*path, *below), text, kind, partial(self._read, sees=sees, extra=extra))
        yield from _literal(step, path)
        if isinstance(step.for_each, str) and "{{" not in step.for_each:
            template = Template(step.for_each, "expression")
            makes_list = "[" in step.for_each or "range(" in step.for_each
            if not (template.problems or template.reads or makes_list):
                what = "is a constant that is no list"
                yield Finding((*path, "for_each"), what, "write a list, or an expression: `{{ steps.x.json }}`")

    def _sees(self, step: str, name: str) -> bool:
        """Whether a step may read another one: one before it, in a loop any of its body; what handles ends any."""
        if name in self.graph.needs[step] or self.graph.below[step]:
            return True
        if any(step in loop.body and name in loop.body for loop in self.graph.loops.values()):
            return True
        return name in self.graph.before(step)

    def _extra(self, step: Step, below: Path) -> tuple[str, ...]:
        """The roots that this template may read beside the common ones."""
        extra: tuple[str, ...] = ("round",) if any(step.id in loop.body for loop in self.graph.loops.values()) else ()
        if step.for_each is not None and below[0] not in ("for_each", "when", "again"):
            extra += ("item", "index")
        return (*extra, "previous") if below[0] in ("retries", "prompt", "run") else extra

    def _read(self, read: Read, sees: Callable[[str], bool], extra: tuple[str, ...]) -> tuple[str, str] | None:
        """What is wrong with a read, and what to write instead; None for nothing."""
        root, keys = read.root, read.keys
        key = str(keys[0]) if keys else ""
        if root in ("item", "index", "previous", "round") and root not in extra:
            where = {"item": "steps with for_each", "index": "steps with for_each", "round": "steps of a loop"}
            return f"`{root}` is not known here", f"it is for {where.get(root, 'prompts of attempts')}"
        if root == "vars" and keys and key not in self.workflow.vars:
            return f"undefined variable `vars.{key}`", near(key, list(self.workflow.vars)) or "declare it in `vars`"
        if root == "previous" and keys and key not in PREVIOUS:
            return f"`previous` has no `{key}`", near(key, PREVIOUS)
        if root == "run" and keys and key not in RUN:
            return f"`run` has no `{key}`", near(key, RUN)
        if root == "steps" and keys:
            if key not in self.ids:
                return f"unknown step `{key}`", near(key, self.ids)
            if not sees(key):
                return f"step `{key}` need not have ended here", f"add it to `needs`: needs: [{key}]"
            if len(keys) > 1 and keys[1] not in FIELDS:
                return f"a step has no `{keys[1]}`", near(str(keys[1]), FIELDS)
            if len(keys) > 1 and keys[1] in OF_ONE and self.steps[key].for_each is not None:
                return f"step `{key}` has items, each with its `{keys[1]}`", f"read steps['{key}'].items"
        return None

    def _run_templates(self) -> Iterator[Finding]:
        workflow = self.workflow
        if workflow.concurrency is not None:
            path: Path = ("concurrency", "group")
            yield from self._template(
                path, workflow.concurrency.group, "text", partial(self._read, sees=_none, extra=())
            )
        yield from self._template(("result",), workflow.result, "text", partial(self._read, sees=_every, extra=()))
        for name, text in workflow.env.items():
            yield from self._template(("env", name), text, "text", partial(self._read, sees=_none, extra=()))

    def _template(
        self, path: Path, text: str, kind: Kind, wrong: Callable[[Read], tuple[str, str] | None]
    ) -> Iterator[Finding]:
        template = Template(text, kind)
        problems = [*template.problems]
        for read in template.reads:
            found = wrong(read)
            if found and not any(problem.offset == read.offset for problem in problems):
                problems.append(Problem(read.offset, *found))
        for problem in problems:
            yield Finding(path, problem.what, problem.mend, problem.offset)


def _none(_step: str) -> bool:
    return False


def _every(_step: str) -> bool:
    return True


def _literal(step: Step, path: Path) -> Iterator[Finding]:
    """Templates where none is filled in: whose workspace it is, and which files, is known before a run starts."""
    texts: list[tuple[Path, str]] = [(("in",), step.place)]
    for at, files in enumerate(step.copies):
        below: Path = ("files", at) if isinstance(step.files, tuple) else ("files",)
        texts += [((*below, "paths", number), pattern) for number, pattern in enumerate(files.paths)]
    for below, text in texts:
        if "{{" in text or "{%" in text:
            yield Finding((*path, *below), "is no template", "write it out", 0)


def _texts(step: Step) -> Iterator[tuple[Path, str, Kind]]:
    """The templates of a step: place, text, kind."""
    yield ("prompt",), step.prompt, "text"
    yield ("run",), step.run, "script"
    yield ("verify",), step.verify, "script"
    if isinstance(step.when, str):
        yield ("when",), step.when, "expression"
    if isinstance(step.for_each, str):
        yield ("for_each",), step.for_each, "expression"
    if step.again is not None:
        yield ("again", "until"), step.again.until, "expression"
    if isinstance(step.retries, Retries):
        yield ("retries", "prompt"), step.retries.prompt, "text"
    if not isinstance(step.approval, bool):
        yield ("approval", "prompt"), step.approval.prompt, "text"
    for name, text in step.env.items():
        yield ("env", name), text, "text"
    yield from _nested(("with",), step.params)


def _nested(path: Path, value: Any) -> Iterator[tuple[Path, str, Kind]]:
    """The texts in plain data, each a template."""
    if isinstance(value, str):
        yield path, value, "text"
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _nested((*path, str(key)), below)
    elif isinstance(value, (list, tuple)):
        for at, below in enumerate(value):
            yield from _nested((*path, at), below)
