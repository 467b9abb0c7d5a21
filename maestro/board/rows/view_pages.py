"""Pages of the views' indexes at a position, from a timeline: what `ViewStore.page` gives, as rows.

Views that may be large are read in the order of their pages, and no further than is asked for; the others are small.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, Final, NamedTuple

import trio

from maestro.model.task import Task
from maestro.model.workflow.run_header import OPEN
from maestro.store.contract import PageQuery
from projections import agents, queue, restores, snapshots, state, tasks, workflow_runs
from projections.fold import VIEWS
from projections.monitoring import alerts
from replayers.timeline.past_views import Cursor, Past, Wanted
from replayers.timeline.row_versions import Version

OPEN_PARTS: Final = {
    snapshots.NAME: ("complete", "taking", "open"),
    restores.NAME: ("open",),
    alerts.NAME: ("open", "name:"),
}
"""Of bounded views, the indexes whose rows have not ended."""
COUNTED_MAX: Final = 2_000
"""So many rows of workflow runs are read to count those of an index."""
WAYPOINTS_MAX: Final = 3


ANY: Final = "any:"
"""What the indexes of tasks begin with that have those of workflows' steps too; no view has them."""


class Rows(NamedTuple):
    """Rows of a page. total: how many the index holds, None where that was not counted; further: there are more."""

    rows: list[Any]
    total: int | None
    further: bool


class Search(NamedTuple):
    """A search for tasks. likely: which may be meant, by their JSON; fits: which are."""

    fits: Callable[[Task], bool]
    likely: Callable[[bytes], bool] | None = None


class Waypoint:
    """What is known of a waypoint: the agents; the queue in its order, and those of it that were decoded."""

    def __init__(self, past: Past) -> None:
        decode = VIEWS[agents.NAME].decode
        self.agents = {row.id: decode(row.id, row.data) for row in past.before(agents.NAME)}
        self.queue = sorted(past.before(queue.NAME), key=_place)
        self.maybe_busy = [row for row in self.queue if b'"released"' in row.data or b'"running"' in row.data]
        """Those that may have a run, released or on."""
        self._tasks: dict[str, Task] = {}

    def task(self, row: Version) -> Task:
        """A row of the queue, decoded."""
        found = self._tasks.get(row.id)
        if found is None:
            found = self._tasks[row.id] = tasks.decode(row.id, row.data)
        return found


