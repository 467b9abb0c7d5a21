"""Calls of the store without a thread: each in a greenlet of trio's own thread, which gives way while it waits.

The store is written for threads: plain functions that send and receive. A thread a call costs what the call itself
does, several times over, as every hand-over of the interpreter's lock is a wake-up of another thread (measured: 260
of them for one short task, half of the daemon's time). So the few calls that every run takes are carried: where the
code waits for its socket it switches to trio, which comes back when there is something to read. Nothing else changes
for it. A call that computes for long, or that waits under a lock, belongs into a thread.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import greenlet
import trio

T = TypeVar("T")

Wanted = Callable[[], Awaitable[Any]]
"""What a carried call waits for. May be asked for again where waiting for it was cancelled."""


class _Carried(greenlet.greenlet):
    """A call under way."""


async def carry(work: Callable[[], T], patient: Callable[[Wanted], Awaitable[Any]] | None = None) -> T:
    """Run a call of the store; its exceptions are raised here.

    patient: waits in its place for what the call wants, as where a cancellation must not reach it.
    """
    carried = _Carried(work)
    wanted: Any = carried.switch()
    while not carried.dead:
        try:
            given = await (patient(wanted) if patient else wanted())
        except BaseException as error:  # noqa: BLE001 - it is the call's
            wanted = carried.throw(error)
        else:
            wanted = carried.switch(given)
    return cast(T, wanted)


def is_carried() -> bool:
    """Whether the code that asks is being carried, and so must not block."""
    return isinstance(greenlet.getcurrent(), _Carried)


def _give_way(wanted: Wanted) -> Any:
    parent = greenlet.getcurrent().parent
    assert parent is not None
    return parent.switch(wanted)


def until_readable(sock: socket.socket, seconds: float) -> None:
    """Give way until the socket has something to read, or has ended. Raises TimeoutError."""
    _give_way(lambda: _in_time(trio.lowlevel.wait_readable, sock, seconds))


def until_writable(sock: socket.socket, seconds: float) -> None:
    """Give way until the socket takes more. Raises TimeoutError."""
    _give_way(lambda: _in_time(trio.lowlevel.wait_writable, sock, seconds))


async def _in_time(ready: Callable[[socket.socket], Awaitable[None]], sock: socket.socket, seconds: float) -> None:
    with trio.move_on_after(seconds) as waiting:
        try:
            await ready(sock)
        except (OSError, ValueError, trio.ClosedResourceError):
            return  # the next read or write says what has become of it
    if waiting.cancelled_caught:
        raise TimeoutError


def in_thread(work: Callable[[], T]) -> T:
    """What would block, in a thread where the caller is carried; else as it is."""
    if not is_carried():
        return work()
    return cast(T, _give_way(lambda: trio.to_thread.run_sync(work)))


def sleep(seconds: float) -> None:
    """Wait, and give way where the caller is carried."""
    if is_carried():
        _give_way(lambda: trio.sleep(seconds))
    else:
        time.sleep(seconds)
