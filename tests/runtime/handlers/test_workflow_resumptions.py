"""Runs that take up an earlier one: what is taken over, what runs again, and what must be there for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.store.contract import Append
from tests.cli.conftest import CommandLine
from tests.runtime.acting import Node
from tests.runtime.workflow_place import WorkflowPlace

ASKS = "steps:\n  - {id: gate, approval: true}\n"


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


def ended(
    place: WorkflowPlace, workflow: str, run: str, *, archives: Sequence[e.AnyFact] = (), folder: str = ""
) -> e.WorkflowRunStarted:
    """A run that has failed at its second step, as the log would have it. archives: of the second step."""
    stored = next(
        event.fact for event in place.node.events("workflow.stored") if event.subject == f"workflow:{workflow}"
    )
    begun = e.WorkflowRunStarted(
        run,
        workflow,
        1,
        stored.definition,
        {"branch": "old"},
        node=place.node.id,
        folder=folder or str(place.node.folder / f"gone-{run}"),
    )
    story: list[e.AnyFact] = [begun]
    for step, status in (("a", "completed"), ("b", "failed")):
        story += [
            e.StepReadied(run, step, 1),
            *(archives if step == "b" else ()),
            e.StepStarted(run, step, 1, f"task-{step}"),
        ]
        story.append(e.StepEnded(run, step, status, agent="worker", result=f"told by {step}"))
    story += [e.WorkflowRunEnding(run, "failed", step="b"), e.WorkflowRunFinished(run, "failed")]
    subject = f"workflow-run:{run}"
    events = [NewEvent(subject, fact, 0 if at == 0 else None) for at, fact in enumerate(story)]
    store = place.node.store()
    try:
        store.log.commit([Append(tuple(events), "test", "cmd:ended")], None)
    finally:
        store.close()
    return begun


TWO = (
    "vars: {branch: main}\n"
    "steps:\n  - {id: a, run: 'true'}\n  - {id: b, needs: a, run: 'sleep 60; false'}\n"
    "  - {id: c, needs: b, approval: true}\n"
)


def test_a_run_is_taken_up_where_it_failed(place: WorkflowPlace) -> None:
    place.create("again", TWO)
    folder = place.node.root / ".workflows" / "run-1"
    folder.mkdir(parents=True, exist_ok=True)
    ended(place, "again", "RUN-1", folder=str(folder))
    fact = start(place, "again", "--resume-from", "failed")
    assert (fact.resumed_from, fact.folder, fact.params) == ("RUN-1", str(folder), {"branch": "old"})
    assert {id: one.result for id, one in fact.reused.items()} == {"a": "told by a"}
    line = place.refused(4, "run", "again", "--resume-from", "b", "--run", fact.run, "--async")
    assert f"run {fact.run} has not ended: running; maestro workflow stop {fact.run}" in line
    line = place.refused(4, "run", "again", "--resume-from", "b", "--run", "RUN-1", "--async")
    assert f"run {fact.run}, which is open, has taken over the folder of run RUN-1" in line


def test_what_it_takes_over_must_be_there(place: WorkflowPlace) -> None:
    place.create("gone", TWO)
    ended(place, "gone", "RUN-2")
    line = place.refused(4, "run", "gone", "--resume-from", "failed", "--async")
    assert line.endswith("gone-RUN-2; start anew: maestro workflow run gone")
    assert not start(place, "gone").resumed_from
    fact = start(
        place, "gone", "--resume-from", "a", "--run", "RUN-2", "--param", "branch=new"
    )  # nothing of it is needed
    assert (fact.reused, fact.params) == ({}, {"branch": "new"})


def test_another_definition_another_workflow_and_no_archive_are_refused(place: WorkflowPlace) -> None:
    place.create("other", TWO)
    folder = place.node.folder / "run-3"
    folder.mkdir(parents=True, exist_ok=True)
    ended(place, "other", "RUN-3", folder=str(folder))
    place.create("typed", ASKS)
    line = place.refused(4, "run", "typed", "--resume-from", "gate", "--run", "RUN-3", "--async")
    assert "run RUN-3 is one of workflow other" in line
    line = place.refused(4, "run", "other", "--resume-from", "b", "--files", "restore", "--async")
    assert "--files restore: step b of run RUN-3 has no archive from before it" in line
    place.create("other", TWO.replace("run: 'true'", "run: 'echo other'"))
    assert "step a has changed" in place.refused(4, "run", "other", "--resume-from", "b", "--async")
    assert "step zz" in place.refused(3, "run", "other", "--resume-from", "zz", "--async").replace("'", "")
    fact = start(place, "other", "--resume-from", "b", "--version", "1")
    assert (fact.version, list(fact.reused)) == (1, ["a"])


def test_files_are_restored_where_there_is_an_archive(place: WorkflowPlace) -> None:
    place.create("kept", TWO)
    folder = place.node.folder / "run-4"
    folder.mkdir(parents=True, exist_ok=True)
    node, workspace = place.node.id, f"{folder}/workspace"
    wish = e.WorkspaceArchiveWanted("RUN-4", "b", node, workspace, "", target=".run")
    story = [wish, e.WorkspaceArchived("RUN-4", "b", "s-1")]
    ended(place, "kept", "RUN-4", archives=story, folder=str(folder))
    fact = start(place, "kept", "--resume-from", "b", "--files", "restore")
    assert (fact.restores, fact.force) == (True, False)
    assert {id: (one.workspace, one.snapshot) for id, one in fact.archives.items()} == {"b": (workspace, "s-1")}
