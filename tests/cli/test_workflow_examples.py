"""The examples under tools/examples do what they say: with stand-ins, and with agents that are scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.documents.workflow_file import read_workflow
from tests.cli.conftest import CommandLine
from tests.house import sources
from tests.runtime.acting import Node, until
from tests.runtime.workflow_place import WorkflowPlace

FOLDER = sources.ROOT / "tools" / "examples" / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
ASKS = {"approve-or-roll-back": "accept", "every-key": "gate"}
CODER = """#!/bin/sh
# Writes no Python first, then a wrong sum, and the right one once it was told what the tests say. Each of another size:
# by size and second Python knows whether what it has compiled is old.
case "$1" in
  *"That is no Python"*"SyntaxError"*) printf 'def add(a, b):\\n    return a - b\\n' > adder.py ;;
  *"After your last"*"(round 1)"*"-1 != 3"*) printf 'def add(a, b):\\n    return sum((a, b))\\n' > adder.py ;;
  *) printf 'def add(a, b)\\n    return a + b\\n' > adder.py ;;
esac
echo changed adder.py
"""
REVIEWER = """#!/bin/sh
case "$1" in
  *bad.py*) echo cannot read it >&2; exit 1 ;;
  *"Is it done?"*) if [ -e asked ]; then echo '{"approved": true}'; else touch asked; echo '{"approved": false}'; fi ;;
  *"one summary"*) printf '%s\\n' "$1" | grep -E '^[0-9]+\\.' ;;
  *) echo "fine: ${1##*: }" ;;
esac
"""
CODEX = """#!/bin/sh
# Builds only when it is told that the tests fail, in its own session.
for prompt; do :; done
echo "session 7"
case "$prompt" in
  "Fix what these say: fine: a.py") echo 'tried nothing' ;;
  "This failed:"*"no dist"*) [ "$1 $2" = "--resume 7" ] && mkdir -p dist/js && echo built > dist/js/app ;;
