"""`maestro help python` is true: each of its programs runs, and prints what it says."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from maestro import connect, errors
from maestro.library import options, rows
from maestro.library.async_client import AsyncMaestro, AsyncState, AsyncWorkflows
from maestro.library.client import Maestro, State, Workflows
from tests.house import sources
from tests.house.documents import FENCE
from tests.installation import Installation

DOCUMENT = Path("maestro/docs/python.md")
CALL = re.compile(r"`(?:(state|workflows)\.)?(\w+)\((.*?)\)`")
OPTIONS = {
    "dispatch": options.DispatchOptions,
    "tasks": options.ListOptions,
    "run": options.RunOptions,
    "snapshot": options.SnapshotOptions,
    "restore_dry_run": options.RestoreOptions,
}


def programs() -> list[tuple[str, str]]:
    """Each program of the document, with what it prints."""
    found: list[tuple[str, str]] = []
    for language, text in FENCE.findall(sources.text(DOCUMENT)):
        if language == "python":
            found.append((text, ""))
        elif language == "text":
            found[-1] = found[-1][0], text
    return found


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with an agent `tester`, in the environment of this process."""
    kept = dict(os.environ)
    with Installation(tmp_path_factory.mktemp("python")) as installation:
        installation.agent_type("tester", mode="script", adapter="shell")
        installation.json("agent", "assign", "tester", "--to-workspace", str(installation.folder / "ws"))
        os.environ.update(installation.env)
        yield installation
        os.environ.clear()
        os.environ.update(kept)


def test_each_of_its_programs_prints_what_it_says(here: Installation, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(programs()) >= 8
    for number, (text, wanted) in enumerate(programs()):
        exec(compile(text, f"{DOCUMENT}#{number}", "exec"), {"__name__": "example"})
        assert (text, capsys.readouterr().out) == (text, wanted)


def test_the_rows_have_the_keys_and_types_that_are_declared(here: Installation) -> None:
    maestro = connect()
    task = maestro.wait(maestro.dispatch("echo x; exit 3", "tester")["id"])
    assert (task["status"], task["exit_code"], task["runs"][0]["result"]) == ("failed", 3, "x")
    run = maestro.workflows.run("one", definition="steps: [{id: a, run: echo one}]")
    declared: list[tuple[Any, Any]] = [
        (rows.Task, task),
        (rows.Task, maestro.tasks(limit=1)[0]),
        (rows.Agent, maestro.agents()[0]),
        (rows.StateKey, maestro.state.set("k", "v", ttl="0")),
        (rows.WorkflowHeader, run),
        (rows.WorkflowRun, maestro.workflows.wait(run["id"])),
        (rows.WorkflowRun, maestro.workflows.status("one")),
        (rows.Event, next(maestro.events())),
        (rows.Snapshot, maestro.snapshot(output=str(here.folder / "out.tar.gz"))),
        (rows.RestorePreview, maestro.restore_dry_run(at=5)),
    ]
    for kind, row in declared:
        assert msgspec.convert(row, kind)
    with pytest.raises(errors.Invalid) as found:
        maestro.workflows.run("two", definition="steps:\n  - id: a\n    run: echo\n    needs: [nobody, b]\n")
    assert (found.value.where, found.value.exit_code) == ("two.yaml:4:13", 2)
    assert found.value.what.endswith("(and 1 more error)")


def test_it_lists_all_calls_with_all_their_parameters() -> None:
    table = sources.text(DOCUMENT).partition("## All calls")[2]
    told = {(group, name): re.findall(r"(?:^|, )(\w+)", given) for group, name, given in CALL.findall(table)}
    told.pop(("", "connect"), None)
    kinds = {"": (Maestro, AsyncMaestro), "state": (State, AsyncState), "workflows": (Workflows, AsyncWorkflows)}
    for group, kind in [(name, kind) for name, both in kinds.items() for kind in both]:
        there = {}
        for name, method in vars(kind).items():
            if not name.startswith("_"):
                names = [each for each in inspect.signature(method).parameters if each not in ("self", "options")]
                there[group, name] = names + list(OPTIONS[name].__annotations__ if name in OPTIONS else ())
        assert there == {call: named for call, named in told.items() if call[0] == group}
