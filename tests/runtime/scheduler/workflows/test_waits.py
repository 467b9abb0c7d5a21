"""What waits holds no slot and is never forgotten: retries, loops, children, approvals, groups, on one slot."""

from __future__ import annotations

from tests.runtime.acting import Node
from tests.runtime.scheduler.workflows.flows import Flow


def test_a_step_that_waits_for_its_retry_gives_its_slot_to_others(narrow: Node) -> None:
    flow = Flow(
        narrow,
        {
            "steps": [
                {"id": "flaky", "run": "exit 3", "retries": {"max": 1, "backoff": 600, "max_delay": 600}},
                {"id": "slow", "run": "sleep 0.3"},
                {"id": "other", "needs": ["slow"], "run": "echo there"},
            ]
        },
    ).start()
    assert flow.until("other", "completed")["result"] == "there"
    assert flow.until("flaky", waiting_for="retry")["due"]
    narrow.json("workflow", "stop", flow.run)
    flow.to_end(1)


def test_loops_and_children_within_a_limit_of_one_do_not_deadlock(narrow: Node) -> None:
    inner = Flow(
        narrow,
        {
            "vars": {"n": 1},
            "result": "{{ steps.b.result }}",
            "steps": [{"id": "a", "run": "true"}, {"id": "b", "needs": ["a"], "run": "echo {{ vars.n }}"}],
        },
    )
    flow = Flow(
        narrow,
        {
            "steps": [
                {"id": "sub", "workflow": inner.name, "with": {"n": "{{ round }}"}},
                {
                    "id": "judge",
                    "needs": ["sub"],
                    "run": "echo {{ steps.sub.result }}",
                    "again": {"from": "sub", "until": "steps.judge.result == '3'", "max": 5},
                },
            ]
        },
    ).start()
    steps = {row["id"]: row for row in flow.to_end()["steps"]}
    assert [steps[id]["result"] for id in ("sub", "sub#2", "sub#3", "judge#3")] == ["1", "2", "3", "3"]
    assert len({steps[id]["child"] for id in ("sub", "sub#2", "sub#3")}) == 3


def test_files_of_a_step_reach_the_first_steps_of_a_child_and_a_judge_that_fails_never_passes(narrow: Node) -> None:
    inner = Flow(
        narrow,
        {
            "result": "{{ steps.b.result }}",
            "steps": [{"id": "a", "run": "test -f dist/x"}, {"id": "b", "needs": ["a"], "run": "cat dist/x"}],
        },
    )
    flow = Flow(
        narrow,
        {
            "steps": [
                {"id": "make", "run": "mkdir dist; echo built > dist/x"},
                {
                    "id": "sub",
                    "needs": ["make"],
                    "workflow": inner.name,
                    "files": {"from": "make", "paths": ["dist"]},
                },
                {
                    "id": "judge",
                    "needs": ["sub"],
                    "run": "false",
                    "on_failure": "continue",
                    "again": {"from": "judge", "until": "steps.judge.exit_code == 0", "max": 2},
                },
                {"id": "ship", "needs": ["judge"], "run": "echo shipped"},
            ]
        },
    ).start()
    flow.to_end(1)
    steps = flow.steps()
    assert steps["sub"]["result"] == "built"
    assert (steps["judge#2"]["outcome"], steps["ship"]["status"]) == ("no_convergence", "skipped")


def test_of_twenty_items_one_fails_and_only_that_one_runs_again(narrow: Node) -> None:
    flow = Flow(
        narrow,
        {
            "steps": [
                {"id": "list", "run": "echo [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]"},
                {
                    "id": "item",
                    "needs": ["list"],
                    "for_each": "{{ steps.list.json }}",
                    "run": "echo {{ item }} >> done; test {{ item }} != 7 -o -f mended",
                },
                {"id": "end", "needs": ["item"], "run": "sort -n done | tr '\\n' ' '"},
            ]
        },
    ).start()
    first = flow.to_end(1)
    states = [row["status"] for row in first["steps"] if row["step"] == "item"]
    assert states.count("completed") == 19 and states.count("failed") == 1 and states[7] == "failed"
    folder = flow.events()[0].fact.folder  # type: ignore[union-attr]
    with open(f"{folder}/workspace/mended", "w"):
        pass
    flow.start("--resume-from", "failed", "--run", flow.run)
    last = flow.to_end()
    assert flow.count("workflow_step.started") == 2  # item[7] and end
    (end,) = [row for row in last["steps"] if row["id"] == "end"]
    assert end["result"].split() == [str(n) for n in [*range(7), 7, *range(7, 20)]]


