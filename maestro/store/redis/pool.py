"""The connections of a store: kept, lent to one thread at a time, and opened again after the server was away.

Calls here are reads, or writes that may be repeated (leases, hints, rows behind a checkpoint); they are tried a second
time on a new connection. Appends must not be repeated: `log.py` sends them once, with `send_once`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, TypeVar

from maestro.model.errors import StoreAway
from maestro.store import cooperative
from maestro.store.redis.connection import (
    Command,
    Connection,
    NoScript,
    ReplyLost,
    ReplyTimeout,
    Word,
    WrongType,
    checked,
    packed,
)
from maestro.store.redis.refusals import Moved, ServerBusy

T = TypeVar("T")
log = logging.getLogger("maestro")
PATIENCE_S = 4.0
WAKE_S = 2.0


class Script:
    """A Lua script in this folder, known to the server by its SHA-1 digest."""

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name(name).read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest()

    def run(self, connection: Connection, keys: Sequence[str], args: Sequence[Word]) -> Any:
        """Run the script and return its result."""
        self.send(connection, keys, args)
        return self.settle(connection, keys, args, connection.receive())

    def run_all(self, connection: Connection, calls: Sequence[tuple[Sequence[str], Sequence[Word]]]) -> list[Any]:
        """Run the script once for each of these keys and arguments, all sent together; the results."""
        replies = connection.many([("EVALSHA", self.digest, len(keys), *keys, *args) for keys, args in calls])
        return [self.settle(connection, *call, reply) for call, reply in zip(calls, replies, strict=True)]

    def send(self, connection: Connection, keys: Sequence[str], args: Sequence[Word]) -> None:
        """Send the call of the script, without waiting for its reply."""
        connection.send(packed(("EVALSHA", self.digest, len(keys), *keys, *args)))

    def settle(self, connection: Connection, keys: Sequence[str], args: Sequence[Word], reply: Any) -> Any:
        """The result in the script's reply; sends the script's text to a server that does not have it (any more)."""
        try:
            return checked(reply)
        except NoScript:
            return connection.call("EVAL", self.text, len(keys), *keys, *args)


class _Blocked:
    """A blocking call in progress. woken: the call is to return."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.woken = False


