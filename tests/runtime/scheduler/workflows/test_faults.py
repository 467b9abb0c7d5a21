"""What other engines get wrong: budgets in parallel, definitions that change, programs that go, answers given twice."""

from __future__ import annotations

import random
import subprocess
import sys
import time

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Append
from tests.runtime.acting import Node, until
from tests.runtime.scheduler.workflows.flows import Flow

METER = """
slug: meter
mode: m
bin: {program}
argv: ["{{bin}}", "{{prompt}}"]
output: {{format: ndjson, usage: {{path: u}}, text: {{path: t}}}}
"""


def meter(node: Node) -> None:
    """Agents that use 60 tokens a run."""
    program, told = node.folder / "meter", node.folder / "told"
    told.mkdir(exist_ok=True)
    alone = f"touch {told}/$1; until test $(ls {told} | wc -l) -ge 3; do sleep 0.05; done; sleep 1"
    lines = [
        "#!/bin/sh",
        """echo '{"u":{"input":60}}'""",
        f"case $1 in p*) {alone};; esac",  # of p1, p2 and p3 none ends before all have told
        r'''echo "{\"t\":\"$1\"}"''',
    ]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    (node.agents / "meter.yaml").write_text(METER.format(program=program))
    for name in ("m1", "m2", "m3"):
        node.json("agent", "assign", "meter", "--name", name, "--to-workspace", f"{node.folder}/{name}")


def test_parallel_steps_never_start_above_the_budget_and_keep_what_they_have(node: Node) -> None:
    meter(node)
    flow = Flow(
        node,
        {
            "budget": {"tokens": 120},
            "steps": [
                *({"id": f"s{n}", "agent": f"m{n}", "prompt": f"p{n}"} for n in (1, 2, 3)),
                {"id": "late", "needs": ["s1"], "agent": "m1", "prompt": "late"},
            ],
        },
    ).start()
    until(
        lambda: (
            flow.status()["status"] == "paused" and not [r for r in flow.status()["steps"] if r["status"] == "running"]
        )
    )
    run = flow.status()
    steps = {row["id"]: row for row in run["steps"]}
    assert [steps[f"s{n}"]["result"] for n in (1, 2, 3)] == ["p1", "p2", "p3"]
    assert (run["usage"]["tokens"], steps["late"]["status"], steps["late"]["waiting_for"]) == (
        180,
        "waiting",
        "budget",
    )
    assert node.run("workflow", "resume", flow.run).returncode == 4
    assert node.run("workflow", "resume", flow.run, "--add-budget", "tokens=10").returncode == 4
    assert node.run("workflow", "resume", flow.run, "--add-budget", "tokens=100").returncode == 0
    assert flow.to_end()["usage"]["tokens"] == 240


def test_a_definition_that_is_stored_anew_changes_nothing_for_a_run_that_is_on(node: Node) -> None:
    inner = Flow(node, {"steps": [{"id": "x", "run": "echo old"}], "result": "{{ steps.x.result }}"})
    outer = {
        "steps": [
            {"id": "gate", "approval": True},
            {"id": "say", "needs": ["gate"], "run": "echo first"},
            {"id": "sub", "needs": ["gate"], "workflow": inner.name},
        ]
    }
    flow = Flow(node, outer).start()
    flow.until("gate", waiting_for="approval")
    inner.store({"steps": [{"id": "x", "run": "echo new"}], "result": "{{ steps.x.result }}"})
    flow.store({"steps": [{"id": "gate", "approval": True}, {"id": "say", "needs": ["gate"], "run": "echo second"}]})
    assert node.run("workflow", "approve", flow.run, "gate").returncode == 0
    flow.to_end()
    steps = flow.steps()
    assert (steps["say"]["result"], steps["sub"]["result"]) == ("first", "old")


def test_a_step_whose_program_disappears_ends_once_and_the_log_rests(node: Node) -> None:
    program = node.folder / "vanishing.sh"
    program.write_text("#!/bin/sh\necho there\n")
    program.chmod(0o755)
    (node.agents / "vanishing.yaml").write_text(
        f"slug: vanishing\nmode: m\nbin: {program}\nargv: ['{{bin}}', '{{prompt}}']\n"
    )
    node.json("agent", "assign", "vanishing", "--to-workspace", f"{node.folder}/vanishing")
    flow = Flow(
        node,
        {
            "steps": [
                {"id": "one", "agent": "vanishing", "prompt": "a", "retries": 3},
                {"id": "two", "needs": ["one"], "agent": "vanishing", "prompt": "b", "retries": 3},
            ]
        },
    )
    program.unlink()
    flow.start()
    flow.to_end(1)
    steps = flow.steps()
    assert (steps["one"]["status"], steps["one"]["outcome"], steps["two"]["status"]) == (
        "failed",
        "spawn_error",
        "skipped",
    )
    assert flow.count("workflow_step.started") <= 1
    before = len(flow.events())
    time.sleep(1)
    assert len(flow.events()) == before