def test_an_approval_waits_without_a_slot_survives_the_end_of_everything_and_passes_once(narrow: Node) -> None:
    flow = Flow(
        narrow,
        {
            "steps": [
                {"id": "one", "approval": {"prompt": "One?"}},
                {"id": "two", "approval": True},
                {"id": "after", "needs": ["one"], "run": "echo one"},
                {"id": "both", "needs": ["one", "two"], "run": "echo both"},
            ]
        },
    ).start()
    flow.until("one", waiting_for="approval")
    narrow.kill()
    assert {row["id"]: row["waiting_for"] for row in flow.status()["steps"]}["two"] == "approval"
    narrow.up()
    assert narrow.run("workflow", "approve", flow.run, "one", "--reason", "fine").returncode == 0
    again = narrow.run("workflow", "approve", flow.run, "one")
    assert again.returncode == 0 and "approved" in again.stderr
    assert narrow.run("workflow", "reject", flow.run, "one").returncode == 4
    assert flow.until("after", "completed")
    assert flow.steps()["both"]["waiting_for"] == "needs"
    assert narrow.run("workflow", "approve", flow.run, "two").returncode == 0
    flow.to_end()
    assert flow.count("workflow_step.approved") == 2


def test_retries_that_are_ordered_at_the_instant_of_the_failure_are_not_lost(narrow: Node) -> None:
    flow = Flow(
        narrow,
        {
            "steps": [
                {
                    "id": "item",
                    "for_each": list(range(200)),
                    "run": "test -f seen-{{ item }} || { touch seen-{{ item }}; exit 1; }",
                    "retries": {"max": 1, "backoff": 0},
                }
            ]
        },
    ).start()
    assert {row["status"] for row in flow.to_end()["steps"]} == {"completed"}
    assert flow.count("workflow_step.started") == 400


def test_a_thousand_runs_of_a_group_run_one_at_a_time_in_order(narrow: Node) -> None:
    definition = {
        "concurrency": {"group": "g"},
        "vars": {"n": 0},
        "steps": [{"id": "a", "when": "vars.n == 1000", "run": "true"}],
    }
    flow = Flow(narrow, definition)
    gate = Flow(narrow, {"concurrency": {"group": "g"}, "steps": [{"id": "a", "approval": True}]}).start()
    first = flow.start("--param", "n=1").run
    (started,) = [event.fact for event in flow.events()]
    runs = [first, *flow.queue(started, 999)]
    rows = narrow.json("workflow", "runs", flow.name, "--limit", "1000")
    assert {row["status"] for row in rows} == {"queued"} and len(rows) == 1000
    narrow.run("workflow", "approve", gate.run, "a")
    flow.run = runs[-1]
    flow.to_end()
    turns = [event for event in narrow.events() if event.type in ("workflow_run.admitted", "workflow_run.finished")]
    wanted = [(kind, run) for run in runs for kind in ("workflow_run.admitted", "workflow_run.finished")]
    assert [(event.type, event.subject.partition(":")[2]) for event in turns][-2000:] == wanted


def test_items_with_archives_are_spread_over_a_pool(node: Node) -> None:
    for name in ("p1", "p2"):
        node.json(
            "agent", "assign", "shell", "--name", name, "--role", "pool", "--to-workspace", f"{node.folder}/{name}"
        )
    item = {"id": "e", "for_each": [1, 2], "agent": "role:pool", "prompt": "sleep 1", "snapshot": True}
    flow = Flow(node, {"steps": [item]}).start()
    assert {row["agent"] for row in flow.to_end()["steps"]} == {"p1", "p2"}


def test_a_run_ends_with_the_exit_code_of_an_agent_two_runs_below(node: Node) -> None:
    inner = Flow(node, {"steps": [{"id": "x", "run": "exit 7"}]})
    middle = Flow(node, {"steps": [{"id": "c", "workflow": inner.name}]})
    told = Flow(node, {"steps": [{"id": "c", "workflow": middle.name}]}).start().to_end(7)
    assert (told["exit_code"], told["source"], told["steps"][0]["exit_code"]) == (7, "agent", 7)
