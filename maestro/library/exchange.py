"""One command and its answer, for a program that waits: the rows as they come, then the end."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

from maestro import config
from maestro.library.requests import Request, message_of
from maestro.model.errors import StoreAway, VerificationFailed
from maestro.runtime.client import client
from maestro.runtime.client.answers import Answer, error_of
from maestro.runtime.client.connection import Connection, server_frames
from maestro.runtime.protocol import frames, messages as p

T = TypeVar("T")
End = p.Done | p.Failed | p.Again

log = logging.getLogger("maestro")
LEVELS = {"warn": logging.WARNING, "info": logging.INFO}


def tell(note: p.Note | p.Item | p.Output) -> None:
    """Log what a command would print on stderr. Progress is for terminals."""
    if isinstance(note, p.Note):
        log.log(LEVELS.get(note.level, logging.DEBUG), "%s", note.text)


def ended(end: p.Done | p.Failed) -> p.Done:
    """The end of an answer. Raises the error that the server tells, or KeyboardInterrupt."""
    if isinstance(end, p.Failed):
        raise error_of(end)
    return end


def lost(error: OSError) -> StoreAway:
    """The error for a connection that broke."""
    return StoreAway(f"the daemon of this node does not answer: {error.strerror or error}", mend=client.SEE_LOG)


def altered() -> VerificationFailed:
    """The error behind the last event of a log that is as it was written."""
    return VerificationFailed("the next event is not what was written", mend="maestro replay verify says what it is")


def ask(request: Request[T]) -> T:
    """Have a request carried out. Raises MaestroError, as the command does."""
    rows: list[Any] = []
    done = _collected(rows, rows_of(request.command))
    return request.read(Answer(rows, done.data, done.exit_code))


def _collected(rows: list[Any], stream: Generator[Any, None, p.Done]) -> p.Done:
    """Read a stream to its end, which is returned."""
    while True:
        try:
            rows.append(next(stream))
        except StopIteration as stop:
            end: p.Done = stop.value
            return end


def rows_of(command: p.Command) -> Generator[Any, None, p.Done]:
    """The rows of a command's answer; returns its end. Closed before that, it ends the command at the server, too.

    Raises MaestroError, as the command does.
    """
    settings = config.load()
    message = message_of(command)
    while True:
        found: list[p.Note | p.Item | p.Output] = []
        try:
            connected = client.connect(command, settings, found.append, True)
        finally:
            for each in found:
                tell(each)
        yield from (each.data for each in found if isinstance(each, p.Item))
        if not isinstance(connected, Connection):
            return ended(connected)
        with connected as connection:
            for notice in connection.welcome.notices:
                tell(p.Note(notice, "warn"))
            end = yield from _conversed(connection, command, message)
        if not isinstance(end, p.Again):
            return ended(end)
        command, message = end.command, frames.frame(end.command)
        client.await_next(settings)


def _conversed(connection: Connection, command: p.Command, message: bytes) -> Generator[Any, None, End]:
    """Send a command, and yield the rows that come; returns the end of the answer."""
    try:
        with suppress(ConnectionResetError, BrokenPipeError):  # the server may have sent the reason before it closed
            connection.sock.sendall(message)
        connection.sock.settimeout(client.WAKE_S)
        with suppress(ConnectionResetError):
            for body in connection.bodies:
                answer = server_frames.decode(body)
                if isinstance(answer, End):
                    return answer
                if isinstance(answer, p.Item):
                    yield answer.data
                elif isinstance(answer, p.Note):
                    tell(answer)
    except OSError as error:
        raise lost(error) from None
    raise client.ended_early(connection, command)
