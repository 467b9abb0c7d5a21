"""The gateway between trio and the store: batches appends, and runs all other calls in greenlets or threads.

One task takes all waiting appends and commits them as one batch, while the next batch gathers. So at any time one batch
of a process is in flight, and a batch whose outcome is unknown is sent again, in order, before anything newer. While
the store is away, appends wait. The exception are appends of a command (`prompt`), whose caller is to be told at once
what is certain: such an append is dropped where the store takes no writes or stays away for PROMPT_S, and no try of it
can have got through. A log that is not the one this process knows breaks the gateway for good.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from copy import copy
from threading import Event as Flag
from types import TracebackType
from typing import Any, Never, TypeVar

import trio

from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe, Unknown
from maestro.model.monitoring.histogram import APPEND_US, Histogram
from maestro.store.contract import Append, AppendResult, Head, Store
from maestro.store.cooperative import Wanted, run_in_greenlet
from maestro.store.redis.refusals import WritesRefused
from maestro.store.waiting_append import PROMPT_S, WaitingAppend, again, unconfirmed, undone

T = TypeVar("T")
GROUP_MAX = 500
BACKOFF_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
THREADS_MAX = 64

_Result = AppendResult | Exception


class Gateway:
    """Makes a store usable from trio: `async with Gateway(store) as gateway`. The caller closes the store.

    away_since: `time.monotonic()` at which the store was found to be away, None while it is reachable.
    away: the error that was raised then.
    broken: the error after which no append is ever tried again. breaks: set once there is one.
    admit: asked about each append before it is made; what it raises is raised to whoever appends.
    appends: how long appends took from the request to the log's answer, microseconds.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.appends = Histogram()
        self.away_since: float | None = None
        self.away: StoreAway | None = None
        self.broken: MaestroError | None = None
        self.admit: Callable[[Append], Awaitable[None]] | None = None
        self.breaks = trio.Event()
        self._waiting: deque[WaitingAppend] = deque()
        self._news = trio.lowlevel.ParkingLot()
        self._closing = trio.Event()
        self._ended = trio.Event()
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    async def __aenter__(self) -> Gateway:
        trio.lowlevel.spawn_system_task(self._commit_all, name="maestro-append")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()
        with trio.CancelScope(shield=True):
            await self._ended.wait()

    def give_up(self) -> None:
        """Stop soon: the batch in flight gets one more try, all other appends get `StoreAway`."""
        self._closing.set()
        self._news.unpark_all()

    @property
    def closing(self) -> bool:
        """Whether `give_up` was called."""
        return self._closing.is_set()

    @property
    def known(self) -> Head:
        """The newest head that this process knows."""
        return self.store.log.known()

    async def append(self, append: Append, deadline_s: float = math.inf, prompt: bool = False) -> AppendResult:
        """Append, waiting while the store is away. Not cancellable: an append that was requested is settled.

        deadline_s: seconds after which `Unknown` is raised, though the append is still being tried.
        prompt: drop the append and raise `StoreAway` where the store takes no writes or stays away.
        Raises the error in `broken` once the log is not the known one any more; `StoreAway` or `Unknown` when the
        gateway gives up.
        """
        if self.admit is not None:
            await self.admit(append)
        until = trio.current_time() + PROMPT_S if prompt else math.inf
        waiting = WaitingAppend(append, trio.lowlevel.current_task(), until)

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            waiting.gone = True
            return trio.lowlevel.Abort.SUCCEEDED

        if self._closing.is_set():
            raise copy(self.broken) if self.broken else StoreAway("the store's gateway is closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + deadline_s):
            self._waiting.append(waiting)
            self._news.unpark_all()
            asked_at = time.perf_counter()
            await trio.lowlevel.wait_task_rescheduled(abort)
            self.appends.observe(APPEND_US, int(1_000_000 * (time.perf_counter() - asked_at)))
            return waiting.result()
        if prompt and not waiting.unsure:
            raise undone(self.away)
        raise unconfirmed(deadline_s)

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """Run a short store call in a thread. A cancellation does not abandon it: it ends by its own timeout."""
        async with self._threads:
            return await self._in_thread(lambda: call(*args), lambda: None)

    async def ask(self, call: Callable[..., T], *args: object) -> T:
        """Run a short store call that every run makes: in a greenlet where the store can, else in a thread."""
        if not self.store.cooperative:
            return await self.call(call, *args)
        with trio.CancelScope(shield=True):
            answer = await run_in_greenlet(lambda: call(*args))
        return answer

    async def wait(self, call: Callable[..., T], *args: object) -> T:
        """Run a blocking call (`follow`, `claim`) in a greenlet or thread; a cancellation wakes it and waits for its
        end.

        A result that comes in spite of the cancellation is returned, so that a claimed entry is not lost.
        """
        ended = Flag()

        def work() -> T:
            try:
                return call(*args)
            finally:
                ended.set()

        def wake() -> None:
            # Repeated, as the call may not yet block when it is woken for the first time.
            while not ended.is_set():
                self.store.log.wake()
                ended.wait(0.02)

        def insist() -> None:
            trio.lowlevel.start_thread_soon(wake, lambda _: None)

        async def patient(wanted: Wanted) -> Any:
            try:
                return await wanted()
            except trio.Cancelled:
                insist()
                with trio.CancelScope(shield=True):
                    return await wanted()

        if self.store.cooperative:
            await trio.lowlevel.checkpoint_if_cancelled()
            return await run_in_greenlet(work, patient)
        return await self._in_thread(work, insist)

    async def _in_thread(self, work: Callable[[], T], cancelled: Callable[[], None]) -> T:
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: Any) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            cancelled()
            return trio.lowlevel.Abort.FAILED

        await trio.lowlevel.checkpoint_if_cancelled()
        trio.lowlevel.start_thread_soon(work, deliver, "maestro-store")
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    # ---- committing batches ----

    async def _commit_all(self) -> None:
        """Commit one batch after the other; once closing, commit one more batch and refuse the rest."""
        try:
            while True:
                while not self._waiting and not self._closing.is_set():
                    await self._news.park()
                if not self._waiting:
                    break
                group = [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]
                self._settle(group, await self._commit(group))
                if self._closing.is_set():
                    break
        finally:
            self._refuse_rest()
            self._ended.set()

    def _refuse_rest(self) -> None:
        error = self.broken or StoreAway("the store's gateway was closed before the append was sent")
        rest = list(self._waiting)
        self._waiting.clear()
        self._settle(rest, _failed(rest, error))

    async def _commit(self, group: list[WaitingAppend]) -> list[_Result]:
        """Commit a batch and return its results, however long that takes.

        An append that is dropped meanwhile is removed from the batch, and its task gets the error.
        """
        tries = 0
        unknown = False
        while True:
            if self.broken:
                return _failed(group, self.broken)
            if not self._drop(group):
                return []
            known = self.store.log.known()
            try:
                if not known.seq:
                    known = await self.ask(self.store.log.head)
                results = await self._send(group, known)
                self.away = self.away_since = None
                return list(results)
            except Unknown as error:
                unknown = True
                for waiting in group:
                    waiting.append = again(waiting.append, known.seq)
                self._is_away(error)
                self._drop(group)
            except StoreAway as error:
                self._is_away(error)
                self._drop(group, isinstance(error, WritesRefused))
            except StoreUnsafe as error:
                self.broken = error
                self.breaks.set()
                continue
            except Exception as error:  # noqa: BLE001 - one caller's mistake must not end the task that serves all
                return await self._one_by_one(group, error, known)
            if not group:
                return []
            if self._closing.is_set() and tries:
                return _failed(group, self._last_error(unknown))
            with trio.move_on_after(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)]):
                await self._closing.wait()
            tries += 1

    async def _send(self, group: list[WaitingAppend], known: Head) -> list[AppendResult]:
        """Send a batch once. An append without a try of unknown outcome is unsure until the answer, or for good if none
        comes.
        """
        sure = [waiting for waiting in group if not waiting.append.resend]
        for waiting in group:
            waiting.unsure = True
        try:
            return await self.ask(self.store.log.commit, [waiting.append for waiting in group], known)
        except Unknown:
            raise
        except StoreAway:
            for waiting in sure:
                waiting.unsure = False
            raise

    def _drop(self, group: list[WaitingAppend], denied: bool = False) -> list[WaitingAppend]:
        """Drop the appends that are not retried, from the batch and from the queue behind it; returns the same batch
        list.
        """
        dropped = [waiting for waiting in (*group, *self._waiting) if waiting.is_dropped(denied)]
        if dropped:
            group[:] = [waiting for waiting in group if waiting not in dropped]
            self._waiting = deque(waiting for waiting in self._waiting if waiting not in dropped)
            self._settle(dropped, [undone(self.away) for _ in dropped])
        return group

    def _is_away(self, error: StoreAway) -> None:
        self.away = error
        if self.away_since is None:
            self.away_since = time.monotonic()

    def _last_error(self, unknown: bool) -> MaestroError:
        what = self.away.what if self.away else "the store is away"
        return Unknown(f"{what}; the append may or may not be in the log") if unknown else StoreAway(what)

    async def _one_by_one(self, group: list[WaitingAppend], error: Exception, known: Head) -> list[_Result]:
        """Commit each append of a batch alone, as one of them cannot be handled and must not affect the others."""
        if len(group) == 1:
            return [error]
        results: list[_Result] = []
        for waiting in group:
            waiting.append = again(waiting.append, known.seq)
            results += await self._commit([waiting])
        return results

    def _settle(self, group: list[WaitingAppend], results: list[_Result]) -> None:
        for waiting, result in zip(group, results, strict=True):
            if not waiting.gone:
                waiting.settled = result
                trio.lowlevel.reschedule(waiting.task)


def _failed(group: list[WaitingAppend], error: MaestroError) -> list[_Result]:
    """One copy of the error for each append, as each task attaches its own traceback."""
    return [copy(error) for _ in group]
