"""Rows of an answer: sent together, in order, not held back while their command waits, whole when it is broken off."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import trio
import trio.testing

from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.frames import Unframer
from maestro.runtime.server.connection import Peer

_frames: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(p.ServerFrame)


def read(there: socket.socket, unframer: Unframer) -> list[Any]:
    """What has arrived: rows as their data, the end as the end."""
    found: list[Any] = []
    there.setblocking(False)
    try:
        while data := there.recv(1 << 20):
            found += [_frames.decode(body) for body in unframer.feed(data)]
    except BlockingIOError:
        pass
    return [each.data if isinstance(each, p.Item) else each for each in found]


def stream_of(here: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(here))


def test_rows_of_a_command_that_waits_are_sent_and_all_come_in_order() -> None:
    here, there = socket.socketpair()
    with here, there:

        async def play() -> tuple[list[Any], list[Any], list[Any]]:
            unframer, peer = Unframer(), Peer(stream_of(here))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.send_rows)
                await trio.testing.wait_all_tasks_blocked()
                for number in range(50):
                    await peer.send(p.Item(number))
                at_once = read(there, unframer)
                await trio.testing.wait_all_tasks_blocked()
                waiting = read(there, unframer)
                await peer.send(p.Item(50))
                await peer.send(p.Done())
                nursery.cancel_scope.cancel()
            return at_once, waiting, read(there, unframer)

        at_once, waiting, rest = trio.run(play)
    assert not at_once and waiting == [*range(50)]
    assert rest == [50, p.Done()]


def test_an_answer_that_is_broken_off_within_a_row_goes_on_with_the_rest_of_that() -> None:
    here, there = socket.socketpair()
    row = "x" * 1_000_000
    with here, there:

        async def play() -> list[Any]:
            unframer, peer, scope = Unframer(), Peer(stream_of(here)), trio.CancelScope()

            async def fill() -> None:
                with scope:
                    for _ in range(10):
                        await peer.send(p.Item(row))

            found: list[Any] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fill)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(peer.send, p.Failed("interrupted", 130, "interrupted"))
                while not found or not isinstance(found[-1], p.Failed):
                    await trio.testing.wait_all_tasks_blocked()
                    found += read(there, unframer)
            return found

        *rows, end = trio.run(play)
    assert rows and set(rows) == {row}
    assert end == p.Failed("interrupted", 130, "interrupted")


def test_a_client_that_is_gone_ends_the_sending_of_rows() -> None:
    here, there = socket.socketpair()
    there.close()
    with here:

        async def play() -> bool:
            peer = Peer(stream_of(here))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.send_rows)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send(p.Item(1))
            try:  # `send_rows` has returned
                await peer.send(p.Done())
            except trio.BrokenResourceError:
                return True
            return False

        assert trio.run(play)
