"""One command and its answer, for a program that waits: the rows as they come, then the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from maestro import config
from maestro.config import Settings, socket_path
from maestro.library.requests import Request, message_of
from maestro.model.errors import LineageBroken, StoreAway, VerificationFailed
from maestro.runtime.client import client
from maestro.runtime.client.answers import Answer, error_of
from maestro.runtime.client.connection import Connection, dial, greet, server_frames
from maestro.runtime.protocol import frames, messages as p

T = TypeVar("T")
End = p.Done | p.Failed | p.Again

log = logging.getLogger("maestro")
LISTEN_POLL_S = 0.2
_KNOWN_BY = ("seq", "type", "subject", "at", "actor", "cause")
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


class Following:
    """Events that are followed beyond the end of a daemon. command: asks for those that have not come."""

    def __init__(self, command: p.EventsTail) -> None:
        self.command = command
        self._last: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Take note of an event that has come."""
        left = None if self.command.limit is None else self.command.limit - 1
        self.command = msgspec.structs.replace(self.command, from_position=event["seq"] + 1, limit=left)
        self._last = event

    @property
    def proof(self) -> p.EventsTail | None:
        """Asks for the last event that has come, by which the log is known again; None where none has."""
        return None if self._last is None else p.EventsTail(from_position=self._last["seq"], limit=1)

    def check(self, found: list[Any]) -> None:
        """Check the answer to that: a log that was flushed meanwhile has other events there, or none, and what is in it
        up to there would never come. Raises LineageBroken.
        """
        last = self._last
        if last is None or (found and all(found[0].get(name) == last.get(name) for name in _KNOWN_BY)):
            return
        what = f"the log has another event, or none, at position {last['seq']}, up to which it was followed"
        raise LineageBroken(what, mend="it was flushed, or has lost its end: follow its events anew, from after=0 on")


def following_of(command: p.Command) -> Following | None:
    """What a command follows, which goes on at the next daemon where its own ends; None where it follows nothing."""
    return Following(command) if isinstance(command, p.EventsTail) and command.follow else None


def answers(settings: Settings) -> bool:
    """Whether a daemon is up that shakes hands: one that ends may still listen."""
    with suppress(StoreAway):
        greeted = greet(dial(str(socket_path(settings.home, "daemon.sock"))))
        if isinstance(greeted, Connection):
            greeted.sock.close()
        return greeted is not None
    return False


def tell_of_end() -> None:
    """Log that events come no more before another daemon is up."""
    log.warning("the daemon of this node has ended: its events go on when it is up again (maestro up)")


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
    following = following_of(command)
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
            end = yield from _conversed(connection, command, message, following)
        if not isinstance(end, p.Again):
            return ended(end)
        command, message = end.command, frames.frame(end.command)
        if following is None:
            client.await_next(settings)
            continue
        tell_of_end()
        while not (answers(settings) and _is_known(following, settings)):
            time.sleep(LISTEN_POLL_S)


def _is_known(following: Following, settings: Settings) -> bool:
    """Check the log of the daemon that is up now; whether it was up to the end. Raises as `Following.check`."""
    rows: list[Any] = []
    if following.proof is not None:
        try:
            _collected(rows, rows_of(following.proof))
        except StoreAway:
            if answers(settings):
                raise
            return False
    following.check(rows)
    return True


def _conversed(
    connection: Connection, command: p.Command, message: bytes, following: Following | None
) -> Generator[Any, None, End]:
    """Send a command, and yield the rows that come; returns the end of the answer.

    A command that follows events is to be asked again, from there, where the daemon ends before that.
    """
    left = following if connection.server is None else None
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
                    if left is not None:
                        left.take(answer.data)
                    yield answer.data
                elif isinstance(answer, p.Note):
                    tell(answer)
    except TimeoutError:  # of a signal handler: the wait for an answer has none
        raise
    except OSError as error:
        if left is None:
            raise lost(error) from None
    if left is None:
        raise client.ended_early(connection, command)
    return p.Again(left.command)
