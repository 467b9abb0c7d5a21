"""What is new in the log: its end, the views that recent events concern, and whether the store is away."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import trio

from maestro.model.errors import LineageBroken, MaestroError, StoreAway, StoreUnsafe
from maestro.model.events import AnyFact, Event, RestoreDone
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.known_head import KnownHead
from maestro.store.embedded.embedded_server import server_paths
from projections import queue, tasks
from projections.bounding import bounds
from projections.bounding.bounds import BOUNDED
from projections.fold import FOLDED, VIEWS

AT_ONCE = 1_000
BLOCK_MS = 2_000
AGAIN_S = 0.5
RECENT_MAX = 10_000
"""Events of which it is known which views they concern; of whoever has missed more, all views have changed."""
ALL = frozenset(VIEWS)


def _concerned() -> Mapping[type[AnyFact], frozenset[str]]:
    """Fact -> the views that an event of it may change."""
    found: dict[type[AnyFact], set[str]] = {}
    for view in FOLDED:
        names = {view.NAME, queue.NAME} if view.NAME == tasks.NAME else {view.NAME}
        for fact in view.folds({}):
            found.setdefault(fact, set()).update(names)
    return {fact: frozenset(names) for fact, names in found.items()} | {RestoreDone: ALL}


CONCERNED = _concerned()


class News:
    """The news of one log.

    known: whether its end has been read; head, at: its last event's position and time in ms. away: why the store cannot
    be read now, None where it can. is_over: the namespace has another log, which is not told of here.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._recent: deque[tuple[int, frozenset[str]]] = deque(maxlen=RECENT_MAX)
        self._changed = trio.Event()
        self.known = False
        self.head = 0
        self.at = 0
        self.away: MaestroError | None = None
        self.is_over = False

    async def run(self) -> None:
        """Follow the log, also over outages of the store, until it was erased on purpose, or its loss was accepted."""
        limiter = trio.CapacityLimiter(1)
        follow = self._context.store.log.follow
        while True:
            try:
                if not self.known:
                    self._begin(*await trio.to_thread.run_sync(self._end, limiter=limiter, abandon_on_cancel=True))
                events = await trio.to_thread.run_sync(
                    follow, self.head, AT_ONCE, BLOCK_MS, limiter=limiter, abandon_on_cancel=True
                )
            except (StoreAway, StoreUnsafe) as error:
                await self._wait_out(error)
                if isinstance(error, LineageBroken) and await trio.to_thread.run_sync(self._is_another):
                    self.is_over = True
                    self._tell()
                    return
            else:
                if events or self.away is not None:
                    self._hear(events)

    @property
    def next(self) -> trio.Event:
        """Set with the next news, of the log or of the store."""
        return self._changed

    def since(self, position: int) -> list[str]:
        """The views that the events behind a position concern."""
        if position < (self._recent[0][0] - 1 if self._recent else self.head):
            return sorted(ALL)
        found: set[str] = set()
        for seq, views in reversed(self._recent):
            if seq <= position:
                break
            found |= views
        return sorted(found)

    def _end(self) -> tuple[int, int]:
        head = self._context.store.log.head()
        event = self._context.store.log.event(head.seq) if head.seq else None
        return head.seq, event.at if event else 0

    def _is_another(self) -> bool:
        """Whether the log is meant to be another one. Asked of a store that knows nothing of the one before it."""
        try:
            store = open_store(self._context.settings)
            try:
                KnownHead(self._context.settings).check(store)
            finally:
                store.close()
        except MaestroError:
            return False
        return True

    def _begin(self, head: int, at: int) -> None:
        self.head, self.at, self.known = head, at, True
        self._tell()

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            views = CONCERNED.get(event.fact.__class__, frozenset())
            self._recent.append((event.seq, views | BOUNDED.keys() if bounds.is_step(event.seq) else views))
        if events:
            self.head, self.at = events[-1].seq, events[-1].at
        self.away = None
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _wait_out(self, error: MaestroError) -> None:
        """Say that the store is away. An embedded one that was not stopped, but died, is started again."""
        if self.away is None:
            log.warning("the board waits for the store: %s", error.line())
        if self.away is None or self.away.line() != error.line():
            self.away = error
            self._tell()
        revive = self._context.revive
        if revive is not None and server_paths(self._context.settings.home).pid.exists():  # an orderly end removes it
            try:
                await trio.to_thread.run_sync(revive)
            except MaestroError as why:
                log.warning("the embedded store does not come back: %s", why.line())
        await trio.sleep(AGAIN_S)
