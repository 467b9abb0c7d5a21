"""Store calls without a thread: each runs in a greenlet of trio's thread and yields to trio while it waits.

The store is written for threads: plain functions that send and receive. A thread per call costs several times what the
call itself does, as every hand-over of the interpreter's lock wakes another thread (measured: 260 wake-ups for one
short task, half of the daemon's time). So the few calls that every run makes run in a greenlet: where the code waits
for its socket it switches to trio, which resumes it when the socket is ready. The rest of the code stays the same. A
call that computes for long, or that waits under a lock, belongs in a thread.

trio is imported where it is needed: a command that only reads uses the store without it, and starts the sooner.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import greenlet

T = TypeVar("T")

Wanted = Callable[[], Awaitable[Any]]
"""Returns what a store call in a greenlet waits for. It may be called again after its wait was cancelled."""


class _StoreCall(greenlet.greenlet):
    """A store call that is running in a greenlet."""


async def run_in_greenlet(work: Callable[[], T], patient: Callable[[Wanted], Awaitable[Any]] | None = None) -> T:
    """Run a store call in a greenlet and return its result; its exceptions are raised here.

    patient: awaits what the call waits for in place of a plain await, for instance to keep a cancellation from the
    call.
    """
    running = _StoreCall(work)
    wanted: Any = running.switch()
    while not running.dead:
        try:
            given = await (patient(wanted) if patient else wanted())
        except BaseException as error:  # noqa: BLE001 - the exception belongs to the call
            wanted = running.throw(error)
        else:
            wanted = running.switch(given)
    return cast(T, wanted)


def in_greenlet() -> bool:
    """Whether the calling code runs in such a greenlet, and so must not block."""
    return isinstance(greenlet.getcurrent(), _StoreCall)


def _give_way(wanted: Wanted) -> Any:
    """Switch to trio until `wanted` has been awaited; returns its result."""
    parent = greenlet.getcurrent().parent
    assert parent is not None
    return parent.switch(wanted)


def until_readable(sock: socket.socket, seconds: float) -> None:
    """Yield to trio until the socket is readable or at its end. Raises TimeoutError."""
    import trio

    _give_way(lambda: _in_time(trio.lowlevel.wait_readable, sock, seconds))


def until_writable(sock: socket.socket, seconds: float) -> None:
    """Yield to trio until the socket is writable. Raises TimeoutError."""
    import trio

    _give_way(lambda: _in_time(trio.lowlevel.wait_writable, sock, seconds))


async def _in_time(ready: Callable[[socket.socket], Awaitable[None]], sock: socket.socket, seconds: float) -> None:
    import trio

    with trio.move_on_after(seconds) as waiting:
        try:
            await ready(sock)
        except (OSError, ValueError, trio.ClosedResourceError):
            return  # the next read or write raises the error of the socket
    if waiting.cancelled_caught:
        raise TimeoutError


def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work: in a thread where the caller runs in a greenlet, else directly."""
    if not in_greenlet():
        return work()
    import trio

    return cast(T, _give_way(lambda: trio.to_thread.run_sync(work)))


def sleep(seconds: float) -> None:
    """Sleep, and yield to trio where the caller runs in a greenlet."""
    if in_greenlet():
        import trio

        _give_way(lambda: trio.sleep(seconds))
    else:
        time.sleep(seconds)
