"""What a command that only reads needs of a store, without trio.

A command without a daemon that only reads is carried out on plain calls of the store: importing trio alone takes longer
than all that such a command does. A daemon, and a command that appends, has a `Context`, which makes the same calls
beside others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from maestro.config import Settings
from maestro.model.agent import Agent
from maestro.model.errors import NotFound
from maestro.model.events import Text
from maestro.model.monitoring.hearing import Hearing
from maestro.model.monitoring.sights import SeenRun, SeenStore
from maestro.runtime.node.daemon_log import log
from maestro.store.contract import Head, Store
from projections.view_reader import Found, Listed, Views

if TYPE_CHECKING:
    from maestro.runtime.node.node_daemon import NodeDaemon

T = TypeVar("T")
Answer = TypeVar("Answer", bound=Found[Any] | Listed[Any])

THREADS_MAX = 16
"""How many threads `ReadContext.together` has at most."""
NEXT_THREAD_S = 0.05
"""After how long the works that wait get another thread: what is quick is done in one, which costs least."""


class Line(Generic[T]):
    """Works that wait for a thread, and what was found by those that are done, by name."""

    def __init__(self, works: Mapping[str, Callable[[], T]]) -> None:
        self.waiting = deque(works.items())
        self.threads_max = min(THREADS_MAX, len(works))
        self._found: dict[str, T] = {}
        self._failed: list[Exception] = []

    def work(self) -> None:
        """Do one work after the other, until none waits. Blocks."""
        with suppress(IndexError):  # another thread has taken the last one
            while True:
                name, act = self.waiting.popleft()
                try:
                    self._found[name] = act()
                except Exception as error:  # noqa: BLE001 - raised to the caller
                    self._failed.append(error)

    def end(self) -> dict[str, T]:
        """The results by name; what waits still is left undone. Raises what a work has raised."""
        self.waiting.clear()
        if self._failed:
            raise self._failed[0]
        return dict(self._found)


class ReadContext:
    """Reads of one store: the rows of its views, its server's time, its texts. node: the id of this node."""

    daemon: NodeDaemon | None = None
    is_past = False
    """Whether it is of a position in the past: then nothing of the present is looked at, as disks, logs, processes."""

    def __init__(self, settings: Settings, node: str, store: Store) -> None:
        self.settings = settings
        self.node = node
        self.store = store
        self.views = Views(store)
        self.looking: dict[str, float] = {}
        """Agent -> since when a thread is looking at its workspace, by `time.monotonic`."""
        self.seen_runs: dict[str, SeenRun] = {}
        """Run -> what the heartbeat has seen of its processes last; nothing in a command without a daemon."""
        self.seen_store: SeenStore | None = None
        """What the heartbeat has seen of the store's safety last."""
        self.damaged_copies = ""
        """What this daemon knows to be damaged in the shared archive, in words."""
        self.archive_reached: str | None = None
        """How the shared archive was found when it was looked for last (`Standing.reach`); None where it was not."""
        self.hearing: Hearing | None = None
        """How well this node's daemon hears others; None in a command without one."""
        self._told_stale = ""

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """Make a short call of the store. Raises StoreAway and what the call raises."""
        return call(*args)

    async def together(self, works: Mapping[str, Callable[[], T]], limit_s: float) -> dict[str, T]:
        """Do blocking work in threads; the results by name, without what is not done after `limit_s`.

        Raises what the work raises.
        """
        line, deadline = Line(works), time.monotonic() + limit_s
        threads: list[threading.Thread] = []
        while line.waiting and len(threads) < line.threads_max:
            threads.append(threading.Thread(target=line.work, daemon=True))
            threads[-1].start()
            threads[-1].join(min(NEXT_THREAD_S, max(0.0, deadline - time.monotonic())))
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return line.end()

    async def row(self, query: Callable[..., Found[T]], *args: Any) -> T | None:
        """One row of a view, None where there is none; a stale view is logged once."""
        found = await self.call(lambda: query(*args))
        return self._fresh(found).row

    async def rows(self, query: Callable[..., Listed[T]], *args: Any, **named: Any) -> list[T]:
        """The rows of a view's page."""
        return (await self.page(query, *args, **named)).rows

    async def page(self, query: Callable[..., Listed[T]], *args: Any, **named: Any) -> Listed[T]:
        """A view's page, with how many rows its index has in all."""
        found = await self.call(lambda: query(*args, **named))
        return self._fresh(found)

    async def agents(self) -> list[Agent]:
        """All agents, oldest assignment first."""
        return await self.rows(self.views.agents)

    async def floor(self) -> int:
        """The version of every subject that has had no event since the last restore."""
        head: Head = await self.call(self.store.log.head)
        return head.floor

    async def now(self) -> int:
        """The time of the store's server in ms."""
        return int(await self.call(self.store.now))

    def _fresh(self, answer: Answer) -> Answer:
        stopped = answer.checkpoint.stopped
        if stopped and stopped != self._told_stale:
            log.warning("views are stale: %s", stopped)
            self._told_stale = stopped
        return answer

    async def text(self, value: Text) -> str:
        """The content of a text, fetched where it is a blob. Raises NotFound when the blob is gone."""
        return value if isinstance(value, str) else (await self.content(value)).decode("utf-8", "replace")

    async def content(self, value: Text) -> bytes:
        """The content of a text as UTF-8; a blob is not copied. Raises NotFound when the blob is gone."""
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
        data: bytes | None = await self.call(self.store.blobs.get, value.blob)
        if data is None:
            raise NotFound(f"the blob {value.blob} is not in the store")
        return data


class ReadCall(Protocol):
    """A command that only reads, under way: its context, and the way to answer."""

    @property
    def context(self) -> ReadContext:
        """What the command reads from."""

    async def item(self, row: Any) -> None:
        """Send a row of the answer."""
