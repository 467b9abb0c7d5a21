"""Rows that the bounded views have no more, for lists: those of sealed history that fit, newest first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, Generic, Protocol, TypeVar

from maestro.runtime.node.read_context import ReadContext
from projections.lineage import END_OF_LOG
from projections.view_calls import Listed


class Named(Protocol):
    """A row with an id."""

    id: str


Row = TypeVar("Row", bound=Named)

AT_ONCE: Final = 200
"""So many rows are folded again at once."""


class PastRows(Generic[Row]):
    """The rows of one view in sealed history.

    page: ids that began before a position, at most so many, as `Views.past_tasks`; named: the rows of ids.
    """

    def __init__(
        self,
        context: ReadContext,
        page: Callable[[int, int], Listed[str]],
        named: Callable[[Sequence[str]], Listed[Row]],
    ) -> None:
        self._context = context
        self._page = page
        self._named = named

    async def newest(self, fits: Callable[[Row], bool], count: int, here: Collection[str], since: int = 0) -> list[Row]:
        """The newest rows that fit, `count` at most, without those in `here`. Cost: O(what is looked at).

        since: what began before this position is not looked for.
        """
        found, before = list[Row](), END_OF_LOG
        while len(found) < count:
            page = await self._context.page(self._page, before, AT_ONCE)
            names = [name for name in page.rows if name not in here]
            found += filter(fits, await self._context.rows(self._named, names))
            before = page.total
            if len(page.rows) < AT_ONCE or before <= since:
                break
        return found[:count]
