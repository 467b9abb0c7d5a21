"""Between trio and the store: appends in groups, everything else carried or in worker threads.

One task takes all appends that wait and commits them as one group; while that group is under way the next one
gathers. So one batch of a process is in flight at any time, and one whose outcome is unknown is sent again, in order,
before anything newer. While the store is away appends wait. Not so those of a command (`prompt`), whose caller is told
at once what is certain: where the store takes no writes, or stays away for PROMPT_S, and no try of it can have got
through, it is dropped. A log that is not the one this process knows ends everything, for good.
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

import outcome
import trio

from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe, Unknown
from maestro.store.contract import Append, AppendResult, Head, Store
from maestro.store.cooperative import Wanted, carry
from maestro.store.redis.connection import Denied
from maestro.store.waiting_append import PROMPT_S, Waiting, again, unconfirmed, undone

T = TypeVar("T")
GROUP_MAX = 500
BACKOFF_S = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
THREADS_MAX = 64

_Result = outcome.Outcome[AppendResult]


class Gateway:
    """Brings a store to trio. `async with Gateway(store) as gateway`; the store stays the caller's to close.

    away_since: `time.monotonic()` at which the store was found to be away, None while it is there; away: the error
    that said so. broken: the error that ended it for good.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away_since: float | None = None
        self.away: StoreAway | None = None
        self.broken: MaestroError | None = None
        self._waiting: deque[Waiting] = deque()
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

    async def append(self, append: Append, deadline_s: float = math.inf, prompt: bool = False) -> AppendResult:
        """Append; waits while the store is away. Not cancellable: an append that was asked for is settled.

        deadline_s: seconds after which `Unknown` is raised though it is still being tried. prompt: it is dropped, and
        `StoreAway` raised, where the store takes no writes or stays away. Raises what `broken` holds once the log is
        not ours any more, `StoreAway` or `Unknown` when the gateway gives up.
        """
        until = trio.current_time() + PROMPT_S if prompt else math.inf
        waiting = Waiting(append, trio.lowlevel.current_task(), until)

        def abort(_: Callable[[], Never]) -> trio.lowlevel.Abort:
            waiting.gone = True
            return trio.lowlevel.Abort.SUCCEEDED

        if self._closing.is_set():
            raise copy(self.broken) if self.broken else StoreAway("the store's gateway is closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + deadline_s):
            self._waiting.append(waiting)
            self._news.unpark_all()
            result: AppendResult = await trio.lowlevel.wait_task_rescheduled(abort)
            return result
        if prompt and not waiting.unsure:
            raise undone(self.away)
        raise unconfirmed(deadline_s)

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

    async def _commit(self, group: list[Waiting]) -> list[_Result]:
        """The group's results, however long it takes. What is dropped meanwhile is told so, and leaves the group."""
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
                return [outcome.Value(result) for result in results]
            except Unknown as error:
                unknown = True
                for waiting in group:
                    waiting.append = again(waiting.append, known.seq)
                self._is_away(error)
                self._drop(group)
            except StoreAway as error:
                self._is_away(error)
                self._drop(group, isinstance(error, Denied))
            except StoreUnsafe as error:
                self.broken = error
                continue
            except Exception as error:  # noqa: BLE001 - a caller's mistake must not end the task of all
                return await self._one_by_one(group, error, known)
            if not group:
                return []
            if self._closing.is_set() and tries:
                return _failed(group, self._last_error(unknown))
            with trio.move_on_after(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)]):
                await self._closing.wait()
            tries += 1

    async def _send(self, group: list[Waiting], known: Head) -> list[AppendResult]:
        """One try. Those of which no earlier one is unknown are unsure for as long as it takes, or for good."""
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

    def _drop(self, group: list[Waiting], denied: bool = False) -> list[Waiting]:
        """Tell those that are not tried again, of the group and behind it; the group without them, the same list."""
        dropped = [waiting for waiting in (*group, *self._waiting) if waiting.is_dropped(denied)]
        if dropped:
            group[:] = [waiting for waiting in group if waiting not in dropped]
            self._waiting = deque(waiting for waiting in self._waiting if waiting not in dropped)
            self._settle(dropped, [outcome.Error(undone(self.away)) for _ in dropped])
        return group

    def _is_away(self, error: StoreAway) -> None:
        self.away = error
        if self.away_since is None:
            self.away_since = time.monotonic()

    def _last_error(self, unknown: bool) -> MaestroError:
        what = self.away.what if self.away else "the store is away"
        return Unknown(f"{what}; the append may or may not be in the log") if unknown else StoreAway(what)

    async def _one_by_one(self, group: list[Waiting], error: Exception, known: Head) -> list[_Result]:
        """One append of the group cannot be handled: the others must not suffer."""
        if len(group) == 1:
            return [outcome.Error(error)]
        results: list[_Result] = []
        for waiting in group:
            waiting.append = again(waiting.append, known.seq)
            results += await self._commit([waiting])
        return results

    def _settle(self, group: list[Waiting], results: list[_Result]) -> None:
        for waiting, result in zip(group, results, strict=True):
            if not waiting.gone:
                trio.lowlevel.reschedule(waiting.task, result)


def _failed(group: list[Waiting], error: MaestroError) -> list[_Result]:
    """The same error for each, as an object of its own: tasks hang their tracebacks on it."""
    return [outcome.Error(copy(error)) for _ in group]
