"""Rows of views for what looks again and again: read anew only where something was appended since the last look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, TypeVar, cast

from maestro.runtime.node.context import Context
from maestro.runtime.node.follower import Follower
from projections.view_reader import Found, Listed

T = TypeVar("T")


class SteadyRows:
    """The last answers of some queries, each with the position of the log that this node had heard of before it."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self._context = context
        self._follower = follower
        self._known: dict[str, tuple[int, Any]] = {}

    async def rows(self, query: Callable[[], Listed[T]]) -> list[T]:
        """The rows of a view's page, for the caller to keep."""
        return [copy(row) for row in await self._last(query, self._context.rows)]

    async def row(self, query: Callable[[], Found[T]]) -> T | None:
        """A row of a view; None where there is none."""
        return copy(await self._last(query, self._context.row))

    async def _last(self, query: Callable[[], Any], read: Callable[[Any], Awaitable[T]]) -> T:
        seq, name = self._follower.seq, query.__name__
        if name not in self._known or self._known[name][0] != seq:
            self._known[name] = seq, await read(query)
        return cast(T, self._known[name][1])
