"""The status of a run: what each instance waits for, and how it is drawn."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.facts import BlobRef
from maestro.model.facts.workflow import StepStarted, WorkflowRunPaused, WorkflowRunStarted
from maestro.model.workflow.drawing import lines, mermaid
from maestro.model.workflow.run import Run
from maestro.model.workflow.status import Surroundings, status_of, step_states
from tests.model.workflow.scripted import BAD, OK, Scripted
from tests.model.workflow.test_run import again, calls_of, flow, step


def rows(life: Scripted, **more: Any) -> dict[str, dict[str, Any]]:
    around = Surroundings(more.pop("now", life.now), lambda at: f"t{at}" if at else None, **more)
    return {row["id"]: row for row in status_of(life.run, around)["steps"]}


def waits(life: Scripted, **more: Any) -> dict[str, str | None]:
    return {id: row["waiting_for"] for id, row in rows(life, **more).items()}


def test_each_waits_for_what_it_waits_for() -> None:
    keys = flow(
        step("a", retries={"max": 1, "backoff": 60}),
        step("e", for_each="x", max_parallel=1),
        {"id": "gate", "approval": {"prompt": "?", "timeout": 9}},
        step("p", snapshot=True),
        {"id": "ship", "workflow": "deploy"},
        step("b", "a", "gate"),
        step("x"),
        on_failure="x",
    )
    life = Scripted(keys, {"a": [BAD]}, items={"e": [1, 2]})
    life.go(lambda life: len(life.run.working) == 3 and bool(life.run.wishes))
    life._end("a")
    life.run.instances["ship"].child = "c1"
    assert waits(life, tasks={life.run.instances["e[0]"].task: ("agent", 1)}) == {
        "a": "retry", "e[0]": "agent", "e[1]": "items", "gate": "approval", "p": "restore", "ship": "child",
        "b": "needs", "x": "needs",
    }  # fmt: skip
    row = rows(life)
    assert row["b"]["needs"] == ["a", "gate"]
    assert (row["gate"]["prompt"], row["gate"]["due"]) == ("?", "t10000")
    assert (row["a"]["due"], row["a"]["attempt"], row["a"]["attempts_max"]) == ("t61000", 1, 2)
    assert waits(life, now=61_000, held="budget")["a"] == "budget"
    assert waits(life, now=60_999, held="budget")["a"] == "retry"
    life.tell(WorkflowRunPaused("r"))
    assert waits(life, now=61_000) | {"e[0]": ""} == {
        "a": "pause", "e[0]": "", "e[1]": "pause", "gate": "approval", "p": "restore", "ship": "child", "b": "needs",
        "x": "needs",
    }  # fmt: skip


def test_a_run_that_waits_for_its_group_says_so_and_who_has_it() -> None:
    life = Scripted(flow(step("a"), step("b", "a")))
    life.run = Run(WorkflowRunStarted("r", "w", 1, "", group="g"), 1_000, life.run.workflow)
    assert waits(life) == {"a": "group", "b": "needs"}
    row = status_of(life.run, Surroundings(1_000, str, holder="r0"))
    assert (row["status"], row["why"]) == ("queued", "run r0 has the group g")


def test_where_no_node_takes_work_what_would_start_says_so() -> None:
    keys = flow(step("a"), step("b", retries={"max": 1, "backoff": 60}), step("c", "a"), step("x"), step("y"))
    life = Scripted({**keys, "on_failure": "x", "finally": "y"}, {"b": [BAD]})
    life.go(lambda life: len(life.run.working) == 2)
    life._end("b")
    task = life.run.instances["a"].task
    told = rows(life, idle="held", reasons={task: "a slot on node n"}, tasks={task: ("slot", 1)})
    assert {id: row.get("reason") for id, row in told.items()} == {
        "a": "a slot on node n", "b": "held", "c": None, "x": None, "y": None,
    }  # fmt: skip
    assert (told["x"]["why"], told["y"]["why"]) == ("runs only after a failure", "runs at the end")
    row = status_of(life.run, Surroundings(1_000, str, idle="held"))
    assert row["idle"] == "held"


def test_a_step_outside_of_a_loop_waits_for_its_end_and_what_failed_in_a_paused_run_holds_up_others() -> None:
    keys = flow(step("fix"), step("judge", "fix", again=again("fix", 3)), step("ship", "fix"))
    life = Scripted(keys, until={"judge": [False, True]})
    life.go(lambda life: "judge" in life.run.working)
    assert rows(life)["ship"]["needs"] == ["fix"]
    life = Scripted(flow(step("a"), step("b", "a")), {"a": [BAD]})
    life.go(lambda life: bool(life.run.working))
    life.tell(WorkflowRunPaused("r"))
    life.go()
    assert rows(life)["b"]["needs"] == ["a"]


def test_what_an_attempt_told_is_shown_short_and_what_works_now_counts() -> None:
    ends = [OK._replace(result="x" * 5000, tokens=5, cost=0.5, exit_code=0, agent=".run", check="c")]
    life = Scripted(
        flow(step("a"), step("b", "a"), step("c", "b")), {"a": ends, "b": [OK._replace(result=BlobRef("ab", 9))]}
    )
    life.go(lambda life: "c" in life.run.working)
    task = life.run.instances["c"].task
    row = rows(life, usage={task: {"tokens": 7, "input_tokens": 3, "output_tokens": 4, "cost": 0.25}})
    assert (len(row["a"]["result"]), row["a"]["result_size"], row["a"]["agent"]) == (1024, 5000, "run")
    assert (row["b"]["result"], row["b"]["result_blob"], row["b"]["result_size"]) == (None, "ab", 9)
    assert row["c"]["usage"] == {"tokens": 7, "input_tokens": 3, "output_tokens": 4, "cost": 0.25}
    assert row["a"]["usage"]["tokens"] == 5
    msgspec.json.encode(row)


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    keys = flow(step("a", on_failure="x"), step("b", "a"), step("x"), step("y"), on_failure="y")
    life = Scripted(keys).go()
    assert {id: row["status"] for id, row in rows(life).items()} == {
        "a": "completed", "b": "completed", "x": "skipped", "y": "skipped"
    }  # fmt: skip
    assert set(waits(life).values()) == {None}


def test_the_steps_are_drawn_with_their_states() -> None:
    keys = flow(step("a"), step("e", "a", for_each="x", max_parallel=1), step("b", "e"))
    life = Scripted(keys, {"e[0]": [BAD]}, items={"e": [1, 2, 3]})
    life.go(lambda life: "e[1]" in life.run.working)
    states = step_states(life.run)
    assert states == {"a": "completed", "e": "running 1/3, 1 failed", "b": "waiting"}
    drawn = list(lines(life.run.workflow, states))
    assert drawn[0].startswith("✔ a") and "▶ e" in drawn[1] and "1/3, 1 failed" in drawn[1] and "… b" in drawn[2]
    flowchart = "\n".join(mermaid(life.run.workflow, states))
    assert "style n0 fill:#d4f4d4" in flowchart and "1/3, 1 failed" in flowchart


def test_a_status_of_many_costs_in_proportion() -> None:
    def cost(size: int) -> int:
        life = Scripted(flow(step("e", for_each="x"), step("b", "e")), items={"e": list(range(size))})
        life.go(lambda life: len(life.run.working) == size)
        life.tell(StepStarted("r", "e[0]", 1))
        return calls_of(lambda: rows(life))

    assert cost(2000) < 2.2 * cost(1000)


def test_a_run_says_that_one_above_it_holds_it() -> None:
    life = Scripted(flow(step("a")))
    told = {held: status_of(life.run, Surroundings(0, str, held=held))["why"] for held in ("", "pause", "budget")}
    assert list(told.values()) == [None, "a run above it is paused", "a run above it is over its budget"]