class Waypoints:
    """What was read of the last waypoints: whoever goes from position to position asks for the same again and again.

    Thread-safe. Rows at a waypoint follow from the log alone, so that they never change.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[int, Waypoint] = OrderedDict()
        self._lock = Lock()

    def of(self, past: Past) -> Waypoint:
        """What is known of the waypoint of a position; nothing is kept of one that the timeline does not reach."""
        if not past.waypoint:
            return Waypoint(past)
        with self._lock:
            found = self._held.get(past.waypoint)
            if found is None:
                found = self._held[past.waypoint] = Waypoint(past)
                while len(self._held) > WAYPOINTS_MAX:
                    self._held.popitem(last=False)
            self._held.move_to_end(past.waypoint)
            return found


class ViewPages:
    """The pages of all views at one position. Rows must not be changed."""

    def __init__(self, past: Past, waypoints: Waypoints) -> None:
        self._past = past
        self._waypoints = waypoints
        self._small: dict[tuple[str, bool], list[Any]] = {}
        self._queue: list[Version | Task] | None = None

    def page(self, query: PageQuery, search: Search | None = None) -> Rows:
        """A page. search: for tasks only."""
        match query.view:
            case tasks.NAME if not query.index.startswith(tasks.ENDED):
                return self._tasks(query, search)
            case queue.NAME:
                return self._of_queue(query)
            case workflow_runs.NAME if query.index not in ("asking", workflow_runs.ENDED):
                return self._runs(query)
            case state.NAME if query.index == "name":
                return self._named(query)
        return self._sorted(query)

    # ---- large views ----

    def _tasks(self, query: PageQuery, search: Search | None) -> Rows:
        """Tasks by their dispatch. Those of an agent are looked for among all; how many there are, nobody counts."""
        index, _, agent = query.index.partition("agent:")
        of = next((of for of in (tasks.OF_STEPS, ANY) if index.startswith(of)), "")
        status = index.removeprefix(of).removeprefix("status:").removesuffix(":").removesuffix("all")
        counts = self._past.counts(tasks.NAME)
        begins = ("", tasks.OF_STEPS) if of == ANY else (of,)
        parts = [part for part in counts for begin in begins if _is_of(part, f"{begin}status:", status)]
        if not parts:
            return Rows([], 0, False)
        before = None if query.max_score is None else Cursor(query.max_score + 1, "")
        if not agent and search is None:
            found = self._past.chosen(tasks.NAME, Wanted(None, parts, query.offset), limit=query.limit, before=before)
            rows = [row for _, row in found.rows if query.min_score is None or row.position >= query.min_score]
            total = sum(counts[part] for part in parts) if query.min_score is None else None
            return Rows(rows, total, found.further is not None and len(rows) == len(found.rows))
        rows = list(
            self._searched(parts, agent, search, (before, query.min_score or 0, query.offset + query.limit + 1))
        )
        total = None if len(rows) > query.offset + query.limit else len(rows)
        return Rows(rows[query.offset : query.offset + query.limit], total, total is None)

    def _searched(
        self, parts: list[str], agent: str, search: Search | None, bounds: tuple[Cursor | None, int, int]
    ) -> Iterator[Task]:
        """The tasks of an agent, "" for any, that are searched for. bounds: the begin, the last position, how many."""
        before, last, count = bounds
        named = agent.encode()

        def fits(row: Task) -> bool:
            return (not agent or agent in tasks.agents(row)) and (search is None or search.fits(row))

        def likely(data: bytes) -> bool:
            return named in data and (search is None or search.likely is None or search.likely(data))

        while count > 0:
            found = self._past.chosen(tasks.NAME, Wanted(fits, parts, 0, likely), limit=count, before=before)
            count -= len(found.rows)
            yield from (row for _, row in found.rows if row.position >= last)
            before = found.further
            if before is None or before.score < last:
                return
            with suppress(RuntimeError):  # this is no thread of trio's
                trio.from_thread.check_cancelled()  # who types on asks for something else by now

    def _runs(self, query: PageQuery) -> Rows:
        index = query.index
        counts = self._past.counts(workflow_runs.NAME)
        status = index.split(":")[1] if index.startswith("status:") else ""
        named = OPEN if index == "open" or index.startswith("open:") else (status,) if status else ()
        parts = [part for part in counts if not named or part.removeprefix("status:") in named]
        if not parts:
            return Rows([], 0, False)

        def wanted(row: Any) -> bool:
            return index in workflow_runs.indexes(row)

        before = None if query.max_score is None or not query.newest else Cursor(query.max_score + 1, "")
        oldest = None if query.newest else Cursor(-1, "")
        limit = max(query.limit, COUNTED_MAX) if sum(counts[part] for part in parts) <= COUNTED_MAX else query.limit
        page = self._past.page(workflow_runs.NAME, before=before, after=oldest, limit=limit, where=wanted, parts=parts)
        rows = [row for _, row in page.rows]
        total = None if page.further or before is not None else len(rows)
        return Rows(rows[: query.limit], total, page.further is not None or len(rows) > query.limit)

    def _named(self, query: PageQuery) -> Rows:
        found = self._past.named(state.NAME, query.prefix, query.limit, query.offset)
        total = self._past.count(state.NAME) if not query.prefix else None
        return Rows([row for _, row in found.rows], total, found.further is not None)

    # ---- the queue ----

    def _of_queue(self, query: PageQuery) -> Rows:
        """The open tasks in the order of service. Only those are read that may be on the page."""
        part, _, agent = query.index.partition("agent:")
        part = part.removesuffix(":")
        end = query.offset + query.limit
        if part == "processing":
            rows = [row for row in self._processing() if not agent or agent in tasks.agents(row)]
            return Rows(rows[query.offset : end], len(rows), len(rows) > end)
        if agent:
            named = agent.encode()
            read = [self._task(row) for row in self._waiting() if isinstance(row, Task) or named in row.data]
            rows = [row for row in read if query.index in queue.indexes(row)]
            return Rows(rows[query.offset : end], len(rows), len(rows) > end)
        left = self._waiting()
        if part == "waiting":
            busy = {row.id for row in self._processing()}
            left = [row for row in left if row.id not in busy]
        return Rows([self._task(row) for row in left[query.offset : end]], len(left), len(left) > end)

    def _processing(self) -> list[Task]:
        """Those of the queue that have a run, released or on."""
        base, changed = self._waypoints.of(self._past), self._past.changed(tasks.NAME)
        rows = [base.task(row) for row in base.maybe_busy if row.id not in changed]
        rows += [row for row in changed.values() if queue.holds(row)]
        return sorted((row for row in rows if "processing" in queue.indexes(row)), key=_place)

    def _waiting(self) -> list[Version | Task]:
        """All of the queue in its order: as it is at the waypoint, or what it has become since."""
        if self._queue is None:
            base, changed = self._waypoints.of(self._past), self._past.changed(tasks.NAME)
            self._queue = [row for row in base.queue if row.id not in changed] if changed else list(base.queue)
            self._queue += [row for row in changed.values() if queue.holds(row)]
            self._queue.sort(key=_place)
        return self._queue

    def _task(self, row: Version | Task) -> Task:
        return row if isinstance(row, Task) else self._waypoints.of(self._past).task(row)

    # ---- small views ----

    def _sorted(self, query: PageQuery) -> Rows:
        """A page of a view of which all rows are read."""
        names = OPEN_PARTS.get(query.view, ())
        is_open = any(query.index == name or (name[-1] == ":" and query.index.startswith(name)) for name in names)
        indexes = VIEWS[query.view].indexes
        scored = []
        for row_id, row in self._all(query.view, is_open):
            score = indexes(row).get(query.index)
            if score is None or not row_id.startswith(query.prefix):
                continue
            if (query.min_score or 0) <= score and (query.max_score is None or score <= query.max_score):
                scored.append(((score, row_id.encode("utf-8", "surrogatepass")), row))
        scored.sort(key=lambda each: each[0], reverse=query.newest)
        rows = [row for _, row in scored[query.offset : query.offset + query.limit]]
        return Rows(rows, len(scored), len(scored) > query.offset + query.limit)

    def _all(self, view: str, is_open: bool) -> list[Any]:
        """All rows of a view with their ids, or those that have not ended."""
        key = view, is_open
        if key not in self._small:
            if view == agents.NAME:
                rows = self._waypoints.of(self._past).agents | dict(self._past.changed(view))
                self._small[key] = [(row_id, row) for row_id, row in rows.items() if row is not None]
            elif is_open:
                self._small[key] = self._past.page(view, limit=2**31, parts=("open",)).rows
            else:
                self._small[key] = list(self._past.rows(view).items())
        return self._small[key]


def _is_of(part: str, begin: str, status: str) -> bool:
    """Whether tasks of a part are in a status, "" for any. begin: of the parts of such tasks."""
    return part == f"{begin}{status}" if status else part.startswith(begin)


def _place(row: Version | Task) -> tuple[int, str]:
    """The place of a row of the queue. Ids are in the order of their characters, which is that of their bytes."""
    return row.rank if isinstance(row, Version) else row.order_key(), row.id
