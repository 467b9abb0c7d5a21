"""Reading: typed pages from indexes, each with the checkpoint that it is of."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.ids import run_id
from maestro.model.task import Task
from maestro.store.contract import Page, PageQuery, Store
from projections.view_reader import Views
from tests.projections.histories import KEYS, commit, everything, fresh, grow, restore


def dispatch(store: Store, task: str, *targets: str, priority: int | None = None) -> None:
    commit(store, NewEvent(f"task:{task}", e.TaskDispatched(task, "p", task, targets, priority=priority)))


def start(store: Store, task: str, agent: str, slot: int = 0) -> str:
    run = run_id(task, slot, 1)
    released = e.RunReleased(run, task, slot, 1, agent, "n", 60.0, 1)
    commit(
        store, NewEvent(f"run:{run}", released), NewEvent(f"run:{run}", e.RunStarted(run, task, agent, "n", "/f", "/w"))
    )
    return run


def finish(store: Store, task: str, agent: str, status: str = "completed", outcome: str = "ok") -> None:
    run = start(store, task, agent)
    ended = NewEvent(f"run:{run}", e.RunEnded(run, task, agent, outcome, 0))
    commit(store, ended, NewEvent(f"task:{task}", e.TaskFinished(task, status, outcome, 0)))


def ids(rows: list[Any]) -> list[str]:
    return [row.id for row in rows]


@pytest.fixture
def views(store: Store) -> Views:
    """Five tasks: two finished, one running, two waiting, one of these for a pool."""
    for agent in ("a", "b"):
        commit(store, NewEvent(f"agent:{agent}", e.AgentAssigned(agent, "shell", {}, "/w")))
    dispatch(store, "t1", "a")
    dispatch(store, "t2", "a", "b")
    finish(store, "t2", "b", "failed", "exit")
    finish(store, "t1", "a")
    dispatch(store, "t3", "role:dev", priority=5)
    dispatch(store, "t4", "b")
    dispatch(store, "t5", "b", priority=1)
    start(store, "t4", "b")
    return Views(store)


def test_tasks_are_listed_newest_first_and_filtered_by_agent_and_status(views: Views) -> None:
    assert ids(views.tasks().rows) == ["t5", "t4", "t3", "t2", "t1"]
    assert ids(views.tasks(newest=False).rows) == ["t1", "t2", "t3", "t4", "t5"]
    assert ids(views.tasks(agent="a").rows) == ["t2", "t1"]
    assert ids(views.tasks(status="completed").rows) == ["t1"]
    assert ids(views.tasks(agent="b", status="failed").rows) == ["t2"]
    assert ids(views.tasks(agent="b", status="running").rows) == ["t4"]
    assert ids(views.tasks(agent="role:dev").rows) == ["t3"]
    assert ids(views.tasks(agent="nobody").rows) == []


def test_a_page_goes_on_before_the_position_of_the_last_row(views: Views) -> None:
    first = views.tasks(limit=2)
    assert (ids(first.rows), first.total) == (["t5", "t4"], 5)
    second = views.tasks(limit=2, before=first.rows[-1].position)
    assert ids(second.rows) == ["t3", "t2"]
    assert ids(views.tasks(since=second.rows[-1].position).rows) == ["t5", "t4", "t3", "t2"]


def test_the_last_task_is_the_one_dispatched_last(views: Views) -> None:
    last = views.last_task().row
    assert last is not None
    assert last.id == "t5"
    of_a = views.last_task("a").row
    assert of_a is not None
    assert of_a.id == "t2"
    assert views.last_task("nobody").row is None


def test_the_queue_is_in_the_order_in_which_it_is_served(views: Views) -> None:
    assert ids(views.queue("open").rows) == ["t5", "t4", "t3"]
    assert ids(views.queue("waiting").rows) == ["t5", "t3"]
    assert ids(views.queue("processing").rows) == ["t4"]
    assert ids(views.queue("processing", "b").rows) == ["t4"]
    assert ids(views.queue("waiting", "b").rows) == ["t5"]
    assert ids(views.queue("open", "b").rows) == ["t5", "t4"]
    assert ids(views.queue("completed").rows) == ["t1", "t2"], "the one that ended last comes first"
    assert ids(views.queue("completed", "b").rows) == ["t2"]
    assert ids(views.open_tasks().rows) == ["t5", "t4", "t3"]


def test_agents_are_listed_by_state_and_types_apart(views: Views, store: Store) -> None:
    commit(store, NewEvent("type:shell", e.AgentRegistered("shell", {})))
    assert ids(views.agents().rows) == ["a", "b"]
    assert ids(views.agents("active").rows) == ["b"]
    assert ids(views.agents("idle").rows) == ["a"]
    assert [row.slug for row in views.types().rows] == ["shell"]
    assert views.type("shell").row is not None
    assert views.agent("shell").row is None


def test_snapshots_are_listed_newest_first_by_what_became_of_them_and_a_restore_leaves_them(store: Store) -> None:
    views = Views(store)
    for name in ("one", "two", "three"):
        commit(store, NewEvent(f"snapshot:{name}", e.SnapshotStarted(name, "asked")))
    commit(store, NewEvent("snapshot:one", e.SnapshotTaken("one", 1)))
    commit(store, NewEvent("snapshot:two", e.SnapshotTaken("two", 2)))
    commit(store, NewEvent("snapshot:two", e.SnapshotExpired("two")))
    restore(store, 0)
    assert ids(views.snapshots("all").rows) == ["three", "two", "one"]
    assert ids(views.snapshots().rows) == ["one"]
    assert ids(views.snapshots("taking").rows) == ["three"]
    assert ids(views.snapshots("all", limit=1, upto=2).rows) == ["two"]
    assert views.snapshot("two").row == views.snapshots("all", upto=2).rows[0]
    assert views.snapshot("four").row is None


def test_a_snapshot_over_several_nodes_is_found_until_it_is_over_with_how_far_each_part_is(store: Store) -> None:
    views = Views(store)
    parts = (e.PartWanted("north", ("a",), whole=True), e.PartWanted("south", ("b",)))
    commit(store, NewEvent("snapshot:s", e.SnapshotAsked("s", "asked", "north", parts, allow_torn=True)))
    assert [(row.state, row.nodes) for row in views.snapshots("open").rows] == [("asked", ("north", "south"))]
    held = (e.SnapshotWorkspace("a", "/w/a", "workspaces/a", 4),)
    for fact in (
        *(e.SnapshotOpened("s", 9), e.SnapshotPartReady("s", "north", "i"), e.SnapshotPartReady("s", "south", "j")),
        *(
            e.SnapshotStarted("s", "asked", False, ("a", "b"), "north"),
            e.SnapshotPartTaken("s", "north", "ab", held, 7),
        ),
    ):
        commit(store, NewEvent("snapshot:s", fact))
    (row,) = views.snapshots("open").rows
    assert row == views.snapshots("taking").rows[0] and row.across is not None and row.position == 5
    assert [(part.state, part.incarnation, part.whole) for part in row.across.parts.values()] == [
        ("taken", "i", True),
        ("ready", "j", False),
    ]
    assert row.across.parts["north"].taken is not None and row.across.parts["north"].taken.workspaces == held
    of_nodes = (e.SnapshotPart("north", "ab", 7), e.SnapshotPart("south", "cd", 8))
    commit(store, NewEvent("snapshot:s", e.SnapshotTaken("s", 5, workspaces=held, parts=of_nodes)))
    (row,) = views.snapshots().rows
    assert not views.snapshots("open").rows and row.across is None
    assert [row.manifest_on(node) for node in ("north", "south", "west")] == ["ab", "cd", ""]
    assert row.lies_on("south") and not row.lies_on("west")


def test_an_answer_names_the_checkpoint_that_it_is_true_of(views: Views, store: Store) -> None:
    head = store.log.head()
    for checkpoint in (views.task("t1").checkpoint, views.tasks().checkpoint, views.queue().checkpoint):
        assert (checkpoint.seq, checkpoint.chain, checkpoint.at) == (head.seq, head.chain, head.at)


def test_a_key_that_has_outlived_its_time_is_hidden(store: Store) -> None:
    committed = commit(
        store, NewEvent("state:brief", e.StateSet("brief", "1", 1000)), NewEvent("state:long", e.StateSet("long", "1"))
    )
    views = Views(store)
    assert views.state("brief", committed.at + 999).row is not None
    assert views.state("brief", committed.at + 1000).row is None
    assert [row.key for row in views.state_list("", committed.at + 1000).rows] == ["long"]


def test_keys_are_listed_by_prefix_byte_by_byte(store: Store) -> None:
    for key in (*KEYS, "task:t1", "task:t10:result", "portal", "pörtal", "\U0001f600", "%", "(x", "[x"):
        commit(store, NewEvent(f"state:{key}", e.StateSet(key, "1")))
    views = Views(store)
    everything_there = [row.key for row in views.state_list("", 0).rows]
    assert everything_there == sorted(everything_there, key=str.encode)
    for prefix in ("task:", "task:t1", "port", "p", "ключ", "\U0001f600", "(", "[", "%", "zz"):
        listed = views.state_list(prefix, 0)
        wanted = [key for key in everything_there if key.startswith(prefix)]
        assert [row.key for row in listed.rows] == wanted
        assert listed.total == len(wanted)
    assert [row.key for row in views.state_list("task:", 0, limit=2).rows] == ["task:t1", "task:t10:result"]


def test_every_filter_finds_what_a_look_at_all_rows_finds(store: Store) -> None:
    for _ in grow(store, Random(23), 120, restores=True):
        pass
    views = Views(store)
    rows: list[Task] = sorted(fresh(everything(store)).rows["tasks"].values(), key=lambda row: -row.position)
    agents = {"reviewer", "tester", "builder", "role:dev"}
    for agent in (None, *agents):
        for status in (None, "queued", "running", "completed", "failed", "skipped"):
            wanted = [
                row.id for row in rows if status in (None, row.status) and (agent is None or concerns(row, agent))
            ]
            assert ids(views.tasks(agent, status).rows) == wanted
        open_rows = [row for row in rows if row.open and (agent is None or concerns(row, agent))]
        assert sorted(ids(views.queue("open", agent).rows)) == sorted(row.id for row in open_rows)
        ended = sorted((row for row in rows if not row.open and (agent is None or concerns(row, agent))), key=ended_at)
        assert ids(views.queue("completed", agent).rows) == [row.id for row in reversed(ended)]


def concerns(row: Task, agent: str) -> bool:
    return any(agent == slot.target or agent in {run.agent for run in slot.runs} for slot in row.slots)


def ended_at(row: Task) -> int:
    return row.version


def test_a_page_of_a_generation_that_just_went_is_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(store, NewEvent("state:a", e.StateSet("a", "1")))
    views = Views(store)
    page, gone = store.views.page, []

    def after_a_rebuild(generation: str, query: PageQuery) -> Page:
        if not gone:
            gone.append(generation)
            Views(store).projector.rebuild()
            for name in gone:
                store.views.drop(name)
        return page(generation, query)

    monkeypatch.setattr(store.views, "page", after_a_rebuild)
    found = views.state_list("", 0)
    assert ([row.key for row in found.rows], found.checkpoint.seq) == (["a"], 1)
    assert store.views.current() not in gone
