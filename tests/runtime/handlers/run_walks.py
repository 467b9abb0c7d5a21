"""The walks of what is said of runs of workflows: each has a text said, and runs the command that it names."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.runtime.acting import until
from tests.runtime.workflow_place import WorkflowPlace

RunWalk = Callable[[WorkflowPlace], None]
GATE = "steps:\n  - {id: gate, approval: true}\n"
METER = """
slug: meter
mode: m
bin: {program}
argv: ["{{bin}}", "{{prompt}}"]
output: {{format: ndjson, usage: {{path: u}}, text: {{path: t}}}}
"""


def begun(place: WorkflowPlace, *words: str) -> str:
    """Start a run, and do not wait for it; its id."""
    return str(place.json("run", *words, "--async")["id"])


def way(told: str, label: str) -> str:
    """The command that stands behind a label."""
    found = re.search(re.escape(label) + r"(maestro [^\r\n]+)", told)
    assert found is not None, (label, told)
    return found[1].removesuffix(" shows all").removesuffix(" shows the run").removesuffix(" shows why")


def looked(place: WorkflowPlace, run: str) -> str:
    """What `workflow status` tells a person on stderr."""
    told = place.run("status", run, "--format", "table")
    assert told.code == 0, told
    return told.err


def step(place: WorkflowPlace, run: str, id: str) -> dict[str, object]:
    """The row of a step."""
    return next(row for row in place.json("status", run)["steps"] if row["id"] == id)


def asked(place: WorkflowPlace, run: str) -> None:
    """Wait until the step `gate` asks."""
    until(lambda: step(place, run, "gate")["waiting_for"] == "approval")


def foreground(place: WorkflowPlace, *words: str) -> subprocess.Popen[str]:
    """`maestro <words>` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "maestro", *words],
        env=place.node.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_it_asks(process: subprocess.Popen[str]) -> str:
    """The line of what waits in the foreground that says how to approve."""
    assert process.stderr is not None
    return next(line for line in process.stderr if "to approve: " in line)


def an_approval_that_status_shows(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    run = begun(place, "gated")
    asked(place, run)
    place.follow(way(looked(place, run), "to approve: "))
    assert place.run("wait", run).code == 0


def an_approval_that_is_waited_for(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    process = foreground(place, "workflow", "run", "gated")
    place.follow(way(until_it_asks(process), "to approve: "))
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (0, "completed")


def an_approval_that_a_terminal_shows(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "maestro", "workflow", "run", "gated"],
        env={**place.node.env, "TERM": "xterm", "COLUMNS": "120", "LINES": "24"},
        stdin=other,
        stdout=other,
        stderr=other,
    )
    os.close(other)
    shown = b""
    while not re.search(rb"workflow approve \S+ gate\b", shown):
        shown += os.read(main, 65536)
    place.follow(way(re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown.decode()), "to approve: "))
    try:
        while os.read(main, 65536):
            pass
    except OSError:  # the terminal is closed at the end
        pass
    os.close(main)
    assert process.wait(60) == 0