def test_an_approval_that_is_given_twice_at_once_passes_once(node: Node) -> None:
    flow = Flow(
        node,
        {
            "steps": [
                {"id": "a", "approval": True},
                {"id": "b", "approval": True},
                {"id": "c", "needs": ["a"], "run": "echo c"},
            ]
        },
    ).start()
    flow.until("a", waiting_for="approval")
    words = [sys.executable, "-m", "maestro", "workflow", "approve", flow.run, "a"]
    both = [
        subprocess.Popen(words, env=node.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [one.communicate()[1] for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    flow.until("c", "completed")
    assert flow.count("workflow_step.approved") == 1
    assert flow.steps()["b"]["waiting_for"] == "approval"
    node.json("workflow", "stop", flow.run)


def test_a_run_goes_on_where_it_was_whenever_everything_is_killed(node: Node) -> None:
    inner = Flow(
        node,
        {
            "vars": {"n": 0},
            "steps": [{"id": "x", "run": "echo {{ vars.n }} >> all; cat all"}],
            "result": "{{ vars.n }}",
        },
    )
    flow = Flow(
        node,
        {
            "concurrency": {"group": "kill"},
            "steps": [
                {"id": "list", "run": "echo '[1,2,3,4,5]'"},
                {
                    "id": "item",
                    "needs": ["list"],
                    "for_each": "{{ steps.list.json }}",
                    "run": "sleep 0.1; echo {{ item }}",
                    "max_parallel": 2,
                },
                {
                    "id": "flaky",
                    "run": "test -f seen || { touch seen; exit 1; }",
                    "retries": {"max": 1, "backoff": 0.5},
                },
                {"id": "sub", "needs": ["item"], "workflow": inner.name, "with": {"n": "{{ round }}"}},
                {
                    "id": "judge",
                    "needs": ["sub", "flaky"],
                    "run": "echo {{ round }}",
                    "again": {"from": "sub", "until": "round >= 3", "max": 9},
                },
                {"id": "gate", "needs": ["judge"], "approval": {"timeout": 1, "on_timeout": "approve"}},
                {
                    "id": "end",
                    "needs": ["gate"],
                    "run": "echo {{ steps.item.items | map(attribute='result') | join(',') }}",
                },
            ],
        },
    ).start()
    dice = random.Random(7)
    for _ in range(6):
        time.sleep(dice.uniform(0.1, 0.7))
        node.kill()
        node.up()
    flow.to_end()
    steps = flow.steps()
    assert steps["end"]["result"] == "1,2,3,4,5"
    assert [steps[f"sub{n}"]["result"] for n in ("", "#2", "#3")] == ["1", "2", "3"]
    assert {row["status"] for row in steps.values()} == {"completed"}
    assert steps["flaky"]["attempt"] == 2
    assert node.run("replay", "verify").returncode == 0


def test_an_end_at_the_instant_of_a_command_is_not_lost(node: Node) -> None:
    items = {"id": "e", "for_each": list(range(60)), "max_parallel": 4, "run": "true"}
    flow = Flow(node, {"steps": [items]}).start()
    subject = f"workflow-run:{flow.run}"
    store = node.store()
    try:
        for number in range(400):
            fact = e.WorkflowRunResumed(flow.run) if number % 2 else e.WorkflowRunPaused(flow.run)
            store.log.commit([Append((NewEvent(subject, fact),), "test", "cmd:race")], None)
            time.sleep(0.002)
    finally:
        store.close()
    until(lambda: flow.status()["status"] == "completed")


def test_a_run_over_its_budget_pauses_or_ends_though_only_a_child_works(node: Node) -> None:
    meter(node)
    steps = [
        {"id": "x", "agent": "m1", "prompt": "x"},
        {"id": "y", "needs": ["x"], "agent": "m1", "prompt": "y"},
        {"id": "last", "run": "echo last"},
    ]
    inner = Flow(node, {"steps": steps, "finally": "last"})
    ships = {"steps": [{"id": "c", "workflow": inner.name}]}
    asks = Flow(node, {**ships, "budget": {"tokens": 50}}).start()
    until(lambda: asks.status()["paused"] == "budget")
    assert node.run("workflow", "resume", asks.run).returncode == 4
    assert node.run("workflow", "resume", asks.run, "--add-budget", "tokens=500").returncode == 0
    asks.to_end()
    ends = Flow(node, {**ships, "budget": {"tokens": 50, "on_exceeded": "stop"}}).start()
    assert "60 of 50 tokens are used" in ends.to_end(1)["why"]


def test_a_pause_and_a_budget_stop_what_waits_for_its_turn_and_nothing_that_runs(node: Node) -> None:
    steps = [{"id": "item", "for_each": list(range(8)), "agent": "w", "prompt": "sleep 0.2; echo {{ item }}"}]
    flow = Flow(node, {"steps": steps}).start()
    flow.until("item[0]", "completed")
    node.json("workflow", "pause", flow.run)
    until(lambda: not [row for row in flow.status()["steps"] if row["status"] == "running"])
    begun = [row["id"] for row in flow.status()["steps"] if row["status"] == "completed"]
    time.sleep(0.6)
    rows = flow.status()["steps"]
    assert [row["id"] for row in rows if row["status"] == "completed"] == begun and len(begun) < 8
    assert {row["waiting_for"] for row in rows if row["status"] == "waiting"} == {"pause"}
    node.kill()
    node.up()
    time.sleep(0.6)
    assert [row["id"] for row in flow.status()["steps"] if row["status"] == "completed"] == begun
    node.json("workflow", "resume", flow.run)
    assert {row["status"] for row in flow.to_end()["steps"]} == {"completed"}
