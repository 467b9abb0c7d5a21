"""Between trio and the store's threads: appends in groups, everything else in worker threads.

One thread takes all appends that wait and commits them as one group; while that group is under way the next one
gathers. So one batch of a process is in flight at any time, and one whose outcome is unknown is sent again, in order,
before anything newer. While the store is away appends wait. A log that is not the one this process knows ends
everything, for good.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from types import TracebackType
from typing import Never, TypeVar

import msgspec
import outcome
import trio

from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe, Unknown
from maestro.store.contract import Append, AppendResult, Head, Store

T = TypeVar("T")
GROUP_MAX = 500
BACKOFF_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
THREADS_MAX = 64


class _Waiting:
    """An append and the task that waits for its result."""

    __slots__ = ("append", "gone", "task")

    def __init__(self, append: Append, task: trio.lowlevel.Task) -> None:
        self.append = append
        self.task = task
        self.gone = False


_Result = outcome.Outcome[AppendResult]


class Gateway:
    """Brings a store to trio. `async with Gateway(store) as gateway`; the store stays the caller's to close.

    away_since: `time.monotonic()` at which the store was found to be away, None while it is there; away: the error
    that said so. broken: the error that ended it for good.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away_since: float | None = None
        self.away: MaestroError | None = None
        self.broken: MaestroError | None = None
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closing = Flag()
        self._token: trio.lowlevel.TrioToken | None = None
        self._threads = trio.CapacityLimiter(THREADS_MAX)
        self._thread = Thread(target=self._commit_all, name="maestro-append", daemon=True)

    async def __aenter__(self) -> Gateway:
        self._token = trio.lowlevel.current_trio_token()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_up()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)

    def give_up(self) -> None:
        """Stop soon (from trio's thread): the group under way gets one more try, all others get `StoreAway`."""
        self._closing.set()
        self._queue.put(None)

    @property
    def closing(self) -> bool:
        """Whether it was told to give up."""
        return self._closing.is_set()

    @property
    def known(self) -> Head:
        """The newest head that this process knows."""
        return self.store.log.known()

    async def append(self, append: Append, deadline_s: float = math.inf) -> AppendResult:
        """Append; waits while the store is away. Not cancellable: an append that was asked for is settled.

        deadline_s: seconds after which `Unknown` is raised though it is still being tried. Raises what `broken` holds
        once the log is not ours any more, `StoreAway` or `Unknown` when the gateway gives up.
        """
        waiting = _Waiting(append, trio.lowlevel.current_task())

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            waiting.gone = True
            return trio.lowlevel.Abort.SUCCEEDED

        if self._closing.is_set():
            raise copy(self.broken) if self.broken else StoreAway("the store's gateway is closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + deadline_s):
            self._queue.put(waiting)
            result: AppendResult = await trio.lowlevel.wait_task_rescheduled(abort)
            return result
        raise Unknown(
            f"the append was not confirmed within {deadline_s:g} s",
            mend="it goes on being tried; look whether it took effect",
        )

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """A short call of the store, in a thread. Not abandoned when cancelled: it ends by its own timeout."""
        async with self._threads:
            return await self._in_thread(lambda: call(*args), lambda: None)

    async def wait(self, call: Callable[..., T], *args: object) -> T:
        """A blocking call (`follow`, `claim`), in a thread; when cancelled, it is woken and waited for.

        What it returns in spite of a cancellation is returned: a claimed entry is not lost.
        """
        ended = Flag()

        def work() -> T:
            try:
                return call(*args)
            finally:
                ended.set()

        def wake() -> None:
            # The call may not have begun to block yet when it is woken first.
            while not ended.is_set():
                self.store.log.wake()
                ended.wait(0.02)

        def insist() -> None:
            trio.lowlevel.start_thread_soon(wake, lambda _: None)

        return await self._in_thread(work, insist)

    async def _in_thread(self, work: Callable[[], T], cancelled: Callable[[], None]) -> T:
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def deliver(result: outcome.Outcome[T]) -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            cancelled()
            return trio.lowlevel.Abort.FAILED

        await trio.lowlevel.checkpoint_if_cancelled()
        trio.lowlevel.start_thread_soon(work, deliver, "maestro-store")
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    # ---- the thread ----

    def _commit_all(self) -> None:
        while True:
            group = self._gather()
            if group is None:
                return
            self._settle(group, self._commit(group))

    def _gather(self) -> list[_Waiting] | None:
        """Everything that waits, as one group; None at the end."""
        first = self._queue.get()
        if first is None:
            self._refuse_rest()
            return None
        group = [first]
        while len(group) < GROUP_MAX:
            try:
                more = self._queue.get_nowait()
            except Empty:
                break
            if more is None:
                self._queue.put(None)
                break
            group.append(more)
        return group

    def _refuse_rest(self) -> None:
        error = self.broken or StoreAway("the store's gateway was closed before the append was sent")
        while True:
            try:
                left = self._queue.get_nowait()
            except Empty:
                return
            if left is not None:
                self._settle([left], _failed([left], error))

    def _commit(self, group: list[_Waiting]) -> list[_Result]:
        """The group's results, however long it takes."""
        appends = [waiting.append for waiting in group]
        tries = 0
        unknown = False
        while True:
            if self.broken:
                return _failed(group, self.broken)
            known = self.store.log.known()
            try:
                if not known.seq:
                    known = self.store.log.head()
                results = self.store.log.commit(appends, known)
                self.away = self.away_since = None
                return [outcome.Value(result) for result in results]
            except Unknown as error:
                if not unknown:
                    appends = [_again(append, known.seq) for append in appends]
                unknown = True
                self._is_away(error)
            except StoreAway as error:
                self._is_away(error)
            except StoreUnsafe as error:
                self.broken = error
                continue
            except Exception as error:  # noqa: BLE001 - a caller's mistake must not end the thread of all
                return self._one_by_one(group, error, known)
            if self._closing.is_set() and tries:
                return _failed(group, self._last_error(unknown))
            self._closing.wait(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
            tries += 1

    def _is_away(self, error: StoreAway) -> None:
        self.away = error
        if self.away_since is None:
            self.away_since = time.monotonic()

    def _last_error(self, unknown: bool) -> MaestroError:
        what = self.away.what if self.away else "the store is away"
        return Unknown(f"{what}; the append may or may not be in the log") if unknown else StoreAway(what)

    def _one_by_one(self, group: list[_Waiting], error: Exception, known: Head) -> list[_Result]:
        """One append of the group cannot be handled: the others must not suffer."""
        if len(group) == 1:
            return [outcome.Error(error)]
        results: list[_Result] = []
        for waiting in group:
            waiting.append = _again(waiting.append, known.seq)
            results += self._commit([waiting])
        return results

    def _settle(self, group: list[_Waiting], results: list[_Result]) -> None:
        def wake_tasks() -> None:
            for waiting, result in zip(group, results, strict=True):
                if not waiting.gone:
                    trio.lowlevel.reschedule(waiting.task, result)

        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(wake_tasks)


def _failed(group: list[_Waiting], error: MaestroError) -> list[_Result]:
    """The same error for each, as an object of its own: tasks hang their tracebacks on it."""
    return [outcome.Error(copy(error)) for _ in group]


def _again(append: Append, since: int) -> Append:
    """The same append, to be recognised where an earlier try behind `since` got through."""
    if append.resend:
        return append
    return msgspec.structs.replace(append, resend=True, since=since)
