"""Cuts the bounded views in the store (`bounds.py`): which rows of them a pass of the projector takes out at its end.

A pass has the rows that it touched as they are behind it, and the store has all others, as they were before it. So the
rows that ended first are found among both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from maestro.store.contract import Checkpoint, Page, PageQuery
from projections import settings
from projections.bounding import bounds
from projections.bounding.bounds import BOUNDED, Bounded
from projections.row_cache import Key, RowCache


class Overtaken(Exception):
    """Another process moved the checkpoint first, or switched to another generation: read it again."""


class Pages(Protocol):
    """The rows as they were before the pass (`ViewStore`)."""

    def page(self, generation: str, query: PageQuery, /) -> Page:
        """One page of an index of a view."""


def evict(
    views: Pages, generation: str, before: Checkpoint, cache: RowCache, at: tuple[Sequence[Key], int]
) -> list[Key]:
    """Take the rows out of the cache that go behind this pass; returns their keys.

    before: the checkpoint of the store. at: the rows that the pass touched, and the position of its end, at which views
    are cut. Raises Overtaken where the store stands elsewhere.
    """
    touched, seq = at
    folded = cache.fold.rows[settings.NAME]
    horizon, kept, gone = cache.horizon(), bounds.keep(folded), list[Key]()
    for view in BOUNDED.values():
        if view.FOLLOWS_LINE and not cache.fold.line.holds(seq):
            continue
        mine = [key for key in touched if key[0] == view.NAME]
        page = views.page(generation, PageQuery(view.NAME, view.ENDED, 0, 0, newest=False))
        surplus = min(page.total + _grown(cache, view, mine) - kept, bounds.MOST)
        if surplus > 0:
            query = PageQuery(view.NAME, view.ENDED, 0, surplus + len(mine), newest=False, max_score=horizon)
            page = views.page(generation, query)
            gone += _evict(cache, view, mine, page.rows, (surplus, horizon))
        if page.checkpoint != before:
            raise Overtaken
    return gone


def _grown(cache: RowCache, view: Bounded, mine: Sequence[Key]) -> int:
    """By how many the rows that have ended grow with the rows that a pass touched."""
    rows, grown = cache.fold.rows[view.NAME], 0
    for key in mine:
        row = rows.get(key[1])
        grown += (row is not None and view.ended(row) > 0) - (view.ENDED in cache.stored[key])
    return grown


def _evict(
    cache: RowCache, view: Bounded, mine: Sequence[Key], oldest: Sequence[tuple[str, bytes]], most: tuple[int, int]
) -> list[Key]:
    """Delete the rows of a view that ended first. most: how many at most, and the last position at which they ended."""
    count, horizon = most
    keys = [(view.NAME, row_id) for row_id, _ in oldest]
    for key, (_, data) in zip(keys, oldest, strict=True):
        if key not in cache.stored:
            cache.take([key], [data])
    rows = cache.fold.rows[view.NAME]
    ends = sorted((view.ended(rows[key[1]]), key) for key in {*mine, *keys} if key[1] in rows)
    gone = [key for end, key in ends if 0 < end <= horizon][:count]
    for _, row_id in gone:
        del rows[row_id]
    return gone
