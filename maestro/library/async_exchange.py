"""One command and its answer, for a program on trio or asyncio: no thread is held while it waits.

Only finding the server, which may have to be started first, is done in a thread.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from maestro import config
from maestro.config import Settings
from maestro.library.exchange import (
    LISTEN_POLL_S,
    End,
    Following,
    answers,
    ended,
    following_of,
    lost,
    tell,
    tell_of_end,
)
from maestro.library.requests import Request, message_of
from maestro.model.errors import StoreAway
from maestro.runtime.client import client
from maestro.runtime.client.answers import Answer
from maestro.runtime.client.connection import Connection, server_frames
from maestro.runtime.protocol import frames, messages as p

T = TypeVar("T")
RECEIVE_BYTES = 256 * 1024


class _Finding:
    """Finds the server for a command, in a thread. Given up, what is found afterwards is closed at once."""

    def __init__(self, command: p.Command, settings: Settings) -> None:
        self._command = command
        self._settings = settings
        self.given_up = False
        self.notes: list[p.Note | p.Item | p.Output] = []

    def find(self) -> Connection | p.Done | p.Failed:
        """As `client.connect`. Blocks."""
        connected = client.connect(self._command, self._settings, self.notes.append, True)
        if self.given_up and isinstance(connected, Connection):
            connected.sock.close()
        return connected

    async def found(self) -> Connection | p.Done | p.Failed:
        """As `find`; may be cancelled."""
        try:
            return await anyio.to_thread.run_sync(self.find, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self.given_up = True
            raise
        finally:
            for each in self.notes:
                tell(each)


async def ask(request: Request[T]) -> T:
    """Have a request carried out. Raises MaestroError, as the command does. Cancelled, it ends the command, too."""
    rows: list[Any] = []
    async with aclosing(frames_of(request.command)) as answer:
        async for each in answer:
            if isinstance(each, p.Done):
                return request.read(Answer(rows, each.data, each.exit_code))
            rows.append(each.data)
    raise AssertionError("an answer has an end")


async def frames_of(command: p.Command) -> AsyncGenerator[p.Item | p.Done, None]:
    """The rows of a command's answer, and its end. Closed before that, it ends the command at the server, too.

    Raises MaestroError, as the command does.
    """
    settings = config.load()
    message = message_of(command)
    following = following_of(command)
    while True:
        finding = _Finding(command, settings)
        connected = await finding.found()
        for each in finding.notes:
            if isinstance(each, p.Item):
                yield each
        if not isinstance(connected, Connection):
            yield ended(connected)
            return
        async with aclosing(_conversed(connected, command, message, following)) as conversed:
            async for answer in conversed:
                if isinstance(answer, p.Item):
                    yield answer
                else:
                    end = answer
        if not isinstance(end, p.Again):
            yield ended(end)
            return
        command, message = end.command, frames.frame(end.command)
        if following is None:
            await anyio.to_thread.run_sync(client.await_next, settings, abandon_on_cancel=True)
            continue
        tell_of_end()
        while not (await _answers_now(settings) and await _is_known(following, settings)):
            await anyio.sleep(LISTEN_POLL_S)


async def _answers_now(settings: Settings) -> bool:
    return await anyio.to_thread.run_sync(answers, settings, abandon_on_cancel=True)


async def _is_known(following: Following, settings: Settings) -> bool:
    """As that of `exchange`."""
    rows: list[Any] = []
    if following.proof is not None:
        try:
            async with aclosing(frames_of(following.proof)) as answer:
                rows = [each.data async for each in answer if isinstance(each, p.Item)]
        except StoreAway:
            if await _answers_now(settings):
                raise
            return False
    following.check(rows)
    return True


async def _conversed(
    connection: Connection, command: p.Command, message: bytes, following: Following | None
) -> AsyncGenerator[p.Item | p.Done | p.Failed | p.Again, None]:
    """As that of `exchange`: yields the rows that come, and last the end of the answer. Closes the connection."""
    left = following if connection.server is None else None
    try:
        for notice in connection.welcome.notices:
            tell(p.Note(notice, "warn"))
        async with aclosing(_answers(connection.sock, message)) as arriving:
            async for answer in arriving:
                if isinstance(answer, p.Item):
                    if left is not None:
                        left.take(answer.data)
                    yield answer
                elif isinstance(answer, p.Note):
                    tell(answer)
                elif isinstance(answer, End):
                    yield answer
                    return
    except StoreAway:
        if left is None:
            raise
    finally:
        await _close(connection)
    if left is None:
        raise client.ended_early(connection, command)
    yield p.Again(left.command)


async def _answers(sock: socket.socket, message: bytes) -> AsyncGenerator[p.ServerFrame, None]:
    """Send a message; yields what comes, until the server closes. Raises StoreAway where the connection breaks."""
    sock.setblocking(False)
    unframer = frames.Unframer()
    left = memoryview(message)
    try:
        while left:
            try:
                left = left[sock.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(sock)
            except (ConnectionResetError, BrokenPipeError):  # the server may have sent the reason before it closed
                break
        while True:
            await anyio.wait_readable(sock)
            try:
                data = sock.recv(RECEIVE_BYTES)
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return
            if not data:
                return
            for body in unframer.feed(data):
                yield server_frames.decode(body)
    except OSError as error:
        raise lost(error) from None


async def _close(connection: Connection) -> None:
    """Close a connection, also when cancelled; a server in this process closes its store, then."""
    connection.sock.close()
    if connection.server is not None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(connection.server.join)
