"""A thread pool for archives: reading, hashing and compressing release the interpreter's lock."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Resource = TypeVar("Resource")
Job = Callable[[Resource], None]
THREADS_MAX = 16
_SUBMITTED_MAX, _OFFERED_MAX = 32, 8
_TICK_S = 0.1


def threads() -> int:
    """The number of threads of a pool: one for each core, at least two."""
    return max(2, min(THREADS_MAX, cores()))


def cores() -> int:
    """The number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def _ignore_tick() -> None:
    """The default of `tick`."""


class ThreadPool(Generic[Resource]):
    """Threads, each with a resource of its own, and jobs for them. The first failure ends all work.

    Follow-up jobs (`offer`) run before any other job, because they hold file data in memory; a thread that waits for
    the pool runs them too. A context: leaving it waits for every job. With an exception, jobs that have not begun are
    dropped.

    make: makes a thread's resource, before its first job.
    close: called with each resource at the end, unless a job failed.
    tick: called about every 0.1 s by the thread that waits for the pool; what it raises ends the work.
    """

    def __init__(
        self,
        make: Callable[[], Resource],
        close: Callable[[Resource], None] | None = None,
        tick: Callable[[], None] = _ignore_tick,
    ) -> None:
        self._make, self._close, self._tick = make, close, tick
        lock = threading.Lock()
        self._added, self._finished = threading.Condition(lock), threading.Condition(lock)
        self._submitted: deque[Job[Resource]] = deque()
        self._offered: deque[Job[Resource]] = deque()
        self._unfinished = 0
        self._is_over = False
        self._failure: BaseException | None = None
        self._own: Resource | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads())]
        for thread in self._threads:
            thread.start()

    def own_resource(self) -> Resource:
        """The resource of the thread that made the pool."""
        if self._own is None:
            self._own = self._make()
        return self._own

    def submit(self, job: Job[Resource]) -> None:
        """Queue a job; where the queue is full, run follow-up jobs meanwhile.

        Raises what another job or `tick` raised.
        """
        self.raise_failure()
        while not self._put(self._submitted, _SUBMITTED_MAX, job):
            self._help()
            self.raise_failure()

    def offer(self, job: Job[Resource]) -> bool:
        """Queue a follow-up job from inside a job. False where too many are queued, or the pool is closing."""
        return not self._is_over and self._put(self._offered, _OFFERED_MAX, job)

    def raise_failure(self) -> None:
        """Raise the failure that ended the other jobs, if any.

        A long job calls this now and then, so that it ends too.
        """
        if self._failure is not None:
            raise self._failure

    def wait(self) -> None:
        """Wait until every job is done, follow-up jobs too. Raises what one of them or `tick` raised."""
        while self._unfinished:
            self._help()
        self.raise_failure()

    def _put(self, jobs: deque[Job[Resource]], most: int, job: Job[Resource]) -> bool:
        with self._added:
            if len(jobs) >= most:
                return False
            jobs.append(job)
            self._unfinished += 1
            self._added.notify()
        return True

    def _help(self) -> None:
        """Run a follow-up job, or wait for a moment."""
        with self._finished:
            job = self._offered.popleft() if self._offered else None
            if job is None and self._unfinished:
                self._finished.wait(_TICK_S)
        if job is not None:
            self._do(job, self.own_resource)
        self._tick()

    def _work(self) -> None:
        made: list[Resource] = []

        def own_resource() -> Resource:
            if not made:
                made.append(self._make())
            return made[0]

        while True:
            with self._added:
                while not (self._offered or self._submitted or self._is_over):
                    self._added.wait()
                if not (self._offered or self._submitted):
                    break
                job = (self._offered or self._submitted).popleft()
            self._do(job, own_resource)
        for resource in made:
            self._end(resource)

    def _do(self, job: Job[Resource], resource: Callable[[], Resource]) -> None:
        try:
            if self._failure is None:
                job(resource())
        except BaseException as failure:  # noqa: BLE001 - `raise_failure` and `__exit__` raise it again
            self._failure = self._failure or failure
        finally:
            with self._finished:
                self._unfinished -= 1
                self._finished.notify()

    def __enter__(self) -> ThreadPool[Resource]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._failure is None:
            self._failure = error
        with self._added:
            self._is_over = True
            self._added.notify_all()
        for thread in self._threads:
            thread.join()
        if self._own is not None:
            self._end(self._own)
        if error is None and self._failure is not None:
            raise self._failure

    def _end(self, resource: Resource) -> None:
        if self._close is None or self._failure is not None:
            return
        try:
            self._close(resource)
        except BaseException as failure:  # noqa: BLE001 - `__exit__` raises it again
            self._failure = self._failure or failure
