"""The views `workflows` and `workflow_runs`: what their rows tell, in which lists they are, also across restores."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import get_args

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.events import AnyFact, NewEvent
from maestro.model.facts import workflow as facts
from maestro.store.contract import Store
from projections import workflow_runs, workflows
from projections.fold import FOLDED
from projections.projector import Projector
from projections.view_reader import Views
from tests.projections.histories import World, commit, everything, fresh, restore, stored

OF_WORKFLOWS = {fact for fact in get_args(AnyFact) if fact.__module__ == facts.__name__}


def stores(workflow: str, number: int, schedules: int = 0, title: str = "") -> NewEvent:
    fact = e.WorkflowStored(workflow, number, "{}", "", f"{number:064}", title, schedules)
    return NewEvent(f"workflow:{workflow}", fact)


def of(run: str, *told: AnyFact) -> list[NewEvent]:
    return [NewEvent(f"workflow-run:{run}", fact) for fact in told]


def started(run: str, workflow: str = "deploy", **more: object) -> NewEvent:
    return of(run, e.WorkflowRunStarted(run, workflow, 1, "{}", **more))[0]  # type: ignore[arg-type]


def ids(views: Views, which: str = "all") -> list[str]:
    return [row.id for row in views.workflow_runs(which).rows]


def test_every_fact_of_workflows_is_folded_by_exactly_one_view() -> None:
    folds = {fact: [view.NAME for view in FOLDED if fact in view.folds({})] for fact in OF_WORKFLOWS}
    assert len(folds) >= 19
    assert {fact.__name__: names for fact, names in folds.items() if len(names) != 1} == {}
    assert {fact for fact, names in folds.items() if names == ["workflow_runs"]} == set(workflow_runs.FACTS)


def test_random_histories_have_every_fact_that_a_view_is_made_of() -> None:
    """Of what is sealed `test_bounds.py` tells; `grow` appends the ends of restores."""
    world = World(Random(1))
    drawn = {type(world.event().fact) for _ in range(5000)} | {e.RestoreDone, e.LogSealed}
    folded = {fact for view in FOLDED for fact in view.folds({})}
    assert {fact.__name__ for fact in folded - drawn} == set()


def test_versions_of_a_workflow_stay_and_the_newest_is_the_last(store: Store) -> None:
    commit(store, stores("deploy", 1, title="First"), stores("deploy", 2, title="Second"), stores("other", 1))
    found = Views(store).workflow("deploy").row
    assert found is not None
    assert [(one.version, one.position, one.title) for one in found.versions] == [(1, 1, "First"), (2, 2, "Second")]
    assert (found.newest.version, found.seq, found.newest.actor) == (2, 2, "cli:test")
    first = found.numbered(1)
    assert first is not None and first.digest == f"{1:064}"
    assert found.numbered(3) is None


def test_a_deleted_workflow_leaves_the_lists_and_comes_back_with_its_versions(store: Store) -> None:
    commit(store, stores("deploy", 1, schedules=1), stores("other", 1))
    commit(store, NewEvent("workflow:deploy", e.WorkflowDeleted("deploy")))
    views = Views(store)
    assert [row.id for row in views.workflows().rows] == ["other"]
    kept = views.workflow("deploy").row
    assert kept is not None and kept.deleted
    commit(store, stores("deploy", 2))
    back = views.workflow("deploy").row
    assert back is not None and not back.deleted
    assert [one.version for one in back.versions] == [1, 2]
    assert [row.id for row in views.workflows().rows] == ["deploy", "other"]


@pytest.mark.parametrize("fact", [e.WorkflowDeleted("x"), e.WorkflowSwitched("x", enabled=False)])
def test_nothing_is_made_of_what_happens_to_an_unknown_workflow(store: Store, fact: AnyFact) -> None:
    commit(store, NewEvent("workflow:x", fact))
    assert Views(store).workflow("x").row is None
    assert Views(store).workflows().rows == []


def test_schedules_that_are_on_are_found_apart(store: Store) -> None:
    commit(store, stores("deploy", 1, schedules=2), stores("plain", 1))
    rows = fresh(everything(store)).rows_of("workflows")
    assert {name for name, row in rows.items() if "scheduled" in workflows.indexes(row)} == {"deploy"}
    commit(store, NewEvent("workflow:deploy", e.WorkflowSwitched("deploy", enabled=False)))
    rows = fresh(everything(store)).rows_of("workflows")
    assert not any("scheduled" in workflows.indexes(row) for row in rows.values())
    commit(store, NewEvent("workflow:deploy", e.WorkflowSwitched("deploy", enabled=True)), stores("deploy", 2))
    assert not any("scheduled" in workflows.indexes(row) for row in fresh(everything(store)).rows["workflows"].values())


def test_runs_are_listed_by_status_and_workflow_and_children_only_with_their_parent(store: Store) -> None:
    views = Views(store)
    commit(store, started("w1"), started("w2", "review"), started("w3", group="main"), started("c1", parent="w1"))
    assert ids(views) == ["w3", "w2", "w1"]
    assert ids(views, "open") == ["c1", "w3", "w2", "w1"]
    assert (ids(views, "status:queued"), ids(views, "status:running")) == (["w3"], ["w2", "w1"])
    assert ids(views, "workflow:deploy") == ids(views, "open:workflow:deploy") == ["w3", "w1"]
    assert ids(views, "status:running:workflow:deploy") == ["w1"]
    assert ids(views, "child-of:w1") == ["c1"]
    ended = [of(run, e.WorkflowRunFinished(run, "completed", "ok"))[0] for run in ("c1", "w1")]
    commit(store, *ended)
    assert (ids(views, "open"), ids(views, "child-of:w1")) == (["w3", "w2"], ["c1"])
    assert (ids(views, "status:completed"), ids(views, "open:workflow:deploy")) == (["w1"], ["w3"])
    assert [row.id for row in views.workflow_runs(limit=1, before=3).rows] == ["w2"]


LIVES: dict[str, tuple[list[AnyFact], tuple[str, str, str, str]]] = {
    "admitted": ([e.WorkflowRunAdmitted("w")], ("running", "", "", "")),
    "paused in its group": ([e.WorkflowRunPaused("w")], ("queued", "asked", "", "")),
    "paused": ([e.WorkflowRunAdmitted("w"), e.WorkflowRunPaused("w", "budget")], ("paused", "budget", "", "")),
    "resumed": (
        [e.WorkflowRunAdmitted("w"), e.WorkflowRunPaused("w"), e.WorkflowRunResumed("w")],
        ("running", "", "", ""),
    ),
    "ending while paused": (
        [
            e.WorkflowRunAdmitted("w"),
            e.WorkflowRunPaused("w"),
            e.WorkflowRunEnding("w", "failed", "step a failed", "a"),
        ],
        ("running", "", "failed", "step a failed"),
    ),
    "paused when it ends already": (
        [e.WorkflowRunAdmitted("w"), e.WorkflowRunEnding("w", "cancelled", "stopped"), e.WorkflowRunPaused("w")],
        ("running", "", "cancelled", "stopped"),
    ),
    "failed for what it ended for": (
        [e.WorkflowRunAdmitted("w"), e.WorkflowRunEnding("w", "failed", "why"), e.WorkflowRunFinished("w", "failed")],
        ("failed", "", "failed", "why"),
    ),
    "ended by a restore": (
        [e.WorkflowRunFinished("w", "cancelled", "restored", "restored")],
        ("cancelled", "", "", "restored"),
    ),
}


@pytest.mark.parametrize("life", LIVES)
def test_the_header_tells_where_a_run_stands(store: Store, life: str) -> None:
    told, expected = LIVES[life]
    commit(store, started("w", group="main"), *of("w", *told))
    row = Views(store).workflow_run("w").row
    assert row is not None
    assert (row.status, row.paused, row.ends_as, row.why) == expected
    assert row.open == (row.status in ("queued", "running", "paused"))
    assert bool(row.ended_at) is not row.open
    assert (row.position, row.seq) == (1, 1 + len(told))


def test_the_header_counts_attempts_and_what_they_used_and_holds_workspaces_up_to_the_end(store: Store) -> None:
    def header() -> tuple[int, int, int, float, dict[str, tuple[str, str]]]:
        row = Views(store).workflow_run("w").row
        assert row is not None
        return row.begun, row.ended, row.tokens, row.cost, row.held

    wanted = [e.WorkspaceArchiveWanted("w", name, "north", f"/w/{name}") for name in ("a", "b")]
    commit(store, started("w"), *of("w", *wanted, e.StepStarted("w", "a", 1), e.StepStarted("w", "b", 1)))
    held = {"a": ("north", "/w/a"), "b": ("north", "/w/b")}
    assert header() == (2, 0, 0, 0.0, held)
    retried = e.StepEnded("w", "a", "failed", "exit", next="retry", tokens=5, cost=0.5)
    commit(store, *of("w", retried, e.StepEnded("w", "b", "completed", "ok", tokens=2)))
    assert header() == (2, 2, 7, 0.5, {"a": ("north", "/w/a")})
    commit(store, *of("w", e.WorkflowRunFinished("w", "cancelled")))
    assert header()[4] == {}


@pytest.fixture
def every_fact() -> Iterator[list[NewEvent]]:
    """One of each fact of a run, in some order."""
    world = World(Random(2))
    found: dict[type[AnyFact], NewEvent] = {}
    while len(found) < len(workflow_runs.FACTS):
        new = world.workflow_run()
        found.setdefault(type(new.fact), NewEvent("workflow-run:w", _of_run(new.fact, "w")))
    yield list(found.values())


def _of_run(fact: AnyFact, run: str) -> AnyFact:
    return msgspec.structs.replace(fact, run=run)  # type: ignore[call-arg]


def test_each_fact_of_a_run_moves_its_version_so_that_the_log_takes_the_next(
    store: Store, every_fact: list[NewEvent]
) -> None:
    commit(store, started("w"))
    for new in every_fact:
        row = Views(store).workflow_run("w").row
        assert row is not None
        commit(store, NewEvent(new.subject, new.fact, row.seq))


def test_a_restore_brings_back_the_rows_of_then(store: Store) -> None:
    commit(store, stores("deploy", 1), started("w", group="main"), *of("w", e.WorkflowRunAdmitted("w")))
    then = fresh(everything(store))
    later = [stores("deploy", 2), *of("w", e.StepStarted("w", "a", 1), e.WorkflowRunFinished("w", "completed", "ok"))]
    commit(store, *later, started("w2"))
    restore(store, 3)
    views = Views(store)
    for view in ("workflows", "workflow_runs"):
        assert fresh(everything(store)).digest(view) == then.digest(view)
    assert (ids(views), ids(views, "open")) == (["w"], ["w"])
    Projector(store).catch_up()
    assert stored(store, str(store.views.current())) == fresh(everything(store)).digests()
