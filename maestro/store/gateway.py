"""Between trio and the store: appends in groups, everything else carried or in worker threads.

One task takes all appends that wait and commits them as one group; while that group is under way the next one
gathers. So one batch of a process is in flight at any time, and one whose outcome is unknown is sent again, in order,
before anything newer. While the store is away appends wait; what a caller has given up is not sent again. A log that is
not the one this process knows ends everything, for good.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from threading import Event as Flag
from types import TracebackType
from typing import Any, Never, TypeVar

import msgspec
import outcome
import trio

from maestro.model.errors import Declined, MaestroError, StoreAway, StoreUnsafe, Unknown
from maestro.store.carrying import Wanted, carry
from maestro.store.contract import Append, AppendResult, Head, Store

T = TypeVar("T")
GROUP_MAX = 500
BACKOFF_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
THREADS_MAX = 64
LOOK = "look whether it took effect, then repeat it"


class _Waiting:
    """An append and the task that waits for its result.

    gone: it waits no longer; is_sent: the append may be in the log, as a try of it is under way or has an unknown
    outcome; prompt: it wants to hear at once that the server said no.
    """

    __slots__ = ("append", "gone", "is_sent", "prompt", "task")

    def __init__(self, append: Append, task: trio.lowlevel.Task, prompt: bool) -> None:
        self.append = append
        self.task = task
        self.gone = False
        self.is_sent = False
        self.prompt = prompt


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
        self._waiting: deque[_Waiting] = deque()
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
        """Stop soon: the group under way gets one more try, all others get `StoreAway`."""
        self._closing.set()
        self._news.unpark_all()

    @property
    def closing(self) -> bool:
        """Whether it was told to give up."""
        return self._closing.is_set()

    @property
    def known(self) -> Head:
        """The newest head that this process knows."""
        return self.store.log.known()

    async def append(
        self, append: Append, deadline_s: float = math.inf, prompt: bool = False, settled: bool = False
    ) -> AppendResult:
        """Append; waits while the store is away. Not cancellable: an append that was asked for is settled.

        deadline_s: seconds after which it is given up: `StoreAway` says that nothing was done, `Unknown` that it may
        be in the log. prompt: also where the server says no (`Declined`), at once. settled: what was sent is not given
        up, as something depends on it: then it takes as long as it takes. Raises what `broken` holds once the
        log is not ours any more, `StoreAway` or `Unknown` when the gateway gives up.
        """
        waiting = _Waiting(append, trio.lowlevel.current_task(), prompt)

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            if settled and waiting.is_sent:
                return trio.lowlevel.Abort.FAILED
            waiting.gone = True
            return trio.lowlevel.Abort.SUCCEEDED

        if self._closing.is_set():
            raise copy(self.broken) if self.broken else StoreAway("the store's gateway is closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + deadline_s):
            self._waiting.append(waiting)
            self._news.unpark_all()
            result: AppendResult = await trio.lowlevel.wait_task_rescheduled(abort)
            return result
        raise self._given_up(waiting, deadline_s)

    def _given_up(self, waiting: _Waiting, seconds: float) -> MaestroError:
        """The error for an append that is not sent again."""
        if waiting.is_sent:
            return unconfirmed(seconds)
        if self.away is None:
            return StoreAway(f"nothing was done: the store was busy for {seconds:g} s", mend="try again")
        error = StoreAway(f"nothing was done: {self.away.what}", self.away.where, self.away.mend)
        error.__cause__ = self.away
        return error

    async def call(self, call: Callable[..., T], *args: object) -> T:
        """A short call of the store, in a thread. Not abandoned when cancelled: it ends by its own timeout."""
        async with self._threads:
            return await self._in_thread(lambda: call(*args), lambda: None)

    async def ask(self, call: Callable[..., T], *args: object) -> T:
        """As `call`, but carried where the store can be: for what is short, and asked for by every run."""
        if not self.store.carried:
            return await self.call(call, *args)
        with trio.CancelScope(shield=True):
            answer = await carry(lambda: call(*args))
        return answer

    async def wait(self, call: Callable[..., T], *args: object) -> T:
        """A blocking call (`follow`, `claim`), carried or in a thread; when cancelled, it is woken and waited for.

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

        async def patient(wanted: Wanted) -> Any:
            try:
                return await wanted()
            except trio.Cancelled:
                insist()
                with trio.CancelScope(shield=True):
                    return await wanted()

        if self.store.carried:
            await trio.lowlevel.checkpoint_if_cancelled()
            return await carry(work, patient)
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

    # ---- the commits ----

    async def _commit_all(self) -> None:
        """One group after the other; when it is closed, one more of what waits, and the rest is refused."""
        try:
            while True:
                while not self._waiting and not self._closing.is_set():
                    await self._news.park()
                if not self._waiting:
                    break
                group = [self._waiting.popleft() for _ in range(min(GROUP_MAX, len(self._waiting)))]
                await self._commit(group)
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

    async def _commit(self, group: list[_Waiting]) -> None:
        """Settle the group, however long it takes; what those wanted who have gone meanwhile is not sent again."""
        since: int | None = None  # the head before the first try whose outcome is unknown
        tries = 0
        while True:
            if self.broken:
                return self._settle(group, _failed(group, self.broken))
            group = [waiting for waiting in group if not waiting.gone]
            if not group:
                return None
            appends = [waiting.append if since is None else _again(waiting.append, since) for waiting in group]
            known = self.store.log.known()
            try:
                if not known.seq:
                    known = await self.ask(self.store.log.head)
                _mark(group, True)
                results = await self.ask(self.store.log.commit, appends, known)
                self.away = self.away_since = None
                return self._settle(group, [outcome.Value(result) for result in results])
            except Unknown as error:
                since = known.seq if since is None else since
                self._is_away(error)
            except StoreAway as error:
                _mark(group, since is not None)
                self._is_away(error)
                if isinstance(error, Declined) and since is None:
                    group = self._decline(group, error)
            except StoreUnsafe as error:
                self.broken = error
                continue
            except Exception as error:  # noqa: BLE001 - a caller's mistake must not end the task of all
                return await self._one_by_one(group, error, known)
            if self._closing.is_set() and tries:
                return self._settle(group, _failed(group, self._last_error(since is not None)))
            with trio.move_on_after(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)]):
                await self._closing.wait()
            tries += 1

    def _decline(self, group: list[_Waiting], error: Declined) -> list[_Waiting]:
        """Tell those who want to hear it that the server said no, and send theirs no more; who is left."""
        told = [waiting for waiting in group if waiting.prompt]
        answer = Declined(f"nothing was done: {error.what}", error.where, error.mend)
        self._settle(told, _failed(told, answer))
        return [waiting for waiting in group if not waiting.prompt]

    def _is_away(self, error: StoreAway) -> None:
        self.away = error
        if self.away_since is None:
            self.away_since = time.monotonic()

    def _last_error(self, unknown: bool) -> MaestroError:
        what = self.away.what if self.away else "the store is away"
        return Unknown(f"{what}; the append may or may not be in the log") if unknown else StoreAway(what)

    async def _one_by_one(self, group: list[_Waiting], error: Exception, known: Head) -> None:
        """One append of the group cannot be handled: the others must not suffer."""
        if len(group) == 1:
            return self._settle(group, [outcome.Error(error)])
        for waiting in group:
            waiting.append = _again(waiting.append, known.seq)
            await self._commit([waiting])
        return None

    def _settle(self, group: list[_Waiting], results: list[_Result]) -> None:
        for waiting, result in zip(group, results, strict=True):
            if not waiting.gone:
                trio.lowlevel.reschedule(waiting.task, result)


def unconfirmed(seconds: float) -> Unknown:
    """The error for an append that was sent, and given up without an answer."""
    what = f"not confirmed within {seconds:g} s: it may or may not take effect"
    return Unknown(what, mend=LOOK)


def _mark(group: list[_Waiting], is_sent: bool) -> None:
    for waiting in group:
        waiting.is_sent = is_sent


def _failed(group: list[_Waiting], error: MaestroError) -> list[_Result]:
    """The same error for each, as an object of its own: tasks hang their tracebacks on it."""
    return [outcome.Error(copy(error)) for _ in group]


def _again(append: Append, since: int) -> Append:
    """The same append, to be recognised where an earlier try behind `since` got through."""
    if append.resend:
        return append
    return msgspec.structs.replace(append, resend=True, since=since)
