"""The positions that are looked at: their contexts, and the rows of lists that were read, for those who ask again."""

from __future__ import annotations

import time
from collections import OrderedDict
from threading import Lock
from typing import Final, NamedTuple

from maestro.board.rows import lists
from maestro.board.rows.lists import LISTS, Asked, Part
from maestro.board.rows.past_context import PastContext
from maestro.board.rows.past_store import cuts_upto
from maestro.board.rows.view_pages import Waypoints
from maestro.config import Settings
from maestro.model.errors import Invalid
from maestro.store.contract import Store
from projections.lineage import Cut
from replayers.timeline.past_views import Past

ROWS_MAX: Final = 20_000
"""Rows of lists that are kept, about."""
LIVE_S: Final = 1.0
"""For so long a list of the newest position is kept."""


class _Held(NamedTuple):
    part: Part
    until: float


class Positions:
    """What the board reads of positions. Thread-safe."""

    def __init__(self, settings: Settings, node: str, store: Store) -> None:
        self._settings = settings
        self._node = node
        self._store = store
        self._waypoints = Waypoints()
        self._cuts: tuple[int, list[Cut]] = 0, []
        self._held: OrderedDict[tuple[int, bool, Asked], _Held] = OrderedDict()
        self._rows = 0
        self._lock = Lock()

    def context(self, past: Past, live: bool = False) -> PastContext:
        """A context of a position, for one command. live: it was asked for as the newest one, and shows the present
        too, as that which is the end of the log does.
        """
        head = self._store.log.head()
        floor, cuts = self._cuts
        if floor != head.floor:
            cuts = cuts_upto(self._store.log, head.seq)
            self._cuts = head.floor, cuts
        around = [cut for cut in cuts if cut.at <= past.position]
        live = live or past.position >= head.seq
        return PastContext(self._settings, self._node, self._store, past, (around, self._waypoints, live))

    def listed(self, past: Past, asked: Asked, live: bool = False) -> Part:
        """What is asked of a list, and nothing else. Raises Invalid, and what the list's command raises."""
        lists.check(asked)
        context = self.context(past, live)
        upto = lists.reach(asked)
        is_whole = not LISTS[asked.name].view
        wanted = asked._replace(offset=0, limit=upto) if upto or is_whole else asked
        part = self._part(context, wanted)
        if wanted is asked:
            return part
        rows = part.rows[asked.offset : asked.offset + asked.limit]
        return part._replace(rows=rows, more=part.more or len(part.rows) > asked.offset + asked.limit)

    def _part(self, context: PastContext, wanted: Asked) -> Part:
        key = context.past.position, context.is_past, wanted
        with self._lock:
            held = self._held.get(key)
            if held is not None and held.until > time.monotonic():
                self._held.move_to_end(key)
                return held.part
        try:
            part = lists.read(context, wanted)
        except Invalid as error:
            error.where = error.where or f"/api/{wanted.name}"
            raise
        until = float("inf") if context.is_past else time.monotonic() + LIVE_S
        with self._lock:
            before = self._held.pop(key, None)
            self._held[key] = _Held(part, until)
            self._rows += len(part.rows) - (0 if before is None else len(before.part.rows))
            while self._rows > ROWS_MAX and len(self._held) > 1:
                self._rows -= len(self._held.popitem(last=False)[1].part.rows)
        return part
