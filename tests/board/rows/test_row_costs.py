"""What a page of a list costs, and rows of the past that were no rows of the views any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro import config
from maestro.board.rows.lists import Asked
from maestro.board.rows.positions import Positions
from maestro.config import Settings
from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.runtime.handlers import queues
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections import queue, state, tasks
from projections.bounding import bounds
from projections.view_reader import Views
from replayers import ranges
from replayers.sealed import Segments
from replayers.timeline.timeline import Timeline
from tests.projections.histories import commit
from tests.replayers.test_past import finished
from tests.replayers.test_sealing import seal

MANY = 2_400
AT_ONCE = 400


@pytest.fixture(scope="module")
def many() -> Store:
    """As many finished tasks, queued tasks and keys."""
    store = MemoryStore("many")
    definition = {"slug": "shell", "mode": "x", "adapter": "shell", "bin": "/bin/sh", "argv": ["{bin}"]}
    commit(store, *(NewEvent(f"agent:a{n}", e.AgentAssigned(f"a{n}", "shell", definition, "/w")) for n in range(20)))
    for first in range(0, MANY, AT_ONCE):
        names = [f"{n:05d}" for n in range(first, first + AT_ONCE)]
        old = [e.TaskDispatched(f"F{name}", "p", f"title {name}", (f"a{int(name) % 20}",)) for name in names]
        commit(store, *(NewEvent(f"task:{fact.task}", fact) for fact in old))
        commit(store, *(NewEvent(f"task:{fact.task}", e.TaskFinished(fact.task, "completed", "ok", 0)) for fact in old))
        new = [e.TaskDispatched(f"Q{name}", "p", f"title {name}", (f"a{int(name) % 20}",)) for name in names]
        commit(store, *(NewEvent(f"task:{fact.task}", fact) for fact in new))
        commit(store, *(NewEvent(f"state:k{name}", e.StateSet(f"k{name}", "v")) for name in names))
    return store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return config.load({"MAESTRO_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/bin"}, tmp_path)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The ids of the rows that are decoded."""
    found: list[str] = []
    for view in (tasks, queue, state):
        original = view.decode

        def counting(row_id: str, data: bytes, original: object = original) -> object:
            found.append(row_id)
            return original(row_id, data)  # type: ignore[operator]

        monkeypatch.setattr(view, "decode", counting)
    yield found


def test_a_page_costs_what_it_shows(
    many: Store, tmp_path: Path, settings: Settings, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "SORTED_MIN", 100)
    timeline, positions = Timeline.open(many, tmp_path), Positions(settings, "here", many)
    timeline.catch_up()
    for position in (many.log.head().seq - 10, many.log.head().seq // 2):
        past = timeline.at(position)
        for asked, most in (
            (Asked("tasks", limit=50), 51),
            (Asked("tasks", (("status", "completed"),), 50), 51),
            (Asked("tasks", (("status", "queued"),), 50, 500), 51),
            (Asked("tasks", (("agent", "a7"),), 50), 200),
            (Asked("tasks", (("q", "TITLE 00007"),), 50), 20),
            (Asked("queue", limit=50), 101),
            (Asked("state", (("prefix", "k"),), 50), 52),
        ):
            decoded.clear()
            part = positions.listed(past, asked)
            assert part.rows and len(decoded) <= most, (position, asked, len(decoded))
            if not asked.filters:
                count = {"tasks": past.count("tasks"), "queue": past.count("queue")}
                assert part.total == count[asked.name], (position, asked)
            decoded.clear()
            assert positions.listed(past, asked) == part and not decoded


@pytest.mark.parametrize("name", ("tasks", "queue", "state"))
def test_pages_follow_each_other_without_a_gap(many: Store, tmp_path: Path, settings: Settings, name: str) -> None:
    timeline, positions = Timeline.open(many, tmp_path), Positions(settings, "here", many)
    past = timeline.at(many.log.head().seq // 3)
    key = {"tasks": "id", "queue": "task", "state": "key"}[name]
    whole = [row[key] for row in positions.listed(past, Asked(name, (), 100_000)).rows]
    assert len(whole) == len(set(whole)) >= AT_ONCE
    found: list[str] = []
    while True:
        part = positions.listed(past, Asked(name, (), 300, len(found)))
        found += [row[key] for row in part.rows]
        assert part.total in (None, len(whole))
        if not part.more:
            break
    assert found == whole
    assert not positions.listed(past, Asked(name, (), 300, 90_000)).rows


def test_what_was_no_row_any_more_is_told_from_sealed_history(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "EVERY", 20)
    monkeypatch.setattr("maestro.model.settings.namespace_setting.DEFAULTS", {"views.keep": 5})
    monkeypatch.setattr(ranges, "LARGE", 40)
    monkeypatch.setattr(ranges, "SMALL", 10)
    store, sealed = MemoryStore("sealed"), Segments(tmp_path / "segments", "sealed")
    store.attach(sealed)
    ends: list[int] = []
    for number in range(60):
        finished(store, f"T{number:03d}")
        ends.append(store.log.head().seq)
        if number % 20 == 19:
            Views(store).checkpoint()
            assert seal(store, sealed, 60)
    positions, timeline = Positions(settings, "here", store), Timeline.open(store, tmp_path)
    assert positions.context(timeline.at(store.log.head().seq)).views.task("T000").sealed
    for last in (30, 45):
        views = positions.context(timeline.at(ends[last])).views
        assert views.past.row("tasks", "T000") is None
        assert views.past.row("tasks", f"T{last:03d}") is not None
        found = [row.id for row in views.tasks_named([f"T{number:03d}" for number in range(60)]).rows]
        assert found == [f"T{number:03d}" for number in range(last + 1)]
        assert views.beginning("tasks", "T0", 100).rows == found
