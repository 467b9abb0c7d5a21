"""Threads that share the work of a snapshot: reading, hashing and compressing let go of the interpreter's lock."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Hand = TypeVar("Hand")
THREADS_MAX = 16
_QUEUE_MAX = 32
_TICK_S = 0.1


def threads() -> int:
    """How many threads share the work: one a core, two at least."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(2, min(THREADS_MAX, cores))


class Crew(Generic[Hand]):
    """Threads with something of their own each (a `Hand`), and jobs for them. The first failure ends it all.

    A context: leaving it waits for every job. With an exception, jobs that have not begun are dropped.
    """

    def __init__(self, hand: Callable[[], Hand], close: Callable[[Hand], None] | None = None) -> None:
        self._hand, self._close = hand, close
        self._jobs: queue.Queue[Callable[[Hand], None] | None] = queue.Queue(_QUEUE_MAX)
        self._failure: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads())]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[Hand], None]) -> None:
        """Have a job done; waits where too many are waiting. Raises what an earlier job raised."""
        self.go_on()
        self._jobs.put(job)

    def offer(self, job: Callable[[Hand], None]) -> bool:
        """As `submit`, from inside a job: False instead of waiting."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def go_on(self) -> None:
        """For a long job to ask now and then: raises what has ended the others, so that it ends too."""
        if self._failure is not None:
            raise self._failure

    def wait(self, tick: Callable[[], None]) -> None:
        """Until every job is done, those too that jobs offered; `tick` is called every now and then.

        Raises what one of them raised, and what `tick` does.
        """
        while True:
            with self._jobs.all_tasks_done:
                if self._jobs.unfinished_tasks:
                    self._jobs.all_tasks_done.wait(_TICK_S)
                if not self._jobs.unfinished_tasks:
                    break
            tick()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Crew[Hand]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._failure is None:
            self._failure = error
        self._jobs.join()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        hand: Hand | None = None
        while True:
            job = self._jobs.get()
            try:
                if job is None:
                    break
                if self._failure is None:
                    hand = self._hand() if hand is None else hand
                    job(hand)
            except BaseException as failure:  # noqa: BLE001 - raised again where the crew is awaited
                self._failure = self._failure or failure
            finally:
                self._jobs.task_done()
        self._end(hand)

    def _end(self, hand: Hand | None) -> None:
        if hand is None or self._close is None or self._failure is not None:
            return
        try:
            self._close(hand)
        except BaseException as failure:  # noqa: BLE001 - as above
            self._failure = self._failure or failure
