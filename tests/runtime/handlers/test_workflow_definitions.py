"""Workflows that are stored: checked against what is there, versions that never change, lists, differences, ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.cli.conftest import CommandLine
from tests.documents.sample_workflow import SAMPLE
from tests.runtime.acting import Node
from tests.runtime.workflow_place import WorkflowPlace

SIMPLE = "vars: {branch: main}\nsteps:\n  - {id: a, agent: worker, prompt: 'do {{ vars.branch }}'}\n"
ASKS = "steps:\n  - {id: gate, approval: true}\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("wf")) as node:
        node.agent_type("worker")
        node.agent_type("quiet", adapter="shell")
        node.agent_type("talker", adapter="codex")
        node.json("agent", "assign", "quiet", "--name", "rev-1", "--role", "reviewer")
        yield node


@pytest.fixture
def place(node: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> WorkflowPlace:
    return WorkflowPlace(node, CommandLine(node.env, capfdbinary, monkeypatch))


def errors(place: WorkflowPlace, text: str, *words: str, code: int = 2) -> list[str]:
    """What `validate` says of a definition, a line each, without the file."""
    file = place.file("x.yaml", text)
    told = place.run("validate", file, "--format", "table", *words)
    assert told.code == code, told
    return [line.removeprefix(f"{file}:") for line in told.err.splitlines()]


def test_what_a_definition_names_must_be_there(place: WorkflowPlace) -> None:
    place.create("child", "vars: {branch: main, n: 1}\nsteps:\n  - {id: a, run: 'true'}\n")
    found = errors(
        place,
        "budget: {cost: 1}\n"
        "steps:\n"
        "  - {id: a, agent: wroker, prompt: x}\n"
        "  - {id: b, agent: [worker, 'type:quite', 'role:reviewr'], prompt: x}\n"
        "  - {id: c, agent: 'capability:none-has-it', prompt: x, in: 'role:reviewer'}\n"
        "  - {id: d, run: x, in: nobody-of-that-name}\n"
        "  - {id: e, workflow: chlid}\n"
        "  - {id: f, workflow: child, with: {brnch: x, n: many}, outputs: {url: url}}\n"
        "  - {id: g, agent: rev-1, prompt: x, retries: {max: 1, continue: true}}\n"
        "  - {id: h, agent: 'pool:x', prompt: x}\n",
    )
    assert found == [
        "3:13: steps[0].agent: unknown agent `wroker`; did you mean `worker`?",
        "4:29: steps[1].agent[1]: unknown agent type `quite`; did you mean `quiet`?",
        "4:43: steps[1].agent[2]: no agent has the role `reviewr`; did you mean `role:reviewer`?",
        "5:13: steps[2].agent: no agent has the capability `none-has-it`; assign one: maestro agent assign, with"
        " `capabilities: [none-has-it]` in its type",
        "5:57: steps[2].in: `role:reviewer` is a pool; name one agent, or `run` for the run's own folder",
        "6:21: steps[3].in: unknown agent `nobody-of-that-name`; known: aider, claude, codex, gemini, kilo, opencode,"
        " quiet, qwen, rev-1, shell, talker, worker",
        "7:13: steps[4].workflow: unknown workflow `chlid`; did you mean `child`?",
        "8:37: steps[5].with.brnch: workflow `child` has no var `brnch`; did you mean `branch`?",
        "8:47: steps[5].with.n: is text, but the var `n` is a whole number; give a whole number",
        "8:57: steps[5].outputs: workflow `child` tells no result, so it has no json; give it `result: …`",
        "9:13: notice: steps[6].agent: `rev-1` tells no usage, so the budget does not count it",
        "9:56: steps[6].retries.continue: `rev-1` cannot go on with a session: its type `quiet` has no `resume`;"
        " remove it, or name another agent",
        "10:13: steps[7].agent: 'pool:x' is no target; use an agent id, type:<slug>, role:<role> or capability:<name>",
    ]


def test_who_is_missing_is_assigned_and_what_is_missing_stored_as_the_error_says(place: WorkflowPlace) -> None:
    text = "steps:\n  - {id: a, agent: 'role:of-nobody-yet', prompt: x}\n  - {id: b, workflow: zzz-not-yet}\n"
    first, second = errors(place, text)
    assert first.endswith(
        "no agent has the role `of-nobody-yet`; assign one: maestro agent assign, with --role of-nobody-yet"
    )
    place.node.json("agent", "assign", "worker", "--name", "w-9", *first.partition("with ")[2].split())
    assert second.endswith("maestro workflow create zzz-not-yet --definition FILE")
    place.create("zzz-not-yet", SIMPLE)
    assert errors(place, text, code=0) == []


def test_offline_unknown_agents_and_children_are_warnings_and_no_store_is_needed(place: WorkflowPlace) -> None:
    text = "steps:\n  - {id: a, agent: nobody, prompt: x}\n  - {id: b, workflow: none}\n"
    home = place.node.env["MAESTRO_HOME"]
    place.node.env["MAESTRO_HOME"] = f"{home}-none"
    try:
        found = errors(place, text, "--offline", code=0)
        assert [line.split(":")[2] for line in found] == [" warning", " warning"]
        assert not Path(f"{home}-none").exists()
        assert len(errors(place, text.replace("none}", "none, when: '('}"), "--offline")) == 3
    finally:
        place.node.env["MAESTRO_HOME"] = home


def test_whatever_becomes_of_a_definition_the_command_line_takes_it_or_refuses_it(place: WorkflowPlace) -> None:
    random = Random(12)
    pieces = [
        "\n",
        " ",
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "{{ x",
        "'",
        '"',
        "|",
        "&a",
        "*a",
        "!!int",
        "1e999",
        "~",
        "\t",
        "é",
    ]
    codes = set()
    for _ in range(60):
        text = SAMPLE
        for _ in range(random.randint(1, 3)):
            at, size = random.randrange(len(text)), random.randint(0, 40)
            text = text[:at] + random.choice([*pieces, SAMPLE[at : at + size]]) + text[at + random.randint(0, size) :]
        told = place.run("validate", place.file("mutated.yaml", text), "--offline")
        codes.add(told.code)
        assert told.code in (0, 2), (text, told)
        assert "defect" not in told.err and "Traceback" not in told.err
        assert json.loads(told.out)["valid"] == (told.code == 0)
    assert codes == {0, 2}


def test_validate_tells_a_program_all_that_it_tells_a_person(place: WorkflowPlace) -> None:
    file = place.file("bad.yaml", "steps:\n  - {id: a, agent: nobody-at-all, prompt: '{{ vars.x }}'}\n")
    told = place.run("validate", file)
    assert told.code == 2
    found = json.loads(told.out)
    assert not found["valid"]
    assert [(one["line"], one["column"]) for one in found["errors"]] == [(2, 13), (2, 47)]
    assert place.json("validate", place.file("good.yaml", SIMPLE))["valid"]


def test_a_workflow_that_runs_itself_is_refused_through_all_that_are_stored(place: WorkflowPlace) -> None:
    runs = "steps:\n  - {{id: a, workflow: {}}}\n"
    place.create("ring-a", SIMPLE)
    place.create("ring-b", runs.format("ring-a"))
    place.create("ring-c", runs.format("ring-b"))
    file = place.file("ring-a.yaml", runs.format("ring-c"))
    line = place.refused(2, "create", "ring-a", "--definition", file)
    assert line.endswith(
        "2:13: steps[0].workflow: the workflows run each other: ring-a → ring-c → ring-b → ring-a;"
        " for a loop use `again`"
    )
    own = place.file("own.yaml", runs.format("own"))
    assert "own → own" in place.refused(2, "create", "own", "--definition", own)


def test_versions_count_on_and_the_same_content_is_the_same_version(place: WorkflowPlace) -> None:
    first = place.create("deploy", SIMPLE)
    assert (first["version"], first["stored"]) == (1, True)
    told = place.run("create", "deploy", "--definition", place.file("deploy.yaml", SIMPLE))
    assert "has this already, as version 1" in told.err
    assert json.loads(told.out)["stored"] is False
    changed = SIMPLE.replace("main", "dev")
    assert place.create("deploy", changed)["version"] == 2
    assert place.create("deploy", SIMPLE)["version"] == 3  # the newest is what runs, so it is stored again
    shown = place.json("show", "deploy", "--version", "2")
    assert (shown["source"], shown["definition"]["vars"]) == (changed, {"branch": "dev"})
    assert [one["version"] for one in shown["versions"]] == [1, 2, 3]
    assert place.run("show", "deploy", "--format", "yaml").out == SIMPLE
    found = place.json("diff", "deploy", "1", "2")
    assert "-vars: {branch: main}\n+vars: {branch: dev}\n" in found["diff"]
    assert place.json("diff", "deploy", "1", "3")["same"]
    assert place.run("diff", "deploy", "1", "3", "--format", "table") == (0, "", "")
    line = place.refused(3, "diff", "deploy", "1", "9")
    assert line.endswith("workflow deploy has no version 9; it has versions 1 to 3")


def test_vars_of_a_file_are_the_defaults_of_that_version(place: WorkflowPlace) -> None:
    vars = place.node.folder / "staging.json"
    vars.write_text('{"branch": "staging"}')
    assert place.create("with-vars", SIMPLE)["version"] == 1
    assert place.create("with-vars", SIMPLE, "--vars", str(vars))["version"] == 2
    assert place.create("with-vars", SIMPLE, "--vars", str(vars))["version"] == 2
    assert place.json("show", "with-vars")["definition"]["vars"] == {"branch": "staging"}
    assert "staging" in place.json("diff", "with-vars", "1", "2")["diff"]
    file = place.file("with-vars.yaml", SIMPLE)
    for text, said in (
        ('{"brnch": 1}', "there is no var 'brnch'; did you mean `branch`?"),
        ('{"branch": 1}', "branch='1' is not text; give text, as its default is"),
        ("[]", "is no object"),
        ("{", "is not JSON"),
    ):
        vars.write_text(text)
        assert said in place.refused(2, "create", "with-vars", "--definition", file, "--vars", str(vars))


def test_names_are_ids_and_no_files(place: WorkflowPlace) -> None:
    file = place.file("ok.yaml", SIMPLE)
    assert "'a b' is no workflow id" in place.refused(2, "create", "a b", "--definition", file)
    assert "leave the end out: deploy" in place.refused(2, "create", "deploy.yaml", "--definition", file)
    assert "no such file" in place.refused(3, "create", "a", "--definition", "/no-such-file.yaml")


def test_a_deleted_workflow_keeps_its_history_and_its_numbers(place: WorkflowPlace) -> None:
    place.create("goes", SIMPLE)
    assert place.json("delete", "goes") == {"id": "goes", "deleted": True}
    assert "goes" not in [row["id"] for row in place.json("list")]
    assert place.json("show", "goes")["deleted"]
    line = place.refused(4, "delete", "goes")
    assert line.endswith("workflow goes is deleted; maestro workflow create goes --definition FILE stores it again")
    assert "is deleted" in place.refused(4, "run", "goes", "--async")
    assert place.create("goes", SIMPLE)["version"] == 2
    assert place.json("delete", "goes")["deleted"]


def test_a_name_that_is_not_there_is_told_with_those_like_it_and_the_list_has_one_that_works(
    place: WorkflowPlace,
) -> None:
    place.create("release", SIMPLE)
    for words in (("show", "relaese"), ("delete", "relaese"), ("enable", "relaese"), ("diff", "relaese", "1", "2")):
        line = place.refused(3, *words)
        assert line.endswith(
            "there is no workflow 'relaese'; did you mean 'release'? maestro workflow list shows all"
        ), line
    assert "did you mean 'release'?" in place.refused(3, "graph", "relaese")
    assert place.json("show", next(row["id"] for row in place.json("list")))["source"]


def test_schedules_are_switched_off_and_on(place: WorkflowPlace) -> None:
    place.create("nightly", f"schedules: [{{cron: '0 2 * * *'}}]\n{SIMPLE}")
    assert place.json("disable", "nightly") == {"id": "nightly", "enabled": False, "schedules": 1}
    assert place.json("disable", "nightly")["enabled"] is False
    assert place.json("enable", "nightly")["enabled"] is True
    row = next(row for row in place.json("list") if row["id"] == "nightly")
    assert (row["schedules"], row["enabled"]) == (1, True)
    assert len([e for e in place.node.events("workflow.switched") if e.subject == "workflow:nightly"]) == 2


def test_the_steps_are_drawn(place: WorkflowPlace) -> None:
    text = "steps:\n  - {id: a, run: x, on_success: b}\n  - {id: b, run: y}\n"
    place.create("drawn", text)
    assert place.run("graph", "drawn").out == "a  run\n└─ b  run\n"
    assert (
        place.run("graph", "drawn", "--mermaid").out == place.run("graph", place.file("d.yaml", text), "--mermaid").out
    )
    assert ":3:21: steps[1].needs: unknown step `c`" in place.refused(
        2, "graph", place.file("d.yaml", text.replace("run: y", "run: y, needs: c"))
    )


def test_a_file_with_many_errors_is_told_in_part(place: WorkflowPlace) -> None:
    text = "steps:\n" + "".join(f"  - {{id: s{n}, run: x, needs: none}}\n" for n in range(150))
    told = place.run("validate", place.file("many.yaml", text), "--format", "table")
    assert len(told.err.splitlines()) == 101
    assert told.err.splitlines()[-1].endswith("many.yaml: 50 more")


def test_the_audit_tells_of_workflows(place: WorkflowPlace) -> None:
    place.create("told", SIMPLE)
    place.json("delete", "told")
    code, out, _ = place._line.here("audit", "told", "--format", "table")
    assert code == 0
    assert "workflow.stored   workflow:told" in out
    assert "version=1" in out
