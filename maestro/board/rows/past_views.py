"""The views at a position of the log, with the queries that commands make of the views of now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from maestro.board.rows.past_store import PastStore
from maestro.board.rows.view_pages import ANY, Rows, Search, ViewPages, Waypoints
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.store.contract import Checkpoint, PageQuery, Store
from projections import state, tasks
from projections.bounding.past import Past as SealedRows
from projections.view_reader import ALL, Found, Listed, Views


class Window(NamedTuple):
    """The part of a list that is asked for. start: so many are passed over first; limit: so many, and one more.

    search, steps: of tasks, which are wanted, and whether those of workflows' steps are too.
    """

    start: int = 0
    limit: int = ALL
    search: Search | None = None
    steps: bool = False


class PastViews(Views):
    """The views at a position. Nothing is caught up, or repaired: the log says what they were.

    window: what `tasks` and `state_list` give. uncounted: views and indexes whose totals are only what a page tells of.
    """

    def __init__(self, store: PastStore, waypoints: Waypoints) -> None:
        self.past = store.past
        self.pages = ViewPages(store.past, waypoints)
        self.window = Window()
        self.uncounted: set[tuple[str, str]] = set()
        self._as_of = Checkpoint(store.past.position, "", store.past.at, store.floor)
        self._views = store.views
        self._past = SealedRows(cast(Store, store))

    def checkpoint(self) -> Checkpoint:
        """The position."""
        return self._as_of

    def tasks(
        self,
        agent: str | None = None,
        status: str | None = None,
        since: int = 0,
        before: int | None = None,
        limit: int = 100,
        newest: bool = True,
    ) -> Listed[Task]:
        """See `Views`, of the window."""
        index = ":".join(f"{kind}:{name}" for kind, name in (("status", status), ("agent", agent)) if name) or "all"
        index = f"{ANY}{index}" if self.window.steps else index
        last = None if before is None else before - 1
        query = PageQuery(tasks.NAME, index, self.window.start, limit, newest, since or None, last)
        return self._listed(query, self.pages.page(query, self.window.search))

    def step_tasks(
        self, agent: str | None = None, status: str | None = None, since: int = 0, limit: int = 100
    ) -> Listed[Task]:
        """See `Views`; none where `tasks` has them already."""
        return Listed([], self._as_of, 0) if self.window.steps else super().step_tasks(agent, status, since, limit)

    def state_list(self, prefix: str, now: int, limit: int = ALL) -> Listed[StateKey]:
        """See `Views`, of the window."""
        limit = min(limit, self.window.limit + 1)
        found = self.past.named(state.NAME, prefix, limit, self.window.start, lambda row: not row.expired(now))
        rows = [row for _, row in found.rows]
        return Listed(rows, self._as_of, len(rows) + (found.further is not None))

    def _list(self, view: str, query: PageQuery) -> Listed[Any]:  # noqa: ARG002 - the query has it
        return self._listed(query, self.pages.page(query))

    def _listed(self, query: PageQuery, found: Rows) -> Listed[Any]:
        if found.total is not None:
            return Listed(found.rows, self._as_of, found.total)
        self.uncounted.add((query.view, query.index))
        return Listed(found.rows, self._as_of, len(found.rows) + found.further)

    def _find(self, view: str, row_id: str) -> Found[Any]:
        row = self.past.row(view, row_id)
        if row is not None:
            return Found(row, self._as_of)
        sealed = self._past.rows("", self._as_of, view, [row_id]).get(row_id)
        return Found(sealed, self._as_of, sealed is not None)

    def _named(self, view: str, ids: Sequence[str]) -> Listed[Any]:
        found = [row for row in (self._find(view, row_id).row for row_id in ids) if row is not None]
        return Listed(found, self._as_of, len(found))

    def beginning(self, view: str, prefix: str, limit: int) -> Listed[str]:
        """See `Views`."""
        found = {row_id for row_id, _ in self.past.named(view, prefix, limit).rows}
        found |= set(self._past.beginning("", view, prefix, limit))
        rows = sorted(found)[:limit]
        return Listed(rows, self._as_of, len(rows))

    def _read(self, read: Callable[[str, Checkpoint], Any]) -> Any:
        return read("", self._as_of)
