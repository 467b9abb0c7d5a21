"""The graph of a workflow's run, laid out in layers: a column for all steps that are as far from the start. Pure.

It takes time linear in steps and edges, but for the sorting of columns.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from maestro.model.workflow.definition import Step
from maestro.model.workflow.run import Run
from maestro.model.workflow.status import step_states

NODE_WIDTH: Final = 180
NODE_HEIGHT: Final = 56
GAP_X: Final = 70
GAP_Y: Final = 24
SWEEPS: Final = 4
INSTANCES_MAX: Final = 200
"""So many instances of a step are told one by one, those first that failed or are on; all are counted."""
FIRST: Final = ("failed", "timed_out", "running", "waiting")

Row = dict[str, Any]
Edge = tuple[str, str, str]


def graph_row(run: Run, steps: Sequence[Row], runs: Mapping[str, str]) -> Row:
    """The graph: {nodes, edges, width, height}, and the size of a node.

    steps: the rows of `workflow status`; runs: by task, its newest run.
    """
    edges = list(edges_of(run))
    columns = layers(run, edges)
    places, width, height = placed(columns, edges)
    states, by_step = step_states(run), dict[str, list[Row]]()
    for row in steps:
        by_step.setdefault(row["step"], []).append(row)
    nodes = []
    for step in run.workflow.steps:
        x, y = places[step.id]
        told = [row for row in by_step.get(step.id, ()) if "attempt" in row]
        state, _, progress = states.get(step.id, "").partition(" ")
        nodes.append(
            {
                "id": step.id,
                "label": step.description or step.id,
                "kind": step.kind,
                "does": ", ".join(step.agents) or step.workflow or step.kind,
                "role": _role(run, step),
                "fan_out": step.for_each is not None,
                "state": state or "waiting",
                "progress": progress or None,
                "counts": dict(sorted(Counter(row["status"] for row in told).items())),
                "instances": [_instance(row, runs) for row in _first(told)],
                "x": x,
                "y": y,
            }
        )
    drawn = [{"from": start, "to": end, "kind": kind} for start, end, kind in edges]
    size = {"width": width, "height": height, "node_width": NODE_WIDTH, "node_height": NODE_HEIGHT}
    return {"nodes": nodes, "edges": drawn, **size}


def edges_of(run: Run) -> Iterator[Edge]:
    """The edges: `needs`, `fan-out` to a step with an instance for each item, `child` to one that starts a run of
    another workflow, `again` back to where a round begins, `failure` to the step that runs then.
    """
    graph = run.graph
    for step in run.workflow.steps:
        kind = "fan-out" if step.for_each is not None else "child" if step.kind == "workflow" else "needs"
        for need in graph.needs[step.id]:
            yield need, step.id, kind
        if step.id in graph.loops:
            yield step.id, graph.loops[step.id].start, "again"
        if step.on_failure in graph.needs:
            yield step.id, step.on_failure, "failure"


def layers(run: Run, edges: Sequence[Edge]) -> list[list[str]]:
    """The steps by how far they are from the start: behind all that they need, and behind what they run after."""
    graph = run.graph
    following: dict[str, list[str]] = {step: [] for step in graph.needs}
    missing = dict.fromkeys(graph.needs, 0)
    for start, end, kind in edges:
        if kind == "again" or (kind == "failure" and end in graph.below.get(start, ())):
            continue  # it leads back
        following[start].append(end)
        missing[end] += 1
    depth = dict.fromkeys(graph.needs, 0)
    ready = deque(step for step, count in missing.items() if not count)
    while ready:
        step = ready.popleft()
        for after in following[step]:
            depth[after] = max(depth[after], depth[step] + 1)
            missing[after] -= 1
            if not missing[after]:
                ready.append(after)
    last = max((depth[step] for step in depth if not graph.below.get(step)), default=0)
    for step in depth:  # what runs at the end of the run is behind all that may run before it
        if graph.below.get(step, frozenset()) & {run.workflow.on_failure, run.workflow.final}:
            depth[step] += last + 1
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for step, column in depth.items():
        columns[column].append(step)
    return [column for column in columns if column]


def placed(columns: Sequence[list[str]], edges: Sequence[Edge]) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Where each step is drawn, x and y of its upper left corner; and how wide and high the whole is.

    Steps of a column are in the order of the middle of those that they are joined to, so that few edges cross.
    """
    joined: dict[str, list[str]] = {step: [] for column in columns for step in column}
    for start, end, kind in edges:
        if kind != "again":
            joined[start].append(end)
            joined[end].append(start)
    order = {step: float(index) for column in columns for index, step in enumerate(column)}
    sorted_ = [list(column) for column in columns]
    for sweep in range(SWEEPS):
        for column in sorted_ if sweep % 2 == 0 else reversed(sorted_):
            middle = {
                step: sum(order[other] for other in joined[step]) / len(joined[step]) if joined[step] else order[step]
                for step in column
            }
            column.sort(key=middle.__getitem__)
            order |= {step: index - (len(column) - 1) / 2 for index, step in enumerate(column)}
    tallest = max(map(len, sorted_), default=0)
    step_x, step_y = NODE_WIDTH + GAP_X, NODE_HEIGHT + GAP_Y
    places = {
        step: (number * step_x, round((index + (tallest - len(column)) / 2) * step_y))
        for number, column in enumerate(sorted_)
        for index, step in enumerate(column)
    }
    return places, max(0, len(sorted_) * step_x - GAP_X), max(0, tallest * step_y - GAP_Y)


def _role(run: Run, step: Step) -> str | None:
    """What a step is besides its place among the others: what runs after a failure, or at the end."""
    if step.id == run.workflow.final:
        return "finally"
    return "on_failure" if step.id in run.graph.handlers else None


def _first(rows: Sequence[Row]) -> list[Row]:
    """The instances that are told one by one, in order."""
    if len(rows) <= INSTANCES_MAX:
        return list(rows)
    ranked = sorted(
        range(len(rows)), key=lambda at: FIRST.index(rows[at]["status"]) if rows[at]["status"] in FIRST else 9
    )
    return [rows[at] for at in sorted(ranked[:INSTANCES_MAX])]


def _instance(row: Row, runs: Mapping[str, str]) -> Row:
    return {
        "id": row["id"],
        "index": row["item"],
        "round": row["round"],
        "state": row["status"],
        "waiting_for": row["waiting_for"],
        "outcome": row["outcome"],
        "why": row["why"],
        "agent": row["agent"],
        "attempt": row["attempt"],
        "task": row["task"],
        "run": runs.get(row["task"]) if row["task"] else None,
        "child": row["child"],
    }