class ConnectionPool:
    """All connections of one store object.

    dial: opens a connection, to the given node of a cluster or, for "", to the server of the URL.
    check: checks each new connection before it is used (the lineage of the log).
    Both raise `StoreAway` or `StoreUnsafe`.
    """

    def __init__(self, dial: Callable[[str], Connection], check: Callable[[Connection], None]) -> None:
        self._dial = dial
        self._check = check
        self._lock = Lock()
        self._idle: list[Connection] = []
        self._blocked: set[_Blocked] = set()
        self._closed = False
        self._node = ""

    def fresh(self) -> Connection:
        """Open and check a new connection. Never raises `ReplyLost`: no command of the caller was sent yet."""
        if self._closed:
            raise StoreAway("the store was closed")
        node, self._node = self._node, ""
        connection = cooperative.in_thread(lambda: self._dial(node))
        self._node = node
        try:
            self._check(connection)
        except ReplyLost as lost:
            connection.close()
            raise StoreAway(lost.what, mend=lost.mend) from lost
        except BaseException:
            connection.close()
            raise
        return connection

    def take(self) -> Connection:
        """A connection for the caller alone, who gives it back or closes it."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            return self.fresh()
        if connection.stale():
            connection.close()
            self.forget()
            return self.fresh()
        return connection

    @contextmanager
    def lend(self) -> Iterator[Connection]:
        """Lend a connection for the length of a block; one that failed is closed."""
        connection = self.take()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self.give(connection)

    def give(self, connection: Connection) -> None:
        """Take a connection back."""
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def forget(self) -> None:
        """Close the idle connections, as their server is gone."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def send_once(self, work: Callable[[Connection], T]) -> T:
        """Run work that must not be repeated. Raises `ReplyLost` when it may or may not have been executed."""
        connection = self.take()
        try:
            done = work(connection)
        except ServerBusy:
            self.give(connection)
            raise
        except Moved as moved:
            connection.close()
            self.forget()
            self._node = moved.address
            with self.lend() as there:
                return work(there)
        except BaseException as error:
            connection.close()
            if isinstance(error, ReplyLost):
                self.forget()
            raise
        self.give(connection)
        return done

    def run(self, work: Callable[[Connection], T], stop: Callable[[], bool] = lambda: False, repeat: bool = True) -> T:
        """Run work that may be repeated (unless `repeat` is off); waits while the server is busy loading.

        stop: returns True to stop retrying.
        """
        until = time.monotonic() + PATIENCE_S
        lost = not repeat
        while True:
            try:
                return self.send_once(work)
            except ReplyLost as error:
                if lost or stop() or isinstance(error, ReplyTimeout):
                    raise
                lost = True
            except ServerBusy:
                if time.monotonic() > until or stop():
                    raise
                cooperative.sleep(0.05)

    def call(self, *command: Word) -> Any:
        """Send one command that may be repeated, and return its reply."""
        return self.run(lambda connection: connection.call(*command))

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that may be repeated, together. Raises the first error among the replies."""
        return self.run(lambda connection: [checked(reply) for reply in connection.many(commands)])

    def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands that may be repeated as one transaction (MULTI/EXEC)."""
        replies: list[Any] = self.many([("MULTI",), *commands, ("EXEC",)])[-1]
        return [checked(reply) for reply in replies]

    def scan(self, node_key: str, pattern: str, count: int) -> Iterator[list[bytes]]:
        """The keys that match a pattern, in lists.

        node_key: a key on the node of the cluster to scan, as SCAN itself names no key.
        """
        self.call("EXISTS", node_key)
        cursor = b"0"
        while True:
            cursor, found = self.call("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            if found:
                yield found
            if cursor == b"0":
                return

    def with_type(self, keys: Sequence[str], kind: bytes, work: Callable[[], T]) -> T:
        """Run work on keys that may be lost; a key of another type is first renamed out of the way, not deleted.

        kind: the type that the keys must have.
        """
        try:
            return work()
        except WrongType:
            for key in keys:
                found = self.call("TYPE", key)
                if found not in (kind, b"none"):
                    aside = f"{key}:aside:{token_hex(4)}"
                    self.call("RENAME", key, aside)
                    log.warning("%s was a %s, which lies at %s now", key, found.decode(), aside)
            return work()

    def script(self, script: Script, keys: Sequence[str], args: Sequence[Word]) -> Any:
        """Run a script that may be repeated."""
        return self.run(lambda connection: script.run(connection, keys, args))

    def block(self, command: Command, block_ms: int, repeat: bool = True) -> Any:
        """Send a blocking command on a connection of its own; None when it timed out, {} when it was woken.

        repeat: off where a second call would not return what the first did; then `ReplyLost` is raised.
        """
        blocked = _Blocked()

        def work(connection: Connection) -> Any:
            blocked.connection = connection
            found = None if blocked.woken else connection.block(command, block_ms)
            return {} if found is None and blocked.woken else found

        with self._lock:
            self._blocked.add(blocked)
        try:
            return self.run(work, lambda: blocked.woken, repeat)
        except StoreAway:
            if blocked.woken and not self._closed:
                return {}
            raise
        finally:
            with self._lock:
                self._blocked.discard(blocked)

    def wake(self) -> None:
        """End the blocking calls that are in progress now.

        An unblock that arrives before the server has seen the blocking command has no effect, so it is repeated until
        each call has returned; after WAKE_S (a server that does not answer) their sockets are shut down.
        """
        with self._lock:
            waiting = set(self._blocked)
            for blocked in waiting:
                blocked.woken = True
        until = time.monotonic() + WAKE_S
        while waiting and time.monotonic() < until:
            blocking = [blocked.connection for blocked in waiting if blocked.connection]
            try:
                with self.lend() as connection:
                    connection.many([("CLIENT", "UNBLOCK", other.client_id) for other in blocking])
            except StoreAway:
                break
            time.sleep(0.001)
            with self._lock:
                waiting &= self._blocked
        for blocked in waiting:
            if blocked.connection:
                blocked.connection.shut()

    def close(self) -> None:
        """End the blocking calls and close all connections."""
        self.wake()
        with self._lock:
            self._closed = True
        self.forget()
