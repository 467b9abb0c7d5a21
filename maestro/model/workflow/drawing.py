"""A workflow's steps as lines for a terminal, and as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.graph import Graph, graph_of

_MARKS = {
    "completed": "✔", "failed": "✘", "timed_out": "✘", "cancelled": "✘", "skipped": "–", "running": "▶", "waiting": "…"
}  # fmt: skip
_COLOURS = {"completed": "#d4f4d4", "failed": "#f8d0d0", "running": "#d0e4ff", "skipped": "#eeeeee"}


def lines(workflow: Workflow, states: Mapping[str, str] | None = None) -> Iterator[str]:
    """A line a step, below the last of its needs; what else it needs and how it repeats stands behind it.

    states: by step, of a run: `completed`, `running 3/20`.
    """
    graph = graph_of(workflow)
    steps = {step.id: step for step in workflow.steps}
    place = {step: number for number, step in enumerate(graph.order)}
    below: dict[str, list[str]] = {}
    for step in graph.order:
        needs = sorted(graph.needs[step], key=place.__getitem__)
        below.setdefault(needs[-1] if needs else "", []).append(step)
    open_steps = [(step, "", "") for step in reversed(below.get("", []))]
    while open_steps:
        step, branch, indent = open_steps.pop()
        state, _, items = states.get(step, "").partition(" ") if states is not None else ("", "", "")
        mark = f"{_MARKS.get(state, '·')} " if states is not None else ""
        remarks = _remarks(steps[step], graph, workflow) + (f" · {items}" if items else "")
        yield f"{branch}{mark}{step}  {remarks}".rstrip()
        under = below.get(step, [])
        for number, following in reversed(list(enumerate(under))):
            last = number == len(under) - 1
            open_steps.append((following, indent + ("└─ " if last else "├─ "), indent + ("   " if last else "│  ")))


def _remarks(step: Step, graph: Graph, workflow: Workflow) -> str:
    does = {
        "agent": ", ".join(step.agents),
        "run": "run",
        "workflow": f"workflow {step.workflow}",
        "approval": "approval",
    }
    parts = [does[step.kind]]
    if step.kind != "approval" and step.approval:
        parts.append("asks first")
    needs = graph.needs[step.id]
    if len(needs) > 1:
        parts.append(f"after {', '.join(needs)}")
    if step.for_each is not None:
        parts.append("for each" + (f", {step.max_parallel} at once" if step.max_parallel else ""))
    if step.when is not True:
        parts.append(f"when {step.when}")
    if step.again is not None:
        parts.append(f"again from {step.again.start}, {step.again.max} rounds at most")
    if step.on_failure != "stop":
        parts.append("may fail" if step.on_failure == "continue" else f"on failure {step.on_failure}")
    if step.id in graph.handlers:
        named = [one.id for one in workflow.steps if one.on_failure == step.id]
        ends = [f"{key} of the run" for key, name in _ends(workflow) if name == step.id]
        parts.append("only: " + ", ".join([*(f"failure of {name}" for name in named), *ends]))
    return " · ".join(parts)


def _ends(workflow: Workflow) -> tuple[tuple[str, str], ...]:
    return (("failure", workflow.on_failure), ("end", workflow.final))


def mermaid(workflow: Workflow, states: Mapping[str, str] | None = None) -> Iterator[str]:
    """The lines of a Mermaid flowchart. Node names are numbers, as step ids may be words of Mermaid's."""
    graph = graph_of(workflow)
    node = {step.id: f"n{number}" for number, step in enumerate(workflow.steps)}
    yield "flowchart TD"
    for step in workflow.steps:
        text = f"{step.id}<br/>{_escaped(', '.join(step.agents) or step.workflow or step.kind)}"
        items = (states or {}).get(step.id, "").partition(" ")[2]
        text += f"<br/>{items}" if items else ""
        shape = (
            ('{{"', '"}}') if step.kind == "approval" else ('[["', '"]]') if step.for_each is not None else ('["', '"]')
        )
        yield f"    {node[step.id]}{shape[0]}{text}{shape[1]}"
    for step in workflow.steps:
        for need in graph.needs[step.id]:
            yield f"    {node[need]} --> {node[step.id]}"
        if step.again is not None and step.again.start in node:
            yield f"    {node[step.id]} -. again, max {step.again.max} .-> {node[step.again.start]}"
        if step.on_failure in node:
            yield f"    {node[step.id]} -. on failure .-> {node[step.on_failure]}"
    for step_id, state in (states or {}).items():
        status = state.partition(" ")[0]
        if status in _COLOURS and step_id in node:
            yield f"    style {node[step_id]} fill:{_COLOURS[status]}"


def _escaped(text: str) -> str:
    return "".join(f"#{ord(char)};" if char in '"#<>&' else char for char in text)
