"""The graph of a run is laid out in layers: what is needed stands before what needs it, no step lies on another."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from hypothesis import given, settings

from maestro.board.rows.graph import INSTANCES_MAX, NODE_HEIGHT, NODE_WIDTH, graph_row
from maestro.model.events import WorkflowRunStarted
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.run import Run
from tests.model.workflow.random_workflows import workflows


def run_of(workflow: Workflow) -> Run:
    return Run(WorkflowRunStarted("r", "w", 1, ""), 1_000, workflow)


def defined(*steps: dict[str, Any], **keys: Any) -> Run:
    return run_of(msgspec.convert({"steps": steps, **keys}, Workflow))


def drawn(run: Run) -> tuple[dict[str, dict[str, Any]], set[tuple[str, str, str]], dict[str, Any]]:
    graph = graph_row(run, [], {})
    nodes = {node["id"]: node for node in graph["nodes"]}
    return nodes, {(edge["from"], edge["to"], edge["kind"]) for edge in graph["edges"]}, graph


@settings(max_examples=40, deadline=None)
@given(workflow=workflows())
def test_needs_lead_to_the_right_and_no_step_lies_on_another(workflow: Workflow) -> None:
    run = run_of(workflow)
    nodes, edges, graph = drawn(run)
    assert list(nodes) == [step.id for step in workflow.steps]
    for start, end, kind in edges:
        if kind in ("needs", "fan-out", "child"):
            assert nodes[start]["x"] + NODE_WIDTH < nodes[end]["x"]
    places = sorted((node["x"], node["y"]) for node in nodes.values())
    for (x, y), (other_x, other_y) in itertools.pairwise(places):
        assert x + NODE_WIDTH < other_x or y + NODE_HEIGHT < other_y
    assert max(x for x, _ in places) + NODE_WIDTH == graph["width"]
    assert all(0 <= y <= graph["height"] - NODE_HEIGHT for _, y in places)


def test_edges_tell_what_they_stand_for() -> None:
    run = defined(
        {"id": "plan", "agent": "ann", "prompt": "p", "on_failure": "tell"},
        {"id": "each", "needs": "plan", "for_each": [1, 2], "run": "true"},
        {"id": "other", "needs": "each", "workflow": "child"},
        {"id": "check", "needs": "other", "run": "true", "again": {"from": "each", "until": "true", "max": 3}},
        {"id": "tell", "run": "true"},
        {"id": "clean", "run": "true"},
        **{"finally": "clean"},
    )
    nodes, edges, _ = drawn(run)
    assert edges == {
        ("plan", "each", "fan-out"),
        ("each", "other", "child"),
        ("other", "check", "needs"),
        ("check", "each", "again"),
        ("plan", "tell", "failure"),
    }
    assert [nodes[name]["role"] for name in ("plan", "tell", "clean")] == [None, "on_failure", "finally"]
    assert nodes["plan"]["x"] < nodes["tell"]["x"]
    assert nodes["clean"]["x"] > max(node["x"] for name, node in nodes.items() if name != "clean")
    assert (nodes["plan"]["does"], nodes["other"]["does"], nodes["each"]["fan_out"]) == ("ann", "child", True)


def test_of_many_instances_those_that_matter_are_told_and_all_are_counted() -> None:
    run = defined({"id": "each", "for_each": [1], "run": "true"})
    rows = [
        {
            **{"id": f"each[{item}]", "step": "each", "round": 1, "item": item, "attempt": 1, "child": None},
            **{"status": "failed" if item % 50 == 49 else "completed", "task": f"t{item}"},
            **dict.fromkeys(("waiting_for", "outcome", "why", "agent")),
        }
        for item in range(1_000)
    ]
    node = graph_row(run, rows, {"t49": "t49-0.1"})["nodes"][0]
    assert node["counts"] == {"completed": 980, "failed": 20}
    assert len(node["instances"]) == INSTANCES_MAX
    assert [one["index"] for one in node["instances"]] == sorted(one["index"] for one in node["instances"])
    failed = [one for one in node["instances"] if one["state"] == "failed"]
    assert (len(failed), failed[0]["run"], failed[1]["run"]) == (20, "t49-0.1", None)


def test_a_chain_of_thousands_is_one_row_and_a_fan_of_thousands_one_column() -> None:
    chain = ({"id": f"s{n}", "run": "true", "needs": [f"s{n - 1}"] if n else []} for n in range(3_000))
    nodes, _, _ = drawn(defined(*chain))
    assert ({node["y"] for node in nodes.values()}, len({node["x"] for node in nodes.values()})) == ({0}, 3_000)
    fan = ({"id": f"s{n}", "run": "true", "needs": ["s0"] if n else []} for n in range(3_000))
    nodes, _, _ = drawn(defined(*fan))
    assert len({node["x"] for node in nodes.values()}) == 2
