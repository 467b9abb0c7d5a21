"""Tasks with the fields of workflows' steps on a real node: scripts, variables, places, schemas, what they told."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.model import events as e
from tests.runtime.acting import Node, until
from tests.runtime.steps import APPROVED, Step


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with agents of a shell: `bound` in a workspace of its own, `free` without, `templated` with a template."""
    folder = tmp_path_factory.mktemp("steps")
    with Node(folder, MAESTRO_MAX_CONCURRENT="6", THE_SECRET="hush hush") as place:
        (folder / "template").mkdir()
        (folder / "template" / "given").write_text("by the template\n")
        place.agent_type("worker", adapter="shell", env={"KIND": "a worker"}, secret_env=["THE_SECRET"])
        place.agent_type("templated", adapter="shell", workspace_template=str(folder / "template"))
        place.json("agent", "assign", "worker", "--name", "bound", "--to-workspace", f"{folder}/bound")
        for name in ("free", "free2"):
            place.json("agent", "assign", "worker", "--name", name)
        for name in ("t1", "t2"):
            place.json("agent", "assign", "templated", "--name", name)
        yield place.up()


def queued(node: Node, task: str) -> dict[str, Any]:
    """The row of a task in the queue."""
    (row,) = [row for row in node.json("queue", "status") if row["task"] == task]
    return dict(row)


def test_a_command_ends_where_one_of_its_commands_fails_and_tells_its_stdout(node: Node) -> None:
    good = Step(node, "echo '  one'; echo two; echo; echo also >&2")
    bad = Step(node, "echo before; false; echo behind")
    piped = Step(node, "false | true; echo behind", command="bash")
    found = good.ended()
    assert (found.outcome, found.result, found.output, found.exit_code) == ("ok", "  one\ntwo", "", 0)
    found = bad.ended()
    assert (found.outcome, found.exit_code, found.result) == ("exit", 1, "before")
    assert (piped.ended().outcome, piped.ended().result) == ("exit", "")
    row = good.row
    assert (row["workflow"], row["step"], row["runs"][0]["agent"]) == (good.flow, "build", "run")


def test_a_script_of_a_mebibyte_runs_and_what_it_prints_is_kept_up_to_that(node: Node) -> None:
    script = "".join(f"echo line {n:06} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n" for n in range(25_000))
    assert len(script) > 1 << 20
    found = (step := Step(node, script)).ended()
    lines = step.text(found.result).splitlines()
    assert lines[0].endswith(" bytes before this are in agent.log]")
    assert lines[-1].startswith("line 024999") and len(step.text(found.result)) > 1_000_000


def test_values_of_variables_are_data_and_no_variable_of_ours_is_another(node: Node) -> None:
    env = {
        "TWO": "a\nb",
        "BRACES": "{workspace} {{ x }}",
        "KIND": "{workspace}",
        "MAESTRO_TASK_ID": "forged",
        "S": "'$(id)",
    }
    script = 'printf "%s|" "$TWO" "$BRACES" "$KIND" "$S" "$MAESTRO_TASK_ID" "$MAESTRO_WORKFLOW_RUN" "$MAESTRO_STEP"'
    step = Step(node, script, "bound", command="sh", step="build[3]", env=env)
    told = step.text(step.ended().result).split("|")
    expected = ["a\nb", "{workspace} {{ x }}", "{workspace}", "'$(id)", step.id, step.flow, "build[3]", ""]
    assert told == expected
    for env in ({"A": "x\0y"}, {"A=B": "x"}, {"": "x"}):
        assert Step(node, "true", env=env).ended().outcome == "spawn_error"


def test_a_nul_in_a_script_breaks_nothing(node: Node) -> None:
    assert Step(node, "echo a\0b; echo c").ended().outcome in ("ok", "exit")


def test_steps_of_a_run_share_its_folder_which_is_private_and_made_once(node: Node) -> None:
    first = [Step(node, "pwd; ls", name, workflow="shared", command="sh") for name in ("t1", "t2", ".run", ".run")]
    for step in first:
        lines = step.text(step.ended().result).splitlines()
        assert lines[0] == f"{step.folder}/workspace"
        assert step.ended().outcome == "ok"
    folder = first[0].folder
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder.parent)] == [0o700, 0o700]
    Step(node, "rm -rf ./* && echo mine > own", ".run", workflow="shared").ended()
    assert Step(node, "ls", "t1", workflow="shared", command="sh").ended().result == "own"


