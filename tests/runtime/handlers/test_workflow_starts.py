"""The start of a run: what it is given, what it pins, who works for it, and all that refuses it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Append
from tests.cli.conftest import CommandLine
from tests.runtime.acting import Node, until
from tests.runtime.workflow_place import WorkflowPlace

ASKS = "steps:\n  - {id: gate, approval: true}\n"
"""A run of it stays open."""
TYPED = (
    "vars: {branch: main, count: 3, ratio: 0.5, dry: false, tags: [a], deep: {a: 1}, any: null}\n"
    "steps:\n  - {id: gate, approval: {prompt: 'ship {{ vars.branch }}?'}}\n"
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("starts")) as node:
        node.agent_type("worker")
        node.agent_type("absent", adapter="codex", bin="/no-such-folder/codex")
        node.up()
        yield node


@pytest.fixture
def place(node: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> WorkflowPlace:
    return WorkflowPlace(node, CommandLine(node.env, capfdbinary, monkeypatch))


def start(place: WorkflowPlace, *words: str) -> e.WorkflowRunStarted:
    """Start a run; its event."""
    fact: e.WorkflowRunStarted = place.started(place.json("run", *words, "--async")["id"])
    return fact


def test_params_have_the_types_of_their_defaults(place: WorkflowPlace) -> None:
    place.create("typed", TYPED)
    vars = place.node.folder / "vars.json"
    vars.write_text('{"count": 7, "ratio": 2, "branch": "of-file"}')
    notes = place.node.folder / "notes.md"
    notes.write_text("two\nlines\n")
    params = ("count=8", "dry=yes", 'tags=["x", 1]', 'deep={"b": [2]}', f"any=@{notes}", "branch=@@literal")
    words = [word for one in params for word in ("--param", one)]
    fact = start(place, "typed", "--vars", str(vars), *words, "--priority", "2", "--trace")
    assert fact.params == {
        "branch": "@literal", "count": 8, "ratio": 2, "dry": True, "tags": ["x", 1], "deep": {"b": [2]},
        "any": "two\nlines\n",
    }  # fmt: skip
    assert (fact.priority, fact.trace, fact.version, fact.group) == (2, True, 1, "")
    assert (fact.node, fact.folder) == (place.node.id, f"{place.node.root}/.workflows/{fact.run}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--param", "brnch=x"), "--param: there is no var 'brnch'; did you mean `branch`?"),
        (("--param", "count=many"), "--param: count='many' is not a whole number; give a whole number"),
        (("--param", "count=1.5"), "count='1.5' is not a whole number"),
        (("--param", "dry=maybe"), "dry='maybe' is not true or false"),
        (("--param", "tags=a,b"), "tags='a,b' is not a list; write it as JSON"),
        (("--param", "tags=" + "[" * 5000), "is not a list"),
        (("--param", "branch"), "--param: 'branch' is no name=value; write it as in branch=main"),
        (("--param", "branch=a", "--param", "branch=b"), "branch is given twice"),
        (("--param", "branch=@/no-such-file"), "no such file"),
        (("--param", "branch=-", "--param", "any=-"), "several values are to be read from standard input"),
        (("--key", ""), "--key: is empty"),
        (("--run", "x"), "--run: it goes with --resume-from; name a step, or `failed`"),
        (("--files", "restore"), "--files restore: it goes with --resume-from"),
        (("--resume-from", "a b"), "--resume-from: 'a b' is no step; name a step, STEP:i for an item, or `failed`"),
        (("--agent-override", "codex"), "--agent-override: 'codex' is no A=B"),
        (("--agent-override", "codex=echo"), "--agent-override: no step names the agent 'codex'; `*` stands for all"),
        (("--version", "9"), "workflow typed has no version 9; it has version 1 only"),
        (("--agent-override", "*=wroker"), "--agent-override: no agent type wroker; did you mean 'worker'?"),
        (("--resume-from", "failed"), "--resume-from: no run of workflow typed has ended; maestro workflow runs typed"),
        (("--resume-from", "gate", "--run", "none"), "--run: there is no run 'none' of a workflow"),
    ],
)
def test_what_cannot_be_started_is_told_in_one_line(place: WorkflowPlace, words: tuple[str, ...], said: str) -> None:
    place.create("typed", TYPED)
    before = len(place.node.events("workflow_run.started"))
    told = place.run("run", "typed", *words, "--async")
    assert told.code in (2, 3)
    assert said in told.err
    assert "Traceback" not in told.err
    assert len(told.err.splitlines()) == 1
    assert len(place.node.events("workflow_run.started")) == before


def test_one_key_makes_one_run_however_many_start_it_at_once(place: WorkflowPlace) -> None:
    place.create("keyed", f"vars: {{n: 1}}\n{ASKS}")
    words = [sys.executable, "-m", "maestro", "workflow", "run", "keyed", "--key", "one", "--async"]
    tries = [subprocess.Popen(words, env=place.node.env, stdout=subprocess.PIPE) for _ in range(5)]
    ids = {json.loads(one.communicate(timeout=60)[0])["id"] for one in tries}
    assert len(ids) == 1
    started = [event for event in place.node.events("workflow_run.started") if event.fact.workflow == "keyed"]
    assert len(started) == 1
    told = place.run("run", "keyed", "--key", "one", "--param", "n=2", "--priority", "1", "--async")
    assert (json.loads(told.out)["id"], told.code) == (ids.pop(), 0)
    assert "the key 'one' stands for run" in told.err
    assert "which has another param, priority; that one stands, and nothing was started" in told.err
    assert place.run("run", "keyed", "--key", "one", "--async").err == ""
    changed = place.file("keyed.yaml", ASKS)
    assert (
        "has another definition; that one stands"
        in place.run("run", changed, "--key", "one", "--param", "n=1", "--async").err
    )


def test_a_file_is_stored_first_under_its_stem(place: WorkflowPlace) -> None:
    file = place.file("ship-it.yaml", ASKS)
    told = place.run("run", file, "--async")
    assert f"stored {file} as version 1 of workflow ship-it" in told.err
    assert (json.loads(told.out)["workflow"], json.loads(told.out)["version"]) == ("ship-it", 1)
    assert place.run("run", file, "--async").err == ""
    assert len(place.json("show", "ship-it")["versions"]) == 1
    odd = place.file("my flow.yaml", ASKS)
    line = place.refused(2, "run", odd, "--async")
    assert line.endswith(
        "gives no id of a workflow; store it: maestro workflow create NAME --definition FILE, then maestro workflow run"
        " NAME"
    )
    place.json("create", "my-flow", "--definition", odd)
    assert start(place, "my-flow").version == 1
    bad = place.file("bad.yaml", "steps:\n  - {id: a, run: x, needs: b}\n")
    assert place.refused(2, "run", bad, "--async").endswith("bad.yaml:2:21: steps[0].needs: unknown step `b`; known: a")
    assert "there is no workflow 'bad'" in place.refused(3, "show", "bad")
    assert "no such file" in place.refused(3, "run", "nowhere.yaml", "--async")


def test_children_are_pinned_all_the_way_down(place: WorkflowPlace) -> None:
    runs = "steps:\n  - {id: gate, approval: true}\n  - {id: go, needs: gate, workflow: %s}\n"
    for name, text in (("leaf", ASKS), ("middle", runs % "leaf"), ("top", runs % "middle")):
        place.create(name, text)
    place.create("leaf", f"description: second\n{ASKS}")
    fact = start(place, "top")
    place.create("leaf", f"description: third\n{ASKS}")
    store = place.node.store()
    try:
        children = fact.children if isinstance(fact.children, str) else store.blobs.get(fact.children.blob)
    finally:
        store.close()
    found = json.loads(children or "")
    assert {name: one["version"] for name, one in found.items()} == {"leaf": 2, "middle": 1}
    assert found["leaf"]["definition"]["description"] == "second"
    place.json("delete", "leaf")
    line = place.refused(3, "run", "top", "--async")
    assert "workflow leaf, which step go of middle runs, is not stored; maestro workflow create leaf" in line
    place.create("leaf", ASKS)
    start(place, "top")


def test_who_works_for_a_run_is_there_or_registers_itself(place: WorkflowPlace) -> None:
    step = "steps:\n  - {id: gate, approval: true}\n  - {id: a, needs: gate, agent: %s, prompt: x}\n"
    place.create("firsts", step % "[absent, worker]")
    told = place.run("run", "firsts", "--async")
    assert told.code == 0, told
    assert "absent cannot work, others of its chain will: " in told.err
    assert [agent["id"] for agent in place.node.json("agent", "list")] == ["worker"]
    place.create("nobody", step % "absent")
    line = place.refused(4, "run", "nobody", "--async")
    assert line.startswith("maestro: step a: ")
    assert "/no-such-folder/codex" in line
    assert start(place, "nobody", "--agent-override", "absent=worker").overrides == {"absent": "worker"}
    assert start(place, "nobody", "--agent-override", "*=echo").overrides == {"*": "echo"}


def test_a_start_ends_the_hold_of_the_nodes_that_it_needs(place: WorkflowPlace) -> None:
    place.create("held", ASKS)
    store = place.node.store()
    try:
        held = NewEvent(f"node:{place.node.id}", e.NodeHeld(place.node.id, "test"))
        store.log.commit([Append((held,), "test", "cmd:held")], None)
    finally:
        store.close()
    start(place, "held")
    assert place.node.events("node.resumed")[-1].fact.node == place.node.id


def test_a_busy_group_refuses_where_it_says_so_and_names_the_run(place: WorkflowPlace) -> None:
    text = "vars: {env: dev}\nconcurrency: {group: 'ship-{{ vars.env }}', when_busy: %s}\n" + ASKS
    place.create("rejects", text % "reject")
    place.create("queues", text % "queue")
    first = start(place, "rejects")
    assert (first.group, first.when_busy) == ("ship-dev", "reject")
    line = place.refused(4, "run", "rejects", "--async")
    assert f"the group ship-dev is busy: run {first.run} of workflow rejects is" in line
    assert line.endswith(f"maestro workflow wait {first.run}, or maestro workflow stop {first.run}")
    assert start(place, "rejects", "--param", "env=prod").group == "ship-prod"
    assert start(place, "queues").group == "ship-dev"
    assert "concurrency.group: '' is no group" in place.refused(
        2, "run", place.file("odd.yaml", "vars: {g: ''}\nconcurrency: {group: '{{ vars.g }}'}\n" + ASKS), "--async"
    )
    line = place.refused(4, "delete", "rejects")
    assert "runs are open of workflow rejects: " in line
    assert line.endswith("maestro workflow stop rejects ends them")
    place.json("stop", first.run)
    place.run("wait", first.run)
    place.json("stop", "queues", "--yes")
    until(lambda: all(row["ended_at"] for row in place.json("runs", "queues")))
    assert start(place, "rejects").group == "ship-dev"
    place.json("stop", "rejects", "--yes")
    until(lambda: all(row["ended_at"] for row in place.json("runs", "rejects")))
    assert place.json("delete", "rejects")["deleted"]


def test_a_dry_run_tells_all_that_is_known_and_appends_nothing(place: WorkflowPlace) -> None:
    place.create("leaf-2", ASKS)
    text = (
        "vars: {branch: main}\n"
        "steps:\n"
        "  - {id: a, agent: [absent, worker], prompt: 'look at {{ vars.branch }}{{ previous.verify }}'}\n"
        "  - {id: b, needs: a, run: 'echo {{ vars.branch }}'}\n"
        "  - {id: c, needs: a, agent: worker, prompt: 'mend {{ steps.a.result }}'}\n"
        "  - {id: d, needs: [b, c], workflow: leaf-2}\n"
        "  - {id: e, run: 'echo {{ [1][vars.branch] }}'}\n"
    )
    place.create("dry", text)
    kinds = ("workflow_run.started", "workflow.stored", "agent.registered", "agent.assigned")
    before = [len(place.node.events(kind)) for kind in kinds]
    found = place.json("run", "dry", "--dry-run", "--param", "branch=it's")
    steps = {step["id"]: step for step in found["steps"]}
    assert [step["id"] for step in found["steps"]] == ["a", "e", "b", "c", "d"]
    assert (steps["a"]["prompt"], steps["a"]["chosen"]) == ("look at it's", "worker")
    assert steps["b"]["prompt"] == "echo 'it'\"'\"'s'"
    assert (steps["c"]["prompt"], steps["c"]["why"]) == (None, "reads `steps`")
    assert steps["e"]["why"].startswith("would fail: ")
    assert found["children"] == {"leaf-2": 1}
    echo = place.json("run", "dry", "--dry-run", "--agent-override", "*=echo")["steps"]
    assert [step["chosen"] for step in echo] == ["echo", "echo", "echo", "echo", None]
    file = place.file("not-stored.yaml", text)
    told = place.run("run", file, "--dry-run", "--format", "table")
    assert "workflow not-stored, not stored yet; nothing was started" in told.out
    assert [len(place.node.events(kind)) for kind in kinds] == before


# Starting again


def test_a_large_definition_is_one_blob_for_all_of_its_runs(place: WorkflowPlace) -> None:
    place.create("large", ASKS + f"description: {'x' * 3000}\n")
    facts = [start(place, "large") for _ in range(2)]
    assert isinstance(facts[0].definition, e.BlobRef)
    assert facts[0].definition == facts[1].definition
    assert len(msgspec.json.encode(facts[0])) < 1000
    assert Path(facts[0].folder).parent == Path(facts[1].folder).parent


def test_a_file_without_its_agents_can_be_tried_with_the_echo(place: WorkflowPlace) -> None:
    file = place.file("stranger.yaml", "steps:\n  - {id: a, agent: nobody-of-that-name, prompt: x}\n")
    told = place.run("run", file)
    assert (told.code, told.err.splitlines()[1:]) == (
        2, ["maestro: to try it without its agents: --agent-override '*=echo'"]
    )  # fmt: skip
    place.run("run", file, "--agent-override", "*=echo", "--async", "-q")
    told = place.run("run", file, "--agent-override", "*=echo", "--dry-run", "--format", "table")
    assert told.out.startswith("workflow stranger, version 1; ")  # it is stored, and has not changed
