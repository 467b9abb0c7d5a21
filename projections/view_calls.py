"""The calls that all queries of views make: catch up, read of one checkpoint, typed; a damaged view is mended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from maestro.model.errors import ViewDamaged
from maestro.store.contract import Checkpoint, Page, PageQuery, Store
from projections.bounding.past import Past
from projections.fold import VIEWS
from projections.projector import NEWER, Progress, Projector

ALL = 2**31 - 1
"""A limit that exceeds the length of any index."""

Row = TypeVar("Row")


class Listed(msgspec.Struct, Generic[Row], frozen=True):
    """Rows in order, their checkpoint (`stopped`: why they are stale), and how many the index holds in all."""

    rows: list[Row]
    checkpoint: Checkpoint
    total: int


class Found(msgspec.Struct, Generic[Row], frozen=True):
    """One row, or None where there is none, and the checkpoint at which this is true.

    sealed: it is no row of the view any more, but was folded from sealed history; nothing can be done to it.
    """

    row: Row | None
    checkpoint: Checkpoint
    sealed: bool = False


class ViewCalls:
    """Reads of the live generation of the views. Thread-safe. Raises StoreAway, and what Projector.catch_up raises."""

    def __init__(self, store: Store, progress: Progress | None = None) -> None:
        self.projector = Projector(store, progress)
        self._views = store.views
        self._past = Past(store)

    def checkpoint(self) -> Checkpoint:
        """Bring the views to the end of the log, and return their checkpoint."""
        return self.projector.catch_up()

    def _list(self, view: str, query: PageQuery) -> Listed[Any]:
        def read(generation: str, known: Checkpoint) -> Listed[Any]:
            page: Page = self._views.page(generation, query)
            decode = VIEWS[view].decode
            rows = [decode(row_id, data) for row_id, data in page.rows]
            if known.stopped != NEWER and not _in_order(query, [row_id for row_id, _ in page.rows], rows):
                raise ViewDamaged(generation, f"the index {query.index!r} of {view} is damaged")
            return Listed(rows, marked(page.checkpoint, known), page.total)

        found: Listed[Any] = self._read(read)
        return found

    def _find(self, view: str, row_id: str) -> Found[Any]:
        def read(generation: str, known: Checkpoint) -> Found[Any]:
            checkpoint, (data,) = self._views.load(generation, [(view, row_id)])
            if data is not None:
                return Found(VIEWS[view].decode(row_id, data), marked(checkpoint, known))
            past = self._past.rows(generation, checkpoint, view, [row_id]).get(row_id)
            return Found(past, marked(checkpoint, known), past is not None)

        found: Found[Any] = self._read(read)
        return found

    def _named(self, view: str, ids: Sequence[str]) -> Listed[Any]:
        """The rows of a bounded view with these ids, in this order, also such as are folded from sealed history."""

        def read(generation: str, known: Checkpoint) -> Listed[Any]:
            checkpoint, found = self._views.load(generation, [(view, row_id) for row_id in ids])
            held = dict(zip(ids, found, strict=True))
            rows = self._past.rows(generation, checkpoint, view, [row_id for row_id in ids if held[row_id] is None])
            rows |= {row_id: VIEWS[view].decode(row_id, data) for row_id, data in held.items() if data is not None}
            listed = [rows[row_id] for row_id in ids if row_id in rows]
            return Listed(listed, marked(checkpoint, known), len(listed))

        named: Listed[Any] = self._read(read)
        return named

    def _beginning_before(self, view: str, before: int, limit: int, words: Sequence[str | None]) -> Listed[str]:
        """Ids of rows in sealed history, newest first; total: the position of the last. words: as `Sealed.newest`."""

        def read(generation: str, known: Checkpoint) -> Listed[str]:
            found = self._past.newest(generation, view, before, limit, [word for word in words if word])
            return Listed([row_id for _, row_id in found], known, found[-1][0] if found else 0)

        listed: Listed[str] = self._read(read)
        return listed

    def _read(self, read: Callable[[str, Checkpoint], Any]) -> Any:
        """The answer of a read of the live generation, at a checkpoint no earlier than the log's end now.

        A damaged generation is repaired first.
        """
        while True:
            known = self.projector.catch_up()
            try:
                found = read(self.projector.generation, known)
            except ViewDamaged as damaged:
                self.projector.mend(damaged)
                continue
            if found.checkpoint.seq >= known.seq:
                return found


def _in_order(query: PageQuery, row_ids: list[str], rows: list[Any]) -> bool:
    """Whether the rows of a page belong to the index, and in the order in which the page shows them."""
    index, indexes = query.index, VIEWS[query.view].indexes
    scores = [indexes(row).get(index) for row in rows]
    if None in scores:
        return False
    order: list[tuple[Any, bytes]] = [(score, row_id.encode()) for score, row_id in zip(scores, row_ids, strict=True)]
    return order == sorted(order, reverse=query.newest)


def marked(checkpoint: Checkpoint, known: Checkpoint) -> Checkpoint:
    """The checkpoint of an answer, marked stale where the catch-up before found that it is."""
    if known.stopped and not checkpoint.stopped:
        return msgspec.structs.replace(checkpoint, stopped=known.stopped)
    return checkpoint
