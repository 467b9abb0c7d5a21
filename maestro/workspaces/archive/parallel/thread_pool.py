"""Threads that share the work of a snapshot: reading, hashing and compressing let go of the interpreter's lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Hand = TypeVar("Hand")
Job = Callable[[Hand], None]
THREADS_MAX = 16
_BEGUN_MAX, _OFFERED_MAX = 32, 8
_TICK_S = 0.1


def threads() -> int:
    """How many threads share the work: one a core, two at least."""
    return max(2, min(THREADS_MAX, cores()))


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _no_tick() -> None:
    """Nobody wants to know."""


class Crew(Generic[Hand]):
    """Threads with something of their own each (a `Hand`), and jobs for them. The first failure ends it all.

    What a job offered is done before anything else is begun, as it holds what was read; whoever waits for the crew
    helps with it. tick: called now and then where the crew is waited for; what it raises ends the work.
    A context: leaving it waits for every job. With an exception, jobs that have not begun are dropped.
    """

    def __init__(
        self,
        hand: Callable[[], Hand],
        close: Callable[[Hand], None] | None = None,
        tick: Callable[[], None] = _no_tick,
    ) -> None:
        self._hand, self._close, self._tick = hand, close, tick
        lock = threading.Lock()
        self._given, self._done = threading.Condition(lock), threading.Condition(lock)
        self._begun: deque[Job[Hand]] = deque()
        self._offered: deque[Job[Hand]] = deque()
        self._unfinished = 0
        self._is_over = False
        self._failure: BaseException | None = None
        self._mine: Hand | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads())]
        for thread in self._threads:
            thread.start()

    def mine(self) -> Hand:
        """The hand of the thread that made the crew."""
        if self._mine is None:
            self._mine = self._hand()
        return self._mine

    def submit(self, job: Job[Hand]) -> None:
        """Have a job done; helps where too many are waiting. Raises what another job raised, and what `tick` does."""
        self.go_on()
        while not self._put(self._begun, _BEGUN_MAX, job):
            self._help()
            self.go_on()

    def offer(self, job: Job[Hand]) -> bool:
        """For a part of a job, from inside it: False where too many are waiting, or nobody is there any more."""
        return not self._is_over and self._put(self._offered, _OFFERED_MAX, job)

    def go_on(self) -> None:
        """For a long job to ask now and then: raises what has ended the others, so that it ends too."""
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Until every job is done, what jobs offered too. Raises what one of them raised, and what `tick` does."""
        while self._unfinished:
            self._help()
        self.go_on()

    def _put(self, jobs: deque[Job[Hand]], most: int, job: Job[Hand]) -> bool:
        with self._given:
            if len(jobs) >= most:
                return False
            jobs.append(job)
            self._unfinished += 1
            self._given.notify()
        return True

    def _help(self) -> None:
        """Do what somebody has offered, or wait for a moment."""
        with self._done:
            job = self._offered.popleft() if self._offered else None
            if job is None and self._unfinished:
                self._done.wait(_TICK_S)
        if job is not None:
            self._do(job, self.mine)
        self._tick()

    def _work(self) -> None:
        hands: list[Hand] = []

        def mine() -> Hand:
            if not hands:
                hands.append(self._hand())
            return hands[0]

        while True:
            with self._given:
                while not (self._offered or self._begun or self._is_over):
                    self._given.wait()
                if not (self._offered or self._begun):
                    break
                job = (self._offered or self._begun).popleft()
            self._do(job, mine)
        for hand in hands:
            self._end(hand)

    def _do(self, job: Job[Hand], hand: Callable[[], Hand]) -> None:
        try:
            if self._failure is None:
                job(hand())
        except BaseException as failure:  # noqa: BLE001 - raised again where the crew is awaited
            self._failure = self._failure or failure
        finally:
            with self._done:
                self._unfinished -= 1
                self._done.notify()

    def __enter__(self) -> Crew[Hand]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._failure is None:
            self._failure = error
        with self._given:
            self._is_over = True
            self._given.notify_all()
        for thread in self._threads:
            thread.join()
        if self._mine is not None:
            self._end(self._mine)
        if error is None and self._failure is not None:
            raise self._failure

    def _end(self, hand: Hand) -> None:
        if self._close is None or self._failure is not None:
            return
        try:
            self._close(hand)
        except BaseException as failure:  # noqa: BLE001 - as above
            self._failure = self._failure or failure