esac
"""
NPM = "#!/bin/sh\ntest -e dist/js/app || { echo no dist; exit 1; }\n"
BUILD = """#!/bin/sh
# Breaks off half way the first time.
echo half > "$1/half"
if [ ! -e ../tried ]; then touch ../tried; exit 1; fi
rm "$1/half"; echo whole > "$1/app"
"""
TESTS = "import unittest\nimport adder\n\n\nclass Sums(unittest.TestCase):\n    def test_sum(self) -> None:\n"
TESTS += "        self.assertEqual(adder.add(1, 2), 3)\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(FOLDER, folder / "workflows")
    for path in (folder / "workflows").glob("*.yaml"):
        path.write_text(re.sub(r"backoff: \w+", "backoff: 0", path.read_text()))
    bin = folder / "bin"
    bin.mkdir()
    for name, program in {"coder": CODER, "reviewer": REVIEWER, "codex": CODEX, "npm": NPM}.items():
        (bin / name).write_text(program)
        (bin / name).chmod(0o755)
    with Node(folder / "node", PATH=f"{bin}:{Path(sys.executable).parent}:{os.environ['PATH']}") as node:
        for slug in ("coder", "reviewer", "codex"):
            keys: dict[str, Any] = {"output": {"format": "text"}, "success": {"exit": [0]}}
            if slug == "codex":
                keys["output"]["session"] = [r"^session (\S+)"]
                keys["resume"] = {"args": ["--resume", "{session}"], "before": "prompt"}
            node.agent_type(slug, adapter="none", bin=str(bin / slug), argv=["{bin}", "{prompt}"], **keys)
        node.agent_type("hand", mode="script", adapter="shell")
        node.up()
        yield node


@pytest.fixture
def place(node: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> WorkflowPlace:
    monkeypatch.chdir(node.folder.parent)
    return WorkflowPlace(node, CommandLine(node.env, capfdbinary, monkeypatch))


def assign(place: WorkflowPlace, slug: str, name: str) -> Path:
    """An agent with a workspace."""
    workspace = place.node.folder.parent / "work" / name
    workspace.mkdir(parents=True)
    place.node.json("agent", "assign", slug, "--name", name, "--to-workspace", str(workspace))
    return workspace


def repository(workspace: Path, files: dict[str, str]) -> None:
    """Make a git repository of a workspace, with these files on `main`."""
    for name, text in files.items():
        (workspace / name).write_text(text)
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    for words in (("init", "-qb", "main"), ("add", "."), (*who, "commit", "-qm", "begin")):
        subprocess.run(["git", *words], cwd=workspace, check=True)


def steps_of(run: Any) -> dict[str, str]:
    return {step["id"]: step["status"] for step in run["steps"]}


def waits(place: WorkflowPlace, run: str, step: str) -> bool:
    """Whether a step of a run waits for an approval."""
    rows = place.json("status", run)["steps"]
    return any(row["id"] == step and row["waiting_for"] == "approval" for row in rows)


def test_each_is_introduced_and_in_the_table() -> None:
    table = sources.text(Path("tools/examples/README.md"))
    assert len(NAMES) >= 8
    for name in NAMES:
        text = (FOLDER / f"{name}.yaml").read_text()
        assert f"`{name}.yaml`" in table
        assert all(f"\n# {word}:" in text.partition("\nname:")[0] for word in ("Run", "Try", "Change")), name
        assert max(map(len, text.splitlines())) <= 120, name
        assert read_workflow(text, name).is_valid


@pytest.mark.parametrize("name", ["deploy", *(name for name in NAMES if name != "deploy")])  # two of them need it
def test_each_is_valid_and_runs_with_stand_ins_where_no_agent_is(place: WorkflowPlace, name: str) -> None:
    file = f"workflows/{name}.yaml"
    assert place.json("validate", file, "--offline")["valid"]
    run = place.json("run", file, "--agent-override", "*=echo", "--async")["id"]
    if name in ASKS:
        until(lambda: waits(place, run, ASKS[name]))
        place.json("approve", run, ASKS[name])
    told = place.json("wait", run)
    assert told["status"] == "completed", told


def test_without_stand_ins_a_file_names_who_is_missing_and_with_them_who_still_is(place: WorkflowPlace) -> None:
    file = "workflows/every-key.yaml"
    assert "unknown agent `rpgclaw-ops`" in place.refused(2, "run", file, "--async")
    told = place.refused(2, "run", file, "--async", "--agent-override", "rpgclaw-ops=echo")
    assert "unknown agent `rpgclaw-ops`" not in told
    assert "no agent has the role `reviewer`" in told
    assert place.json("run", "workflows/nightly.yaml", "--dry-run", "--agent-override", "*=echo")["steps"]
    bad = place.file("bad.yaml", "steps: [{id: a, agent: a b, prompt: x}]")
    assert "'a b'" in place.refused(2, "run", bad, "--agent-override", "*=echo")


def test_the_first_example_runs_as_it_is_written(place: WorkflowPlace) -> None:
    for name in ("rpgclaw-ops", "vps-ops"):
        place.node.agent_type(name)
    place.json("create", "rpgclaw-deploy", "--definition", "workflows/deploy-rpgclaw.yaml")
    run = place.json("run", "rpgclaw-deploy", "--param", "branch=main", "--trace")
    assert (run["status"], run["params"]) == ("completed", {"branch": "main", "environment": "production"})
    assert [step["id"] for step in run["steps"]] == ["git-pull", "build", "health-check"]
    assert "did: Verify RPGCLAW responds on :3000" in place.run("logs", run["id"], "health-check").out


def test_each_changed_file_is_reviewed_and_one_that_fails_stops_no_other(place: WorkflowPlace) -> None:
    workspace = assign(place, "hand", "repository")
    repository(workspace, {"a.py": "1", "bad.py": "1", "with space.py": "1", "same.py": "1"})
    for name in ("a.py", "bad.py", "with space.py"):
        (workspace / name).write_text("2")
    run = place.json("run", "workflows/review-fan-out.yaml", "--agent-override", "writer=reviewer")
    assert (run["status"], steps_of(run)["review[1]"]) == ("completed", "failed")
    assert run["result"].splitlines() == [
        "1. completed: fine: a.py", "2. failed: ", "3. completed: fine: with space.py"
    ]  # fmt: skip


def test_the_loop_ends_when_the_tests_pass(place: WorkflowPlace) -> None:
    workspace = assign(place, "coder", "coder")
    repository(workspace, {"adder.py": "", "test_adder.py": TESTS, ".gitignore": "__pycache__\n"})
    run = place.json("run", "workflows/fix-until-green.yaml")
    assert (run["status"], list(steps_of(run))) == ("completed", ["fix", "fix#2", "test", "test#2", "changes"])
    assert [step["attempt"] for step in run["steps"]] == [2, 1, 1, 1, 1]
    assert "adder.py | 2 ++" in run["result"]
    assert (workspace / "adder.py").read_text() == "def add(a, b):\n    return sum((a, b))\n"


def test_a_no_puts_the_old_version_back_and_a_second_attempt_finds_no_halves(place: WorkflowPlace) -> None:
    workspace = assign(place, "hand", "deployer")
    (workspace / "releases").mkdir()
    (workspace / "current").write_text("1.3\n")
    (workspace / "build").write_text(BUILD)
    (workspace / "build").chmod(0o755)
    run = place.json("run", "workflows/approve-or-roll-back.yaml", "--param", "version=1.4", "--async")["id"]
    until(lambda: waits(place, run, "accept"))
    assert (workspace / "current").read_text() == "1.4\n"
    assert [path.name for path in (workspace / "releases" / "1.4").iterdir()] == ["app"]
    rows = {step["id"]: step for step in place.json("status", run)["steps"]}
    assert rows["deploy"]["attempt"] == 2  # `mkdir` would have failed, had the first one's folder still been there
    assert rows["accept"]["prompt"] == "Is 1.4 good? Before it was 1.3"
    place.json("reject", run, "accept", "--reason", "too slow")
    ended = json.loads(place.run("wait", run).out)
    assert (ended["status"], steps_of(ended)["roll-back"], steps_of(ended)["announce"]) == (
        "failed", "completed", "skipped"
    )  # fmt: skip
    assert (workspace / "current").read_text() == "1.3\n"
    assert list((workspace / "releases").iterdir()) == []


def test_schedules_are_stored_and_switched_and_a_key_makes_one_run_a_night(place: WorkflowPlace) -> None:
    assign(place, "reviewer", "keeper")
    place.json("create", "nightly", "--definition", "workflows/nightly.yaml")
    assert not place.json("disable", "nightly")["enabled"]
    (row,) = [row for row in place.json("list") if row["id"] == "nightly"]
    assert (row["schedules"], row["enabled"]) == (2, False)
    assert place.json("enable", "nightly")["enabled"]
    runs = [place.json("run", "nightly", "--key", "night", "--param", "depth=quick", "--async")["id"] for _ in range(2)]
    assert runs[0] == runs[1]
    run = place.json("wait", runs[0])
    assert steps_of(run) == {"update": "completed", "audit": "skipped", "report": "completed"}
    assert "update: completed, audit: skipped" in place.run("logs", run["id"], "report").out


def test_a_release_runs_a_child_for_each_service_and_tells_what_they_told(place: WorkflowPlace) -> None:
    place.json("create", "deploy", "--definition", "workflows/deploy.yaml")
    run = place.json("run", "workflows/release.yaml", "--param", "version=1.4")
    assert run["result"].splitlines() == ["https://api.example.com", "https://web.example.com"]
    assert steps_of(run)["deploy[1]"] == "completed"
    assert place.node.json("state", "get", "deploy_url")["value"] == "https://web.example.com"
    child = place.json("status", run["steps"][1]["child"])
    assert (child["params"], child["parent"]) == ({"service": "api", "branch": "v1.4"}, run["id"])


def test_all_of_it_runs_with_agents(place: WorkflowPlace) -> None:
    place.json("create", "deploy", "--definition", "workflows/deploy.yaml")
    workspace = assign(place, "hand", "ops")
    repository(workspace, {"a.py": "1"})
    (workspace / "a.py").write_text("2")
    assign(place, "codex", "codex")
    place.node.json("agent", "assign", "reviewer", "--role", "reviewer", "--to-workspace", str(place.node.folder / "r"))
    others = ("--agent-override", "claude=codex", "--agent-override", "rpgclaw-ops=ops")
    run = place.json("run", "workflows/every-key.yaml", "--async", *others)["id"]
    until(lambda: waits(place, run, "gate"))
    place.json("approve", run, "gate")
    told = place.json("wait", run)
    rows = {step["id"]: step for step in told["steps"]}
    assert told["status"] == "completed"
    assert (rows["fix"]["attempt"], rows["fix#2"]["status"], rows["judge#2"]["result"]) == (
        2, "completed", '{"approved": true}'
    )  # fmt: skip
    assert rows["notify"]["status"] == "skipped"
    assert place.node.json("state", "get", "deploy_url")["value"] == "https://web.example.com"
