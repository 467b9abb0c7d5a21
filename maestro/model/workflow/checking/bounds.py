"""Values of a definition that are of the right type and still cannot be: times, budgets, keys without effect."""

from __future__ import annotations

import math
from collections.abc import Iterator

from maestro.model.errors import Invalid
from maestro.model.state import check_key
from maestro.model.workflow.checks import Finding, Path
from maestro.model.workflow.definition import Approval, Retries, Step, Workflow
from maestro.model.workflow.template import Template

YEAR_S = 31_536_000.0
BUDGET_MAX = 1e15
ENV_NAME_CHARS_MAX = 200


def bound_findings(workflow: Workflow) -> Iterator[Finding]:
    """What of a definition is out of bounds."""
    yield from _seconds(workflow.timeout, ("timeout",))
    if workflow.budget is not None:
        for key, limit in (("cost", workflow.budget.cost), ("tokens", workflow.budget.tokens)):
            if limit is not None and not 0 < limit < BUDGET_MAX:
                yield Finding(("budget", key), f"{limit:g} is out of range", "use more than 0")
        if workflow.budget.cost is None and workflow.budget.tokens is None:
            yield Finding(("budget",), "limits nothing", "add `cost: …` or `tokens: …`")
    if workflow.concurrency is not None:
        yield from _group(workflow.concurrency.group)
    yield from _names(workflow.env, ("env",))
    for at, step in enumerate(workflow.steps):
        yield from _step(step, ("steps", at))


def _step(step: Step, path: Path) -> Iterator[Finding]:
    yield from _seconds(step.timeout, (*path, "timeout"))
    if isinstance(step.approval, Approval):
        yield from _seconds(step.approval.timeout, (*path, "approval", "timeout"))
    if isinstance(step.retries, Retries):
        for key, value in (("backoff", step.retry.backoff), ("max_delay", step.retry.max_delay)):
            if not 0 <= value <= YEAR_S:
                yield Finding((*path, "retries", key), f"{value:g} is out of range", "use 0 s to 365d")
        if step.retry.resume and step.kind != "agent":
            what = f"is not for a step with {step.kind}"
            yield Finding((*path, "retries", "continue"), what, "an agent goes on with its session; remove it")
    for key in step.outputs:
        try:
            check_key(key)
        except Invalid as error:
            yield Finding((*path, "outputs", key), error.what, error.mend)
    yield from _names(step.env, (*path, "env"))


def _seconds(value: float | None, path: Path) -> Iterator[Finding]:
    if value is not None and not (math.isfinite(value) and 0 < value <= YEAR_S):
        yield Finding(path, f"{value:g} is out of range", "use more than 0 s, at most 365d")


def _names(env: dict[str, str], path: Path) -> Iterator[Finding]:
    for name in env:
        if not name or "=" in name or not name.isprintable() or len(name) > ENV_NAME_CHARS_MAX or " " in name:
            yield Finding((*path, name), "is no name of a variable", "use letters, digits and `_`")


def _group(text: str) -> Iterator[Finding]:
    """A group is known before the run begins: only vars are there then."""
    path: Path = ("concurrency", "group")
    if not text.strip():
        yield Finding(path, "is empty", "name the group")
    template = Template(text)
    for read in () if template.problems else template.reads:
        if read.root in ("state", "run"):
            what = f"`{read.root}` is not known before a run begins"
            yield Finding(path, what, "use `vars`", read.offset)