def test_steps_work_in_one_folder_at_once_and_one_that_is_alone_does_not(node: Node) -> None:
    meet = "touch here.$0; until test -e {other}; do sleep 0.02; done"
    both = [
        Step(node, f"touch {one}; until test -e {other}; do sleep 0.02; done", workflow="meet")
        for one, other in (("a", "b"), ("b", "a"))
    ]
    assert [step.ended().outcome for step in both] == ["ok", "ok"] and meet
    script = "test ! -e busy; touch busy; sleep 0.2; rm busy"
    alone = [Step(node, script, workflow="alone", alone=True) for _ in range(3)]
    assert [step.ended().outcome for step in alone] == ["ok"] * 3


def test_a_step_works_in_the_workspace_of_another_agent_which_waits_meanwhile(node: Node) -> None:
    go = node.folder / "go-place"
    step = Step(node, f"pwd; touch mark; until test -e {go}; do sleep 0.02; done", ".run", place="bound")
    until(lambda: step.row["status"] == "running")
    behind = node.dispatch("ls", "--to", "bound")["id"]
    waits = queued(node, behind)
    assert waits["waiting_for"] == f"workspace {node.folder}/bound is in use by task {step.id} of agent run"
    row = queued(node, step.id)
    assert (row["workflow"], row["step"], row["agent"]) == (step.flow, "build", "run")
    go.touch()
    assert step.ended().result == f"{node.folder}/bound"
    done = json.loads(node.run("task", "wait", behind).stdout)
    assert done["runs"][0]["result"] == "mark"
    started = [event.fact for event in node.events("run.started")]
    assert [fact.workspace for fact in started if isinstance(fact, e.RunStarted) and fact.task == step.id] == [
        f"{node.folder}/bound"
    ]


def test_who_stops_an_agent_stops_what_works_in_its_workspace(node: Node) -> None:
    step = Step(node, "sleep 60", ".run", place="bound")
    until(lambda: step.row["status"] == "running")
    node.json("agent", "stop", "bound")
    try:
        assert step.row["status"] in ("running", "cancelled")  # the run has ended when the command comes back
        assert step.row["runs"][0]["outcome"] == "cancelled"
        assert step.ended().outcome == "cancelled"
    finally:
        node.json("agent", "restart", "bound")


def test_an_answer_that_does_not_fit_its_schema_has_failed_and_says_where(node: Node) -> None:
    fits = Step(
        node, "echo 'So:'; echo '```json'; echo '{\"approved\": true}'; echo '```'", "free", answer_schema=APPROVED
    )
    wrong = Step(node, "echo '{\"approved\": 1}'", "free2", answer_schema=APPROVED, verify="touch verified")
    none = Step(node, "true", answer_schema=APPROVED)
    assert (fits.ended().outcome, fits.ended().error) == ("ok", "")
    found = wrong.ended()
    assert (found.outcome, found.error) == ("agent_error", "approved: 1 is not of type 'boolean'")
    assert found.evidence == "exit 0, but the answer does not fit its schema: approved: 1 is not of type 'boolean'"
    assert not (wrong.folder / "workspace" / "verified").exists()
    assert none.ended().error == "is empty, which is no JSON"


def test_what_a_failed_check_printed_is_told_and_secrets_are_not(node: Node) -> None:
    step = Step(
        node, "echo hush hush | rev | rev; echo done", "bound", verify="echo 2 failed: $THE_SECRET; exit 3", retries=0
    )
    found = step.ended()
    assert (found.outcome, found.check) == ("agent_error", "2 failed: [redacted]")
    assert "hush" not in str(found.result) + str(found.output) + found.evidence
    passed = Step(node, "echo fine", "bound", verify="echo passed").ended()
    assert (passed.outcome, passed.check) == ("ok", "")


def test_the_stand_in_answers_its_prompt_or_its_schema(node: Node) -> None:
    assert Step(node, "Say {{ this }}\n$(id)", ".echo").ended().result == "Say {{ this }}\n$(id)"
    assert Step(node, "x", ".echo", answer_schema=APPROVED).ended().result == '{"approved":false}'


def test_a_traced_step_is_named_in_each_line(node: Node) -> None:
    step = Step(node, "echo hello", trace=True, step="build#2")
    assert step.ended().result == "hello"
    log = Path(str(step.row["runs"][0]["log"])).read_text()
    assert log.startswith("TRACE: [") and log.endswith("] build#2: hello\n")


def test_virtual_agents_are_in_no_list(node: Node) -> None:
    assert {row["id"] for row in node.json("agent", "list")} == {"bound", "free", "free2", "t1", "t2"}
    for words in (("agent", "stop", ".run"), ("task", "dispatch", "x", "--to", ".run"), ("agent", "health", ".echo")):
        assert node.run(*words).returncode in (1, 2, 3, 4), words
    step = Step(node, "true")
    step.ended()
    assert step.id not in {row["id"] for row in node.json("task", "list")}
    assert step.id in {row["id"] for row in node.json("task", "list", "--all")}
    assert step.id in {row["id"] for row in node.json("task", "list", "--all", "--status", "completed")}
