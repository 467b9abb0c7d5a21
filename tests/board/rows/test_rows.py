"""The rows at a position are those that the commands would have printed when the log ended there."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec
import pytest

from maestro import config
from maestro.board.rows.lists import LISTS
from maestro.board.rows.past_context import Answer, PastContext, answered
from maestro.board.rows.positions import Positions
from maestro.config import Settings
from maestro.model import events as e
from maestro.model.errors import MaestroError, NotFound
from maestro.model.events import NewEvent, Text
from maestro.model.settings import namespace_setting
from maestro.model.workflow.definition import Workflow
from maestro.runtime.daemon.plain_server import driven
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node import run_reader
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store, WorkStore
from maestro.store.memory.memory_store import MemoryStore
from projections.bounding import bounds
from replayers.timeline import past_views
from replayers.timeline.timeline import Timeline
from tests.projections.histories import commit, grow, restore
from tests.projections.test_bounds import write

EVERYTHING = 100_000
STEPS = (
    {"id": "build", "run": "true", "again": {"from": "build", "until": "true", "max": 3}},
    {"id": "review", "needs": "build", "run": "true", "for_each": [1, 2]},
    {"id": "gate", "needs": "review", "approval": True},
)
"""What the runs of the histories have: these name their steps, but define none."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waypoints are near each other, and views lose rows."""
    monkeypatch.setattr(bounds, "EVERY", 7)
    monkeypatch.setattr(bounds, "MOST", 2)
    monkeypatch.setattr(namespace_setting, "LIMITS", {namespace_setting.KEEP: (0, 1000)})
    monkeypatch.setattr(namespace_setting, "DEFAULTS", {namespace_setting.KEEP: 4})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load({"MAESTRO_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/bin"}, tmp_path)


def histories() -> Iterator[Store]:
    store = MemoryStore("mixed")
    for _ in grow(store, Random(3), 150, restores=True):
        pass
    yield store
    store = MemoryStore("bounded")
    for _ in write(store, 4, 160):
        pass
    yield store


class Still:
    """Leases and samples of a store whose nodes are as they are recorded."""

    def __init__(self, context: ReadContext) -> None:
        self._context = context

    def samples(self, keys: Sequence[str]) -> list[None]:
        return [None] * len(keys)

    def lease_holder(self, lease: str, _ttl_ms: int = 0) -> str | None:
        node = self._context.views.node(lease.removeprefix("node:")).row
        return "it" if node is not None and node.status == "up" else None


class Reading(ReadContext):
    """As that of a command, but that texts which are gone are named."""

    async def content(self, value: Text) -> bytes:
        try:
            return await super().content(value)
        except NotFound as gone:
            return f"[maestro: {gone.what}]".encode()


def as_of(settings: Settings, store: Store, position: int) -> ReadContext:
    """A store that has the log up to a position and no more, and views that were made of that."""
    copy = MemoryStore(store.namespace)
    copy.log.load([store.log.entries(0, position)])
    context = Reading(settings, "here", cast(Store, copy))
    context.is_past = True
    copy.work = cast(Any, cast(WorkStore, Still(context)))
    event = copy.log.event(position)
    at = 0 if event is None else event.at
    copy.now = lambda: at  # type: ignore[method-assign]
    return context


def outcome(context: ReadContext, command: p.Command) -> Any:
    """All that a command answers, or how it fails, as JSON."""
    call = Answer(cast(PastContext, context))
    try:
        done = driven(cast(Coroutine[Any, Any, p.Done], HANDLERS[type(command)](cast(Any, call), command)))
    except MaestroError as error:
        return [type(error).__name__, error.what]
    except Exception as error:
        return type(error).__name__
    return msgspec.json.encode([call.rows, done.data])


def commands(random: Random) -> list[p.Command]:
    """What the board asks: every list, with filters, and single rows."""
    found = [known.command({}, EVERYTHING) for known in LISTS.values()]
    agent, status = random.choice(("tester", "builder", "nobody")), random.choice(("queued", "running", "completed"))
    task = f"t{random.randrange(6)}"
    return [
        *found,
        p.TaskList(agent=agent, limit=EVERYTHING),
        p.TaskList(status=status, limit=EVERYTHING),
        p.TaskList(agent=agent, status=status, limit=EVERYTHING),
        p.QueueStatus(which="waiting"),
        p.QueueStatus(which="processing"),
        p.QueueStatus(agent=agent),
        p.WorkflowRuns(open=True),
        p.WorkflowRuns(status=status),
        p.WorkflowRuns(workflow="deploy", status="completed"),
        p.AlertList(all=True, limit=EVERYTHING),
        p.StateSnapshots(all=True, limit=EVERYTHING),
        p.StateList(prefix="task:"),
        p.TaskStatus(id=task),
        p.TaskExplain(task),
        *(p.WorkflowStatus(id=f"w{number}", trace=True) for number in range(4)),
        p.StateGet("port"),
    ]


def test_every_list_at_many_positions_is_what_the_log_up_to_there_gives(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_views, "FEW", 3)
    workflow = msgspec.convert({"steps": STEPS}, Workflow)
    monkeypatch.setattr(run_reader, "definition_of", lambda _store, _definition: workflow)
    for number, store in enumerate(histories()):
        random, timeline = Random(number), Timeline.open(store, tmp_path)
        positions, head = Positions(settings, "here", store), store.log.head().seq
        for position in (0, *random.sample(range(1, head), 8), head - 1):
            context, wanted = positions.context(timeline.at(position)), as_of(settings, store, position)
            assert context.is_past
            for command in commands(random):
                assert outcome(context, command) == outcome(wanted, command), (position, command)


def test_a_run_is_told_as_it_was_before_a_restore_that_undid_it(tmp_path: Path, settings: Settings) -> None:
    store, subject = MemoryStore("undone"), "workflow-run:w"
    definition = msgspec.json.encode({"steps": STEPS}).decode()
    begun = commit(store, NewEvent(subject, e.WorkflowRunStarted("w", "deploy", 1, definition))).last
    commit(store, NewEvent(subject, e.StepReadied("w", "build", 1, "go")))
    before = commit(store, NewEvent(subject, e.StepStarted("w", "build", 1, task="t"))).last
    restore(store, begun)
    commit(store, NewEvent(subject, e.StepReadied("w", "build", 1, "skip")))
    positions, timeline = Positions(settings, "here", store), Timeline.open(store, tmp_path)
    for position, status in ((before, "running"), (before + 1, "waiting"), (before + 2, "skipped")):
        context = positions.context(timeline.at(position))
        rows = answered(context, p.WorkflowStatus(id="w"))[1].data["steps"]
        assert rows[0]["status"] == status
        assert outcome(context, p.WorkflowStatus(id="w")) == outcome(
            as_of(settings, store, position), p.WorkflowStatus(id="w")
        )
