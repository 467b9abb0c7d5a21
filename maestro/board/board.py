"""The board of one process: the store that it reads, the timeline over its log, and what it may do.

Everything that is shown of a position P comes from `Board.past(P)`, also of the newest one.
"""

from __future__ import annotations

import math
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import trio

from maestro.board.confirmations import Confirmations
from maestro.board.news import News
from maestro.board.refusal import Unfit
from maestro.board.rows.positions import Positions
from maestro.config import Settings
from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.store.contract import Head
from projections.fold import Stopped
from replayers.timeline.past_views import Past
from replayers.timeline.timeline import Timeline

T = TypeVar("T")

THREADS_MAX = 6
"""Reads at once, at most; further ones wait, and are dropped when their browser does not want them any more."""
PASTS_MAX = 32
"""Positions whose rows are kept, those that were asked for last."""
RECORD_EVERY = 1_000
"""The timeline goes on by itself after so many events; a look at a position has it go on, too."""
RECORDED_S_MAX = 5.0
"""So long a look waits for a timeline that is being made."""
AGAIN_S = 5.0


class Building(msgspec.Struct, frozen=True):
    """How far the timeline is recorded: `reached` of `end` events."""

    reached: int
    end: int


class Board:
    """The board of a running server.

    actions: whether it may act. token: what a page sends with each POST. confirmations: of acts that are shown first.
    edition: another one of each board, so of each log; part of all ETags. building: how far the timeline has come, None
    once it is there. stopped: the event of a later build that the folds do not pass, None where there is none.
    """

    def __init__(self, context: Context, port: int = 0, actions: bool = False, token: str = "") -> None:
        self.context = context
        self.port = port
        self.actions = actions
        self.token = token or secrets.token_urlsafe(32)
        self.confirmations = Confirmations()
        self.edition = secrets.token_hex(4)
        self.timeline = Timeline.open(context.store, context.settings.home)
        self.positions = Positions(context.settings, context.node, context.store)
        self.news = News(context)
        self.building: Building | None = Building(0, 0)
        self.stopped: Stopped | None = None
        self._built = trio.Event()
        self._limiter = trio.CapacityLimiter(THREADS_MAX)
        self._pasts: OrderedDict[int, Past] = OrderedDict()

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.context.settings

    async def run(self) -> None:
        """Follow the log, and record the timeline behind it, until the namespace has another log on purpose."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._record)
            await self.news.run()
            nursery.cancel_scope.cancel()

    async def work(self, act: Callable[..., T], *args: Any) -> T:
        """Do blocking work in a thread of the board. When it is cancelled it is not waited for, nor begun."""
        return await trio.to_thread.run_sync(act, *args, abandon_on_cancel=True, limiter=self._limiter)

    async def head(self) -> Head:
        """The head of the log. Raises StoreAway."""
        return await self.work(self.context.store.log.head)

    async def known_head(self, position: int) -> int:
        """The last position that is known, `position` at least: without asking the store where it is followed."""
        news = self.news
        known = news.head if news.known and news.away is None else (await self.head()).seq
        return max(known, position)

    async def past(self, position: int | None = None) -> Past:
        """All views at a position, by default at the newest that this build can fold.

        Raises Invalid behind the head, StoreAway, Stopped at an event of a later build, Refused for a bad disk, Unfit
        while the timeline is being made.
        """
        if position is not None:
            return await self._past(position)
        head = (await self.head()).seq
        try:
            return await self._past(head if self.stopped is None else min(head, self.stopped.seq - 1))
        except Stopped as stopped:
            log.warning("the board shows nothing behind position %d: %s", stopped.seq - 1, stopped.line())
            self.stopped = stopped
            return await self._past(stopped.seq - 1)

    def forget(self) -> None:
        """Forget the positions that are kept: the timeline is another one."""
        self._pasts.clear()

    async def recorded(self, position: int) -> None:
        """Wait until the timeline is made up to a position. Raises Unfit where that takes longer."""
        with trio.move_on_after(RECORDED_S_MAX):
            while self.building is not None and self.building.reached < position:
                await self._built.wait()
        if self.building is not None and self.building.reached < position:
            at = self.building
            what = f"the timeline is being made: {at.reached} of {at.end} events"
            raise Unfit(503, "building", what, "look again in a moment, or at an earlier position")

    async def _past(self, position: int) -> Past:
        found = self._pasts.get(position)
        if found is not None:
            await self.head()  # of another log nothing is shown that was read of the one before it
            self._pasts.move_to_end(position)
        else:
            await self.recorded(position)
            found = await self.work(self.timeline.at, position)
            self._pasts[position] = found
            while len(self._pasts) > PASTS_MAX:
                self._pasts.popitem(last=False)
        return found

    async def _record(self) -> None:
        """Record the timeline up to the end of the log, and again as that moves on."""
        limiter = trio.CapacityLimiter(1)
        upto: float
        while True:
            try:
                upto = await trio.to_thread.run_sync(self._catch_up, limiter=limiter, abandon_on_cancel=True)
            except (StoreAway, StoreUnsafe):  # told by the news
                await trio.sleep(AGAIN_S)
                continue
            except Stopped as stopped:
                self.stopped, upto = stopped, math.inf
            except MaestroError as error:
                log.warning("the timeline is not made: %s", error.line())
                await trio.sleep(AGAIN_S)
                upto = self.news.head
            self.building = None
            self._tell()
            while self.news.head < upto + RECORD_EVERY:
                await self.news.next.wait()

    def _catch_up(self) -> int:
        return self.timeline.catch_up(self._progress)

    def _progress(self, reached: int, end: int) -> None:
        """Called in the thread that records."""
        if self.building is not None:
            self.building = Building(reached, end)
            trio.from_thread.run_sync(self._tell)

    def _tell(self) -> None:
        self._built.set()
        self._built = trio.Event()