def a_run_that_is_left_by_ctrl_c(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    process = foreground(place, "workflow", "run", "gated")
    until_it_asks(process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "gate" in place.follow(way(told, "to look at it: ")).out
    watching = foreground(place, *way(told, "to watch it: ").split()[1:])
    until_it_asks(watching)
    place.follow(way(told, "to end it: "))
    out, _ = watching.communicate(timeout=60)
    assert json.loads(out)["status"] == "cancelled"


def a_paused_run(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    run = begun(place, "gated")
    place.json("pause", run)
    place.follow(way(looked(place, run), "to go on: "))
    asked(place, run)
    place.json("approve", run, "gate")
    assert place.run("wait", run).code == 0


def a_budget_that_is_used_up(place: WorkflowPlace) -> None:
    program = place.node.folder / "meter"
    program.write_text('#!/bin/sh\necho \'{"u":{"input":60,"cost":0.5}}\'; echo "{\\"t\\":\\"$1\\"}"\n')
    program.chmod(0o755)
    (place.node.agents / "meter.yaml").write_text(METER.format(program=program))
    steps = ("{id: a, %s}", "{id: b, needs: a, %s}", "{id: c, needs: b, %s}", "{id: d, needs: c, %s}")
    lines = "".join(f"  - {one % 'agent: meter, prompt: x'}\n" for one in steps)
    place.create("metered", f"budget: {{tokens: 50, cost: 0.002}}\nsteps:\n{lines}")
    run = begun(place, "metered")
    until(lambda: place.json("status", run)["paused"] == "budget")
    alerts = "monitor", "alerts"
    alert = until(lambda: next((row for row in place.node.json(*alerts) if row["subject"] == run), None))
    assert alert["why"] == "60 of 50 tokens are used"
    place.follow(alert["command"])
    until(lambda: (row := place.json("status", run))["paused"] == "budget" and row["usage"]["tokens"] == 120)
    line = place.refused(4, "resume", run)
    place.follow(way(line, "add more than that: "))
    until(lambda: (row := place.json("status", run))["paused"] == "budget" and row["usage"]["tokens"] == 180)
    place.follow(way(looked(place, run), "to go on: "))
    assert place.run("wait", run).code == 0


def an_answer_that_comes_too_early(place: WorkflowPlace) -> None:
    file = place.node.folder / "ready"
    wait = f"until [ -e {file} ]; do sleep 0.1; done"
    place.create("early", f"steps:\n  - {{id: a, run: '{wait}'}}\n  - {{id: gate, needs: a, approval: true}}\n")
    run = begun(place, "early")
    line = place.refused(4, "approve", run, "gate")
    told = json.loads(place.follow(way(line, "yet; ")).out)
    assert [row["waiting_for"] for row in told["steps"] if row["id"] == "gate"] == ["needs"]
    file.touch()
    asked(place, run)
    place.json("approve", run, "gate")
    assert place.run("wait", run).code == 0


def a_run_that_is_to_be_taken_up_while_it_is_open(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    run = begun(place, "gated")
    again = ("gated", "--resume-from", "gate", "--run", run)
    line = place.refused(4, "run", *again, "--async")
    place.follow(way(line, "; "))
    place.json("stop", begun(place, *again))


def a_task_that_is_an_attempt(place: WorkflowPlace) -> None:
    place.create("once", "steps:\n  - {id: a, run: 'true'}\n")
    run = begun(place, "once")
    assert place.run("wait", run).code == 0
    task = step(place, run, "a")["task"]
    done = place.node.run("task", "retry", str(task))
    assert done.returncode == 4, done
    assert json.loads(place.follow(way(done.stderr, "decides on more; ")).out)["id"] == run


def a_run_that_is_not_there(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    run = begun(place, "gated")
    for words in (("stop", "nothing-of-it"), ("status", "nothing-of-it")):
        line = place.refused(3, *words)
        rows = json.loads(place.follow(way(line, "; ")).out)
        assert run in [row["id"] for row in rows]
    place.json("stop", rows[0]["id"])


def runs_of_a_workflow_that_is_not_there(place: WorkflowPlace) -> None:
    place.create("gated", GATE)
    for words in (("runs", "nothing-of-it"), ("status", "--last", "nothing-of-it")):
        rows = json.loads(place.follow(way(place.refused(3, *words), "; ")).out)
        place.json("runs", rows[0]["id"])


def no_run_yet(place: WorkflowPlace) -> None:
    place.create("unrun", GATE)
    line = place.refused(3, "status", "--last", "unrun")
    command = way(line, "; ").removesuffix(" starts one")
    run = json.loads(place.follow(f"{command} unrun --async").out)["id"]
    assert place.json("status", "--last", "unrun")["id"] == run
    place.json("stop", run)


def a_pool_of_which_nobody_works(place: WorkflowPlace) -> None:
    node = place.node
    node.json("agent", "assign", "worker", "--name", "mo", "--role", "mender", "--to-workspace", f"{node.folder}/mo")
    node.json("agent", "stop", "mo")
    keys = "agent: 'role:mender', prompt: x, retries: {max: 1, backoff: 0, workspace: restore}"
    place.create("mending", f"steps:\n  - {{id: a, {keys}}}\n")
    run = begun(place, "mending")
    assert place.run("wait", run).code != 0
    told = place.run("status", run, "--format", "table")
    rows = json.loads(place.follow(way(told.out, "not stopped: ")).out)
    (mo,) = [row for row in rows if row["id"] == "mo"]
    node.json("agent", "restart", mo["id"])
    assert place.run("run", "mending", "--resume-from", "failed").code == 0


RUN_WALKS: dict[str, RunWalk] = {
    "to approve: maestro workflow approve {} {}": an_approval_that_status_shows,
    "{}; to approve: maestro workflow approve {} {}": an_approval_that_is_waited_for,
    "maestro workflow approve {} {}": an_approval_that_a_terminal_shows,
    "to watch {}: maestro workflow wait {}": a_run_that_is_left_by_ctrl_c,
    "to look at it: maestro workflow status {}": a_run_that_is_left_by_ctrl_c,
    "to end it: maestro workflow stop {}": a_run_that_is_left_by_ctrl_c,
    "to go on: maestro workflow resume {}{}": a_paused_run,
    "add more than that: maestro workflow resume {} --add-budget {}": a_budget_that_is_used_up,
    "maestro workflow status {}": an_answer_that_comes_too_early,
    "maestro workflow stop {}": a_run_that_is_to_be_taken_up_while_it_is_open,
    "maestro workflow status {} shows the run": a_task_that_is_an_attempt,
    "maestro workflow runs shows all": a_run_that_is_not_there,
    "maestro workflow list shows all": runs_of_a_workflow_that_is_not_there,
    "maestro workflow run starts one": no_run_yet,
    "no agent answers to {}, healthy and not stopped: maestro agent list shows why": a_pool_of_which_nobody_works,
}
