"""One connection to the server: opened by `dialler`, parsed by hiredis, its error replies raised as our exceptions.

redis-py knows TLS and Sentinel, but its command layer would cost three times what a call to a local server takes, and
it repeats commands by itself. So its socket is taken over once it is connected: what is sent here is sent once.
"""

from __future__ import annotations

import math
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from maestro.model.errors import LineageBroken, StoreAway, StoreUnsafe
from maestro.store import cooperative
from maestro.store.redis.refusals import Moved, ServerBusy, WritesRefused

RECEIVE_BYTES = 1 << 18
FRESH_S = 0.2
"""A connection that was used this short a time ago is reused without a check whether it has ended."""
NOT_REDIS = "what answers there does not speak Redis's protocol"
_MORE = object()
# hiredis's type stub says tuple[x] for tuple[x, ...].
_pack: Callable[[Sequence[Word]], bytes] = cast(Any, hiredis.pack_command)

Word = bytes | str | int
Command = tuple[Word, ...]


class ReplyLost(StoreAway):
    """The connection ended between a command and its reply: the command may have been executed."""

    code = "unknown"


class ReplyTimeout(ReplyLost):
    """The server did not reply in time. Sending the same command again at once is of no use."""


class WrongType(StoreUnsafe):
    """A key holds another type than it must: another program wrote it."""


class NoScript(Exception):
    """The server does not know the script (it was restarted or flushed): send its text."""


class NoGroup(Exception):
    """A stream or its consumer group does not exist (any more)."""


def exception_of(error: Exception) -> Exception:
    """The exception for an error reply. Every error named here says that the command was *not* executed."""
    text = str(error)
    prefix, _, rest = text.partition(" ")
    match prefix:
        case "NOSCRIPT":
            return NoScript(text)
        case "NOGROUP" | "UNBLOCKED":  # UNBLOCKED since Redis 7.0: the stream was deleted during the call
            return NoGroup(text)
        case "LINEAGE":
            return LineageBroken(
                f"this is not the log that was known: {rest}",
                mend="stop, find out what the store lost, then `maestro doctor --accept-loss`",
            )
        case "LOADING" | "BUSY" | "TRYAGAIN" | "ASK" | "MASTERDOWN" | "CLUSTERDOWN":
            return ServerBusy(f"the store is not ready: {text}", mend="wait for it, or look into its log")
        case "OOM":
            return WritesRefused("the store is out of memory (maxmemory)", mend="give it memory, then it goes on")
        case "MISCONF" | "NOREPLICAS":
            return WritesRefused(f"the store refuses writes: {rest}", mend="look at its disk and its replicas")
        case "READONLY":
            return WritesRefused(
                "the server is a replica and takes no writes", mend="set MAESTRO_REDIS_URL to the primary"
            )
        case "MOVED":
            return Moved(text, rest.rpartition(" ")[2])
        case "NOPERM":
            # imported only where it is needed, for a user without rights
            from maestro.store.redis.safety import acl_rule

            rights = " ".join(acl_rule("USER", "NAMESPACE", "PASSWORD"))
            return StoreUnsafe(f"the store refuses this user: {text}", mend=f"as its administrator: {rights}")
        case "NOAUTH" | "WRONGPASS":
            return StoreUnsafe(f"the store refuses this user: {text}", mend="check user and password in the URL")
        case "WRONGTYPE":
            return WrongType(f"a key is not what it must be: {rest}", mend="use a namespace of its own")
        case _:
            return StoreUnsafe(f"the store answered: {text}")


def packed(command: Command) -> bytes:
    """The bytes of a command on the wire."""
    return _pack(command)


def checked(reply: Any) -> Any:
    """A reply, or for an error reply its exception raised."""
    if isinstance(reply, Exception):
        raise exception_of(reply)
    return reply


class Connection:
    """A connected socket that speaks RESP3 in bytes. For one thread at a time.

    close: closes the socket.
    timeout_s: how long a reply may take.
    replicas: how many replicas the server had at the greeting.
    wait_after: time (monotonic) from which appends wait for a replica again.
    Raises `StoreAway` before a command is sent, `ReplyLost` after.
    """

    def __init__(self, sock: socket.socket, close: Callable[[], object], timeout_s: float) -> None:
        self._close = close
        self._sock = sock
        self._timeout_s = timeout_s
        self._patience_s = timeout_s
        self._is_greeting = False
        self._is_plain = not isinstance(self._sock, ssl.SSLSocket)
        self._sock.settimeout(None)
        self._wait_at_most(timeout_s)
        self._reader: Any = hiredis.Reader(notEnoughData=_MORE)
        self._buffer = memoryview(bytearray(RECEIVE_BYTES))
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)
        self._used = 0.0
        self.client_id = 0
        self.replicas = 0
        self.wait_after = 0.0

    def greet(self, user: str | None, password: str | None, database: int, within_s: float) -> None:
        """Shake hands: protocol version 3, credentials, database.

        within_s: how long each whole reply may take; a peer that is no Redis server may send a byte now and then for
        ever.
        """
        self._wait_at_most(min(within_s, self._timeout_s))
        self._is_greeting = True
        login = ("AUTH", user or "default", password) if password else ()
        hello = self.call("HELLO", "3", *login, "SETNAME", "maestro")
        if not isinstance(hello, dict) or b"id" not in hello:
            raise ReplyLost(NOT_REDIS)
        self.client_id = hello[b"id"]
        if database:
            self.call("SELECT", database)
        found = re.search(rb"connected_slaves:(\d+)", self.call("INFO", "replication"))
        self.replicas = int(found[1]) if found else 0
        self._is_greeting = False
        self._wait_at_most(self._timeout_s)

    def call(self, *command: Word) -> Any:
        """Send one command and return its reply."""
        self.send(packed(command))
        return checked(self.receive())

    def block(self, command: Command, block_ms: int) -> Any:
        """Send one command that may block on the server for block_ms; None where it timed out there."""
        self._wait_at_most(self._timeout_s + block_ms / 1000)
        try:
            return self.call(*command)
        finally:
            if self._sock.fileno() >= 0:
                self._wait_at_most(self._timeout_s)

    def _wait_at_most(self, seconds: float) -> None:
        self._patience_s = seconds
        if cooperative.in_greenlet() and self._is_plain:
            return
        # The kernel enforces the limit: Python's own timeout polls before each read and write, a tenth of a call.
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """Send several commands together; returns their replies, error replies as values."""
        self.send(b"".join(map(packed, commands)))
        return [self.receive() for _ in commands]

    def send(self, data: bytes) -> None:
        """Send packed commands."""
        try:
            if cooperative.in_greenlet():
                self._send_cooperatively(data)
            else:
                self._sock.sendall(data)
        except OSError as error:
            self.close()
            raise ReplyLost(f"the connection to the store broke: {error}") from error

    def _send_cooperatively(self, data: bytes) -> None:
        if not self._is_plain:
            cooperative.in_thread(lambda: self._sock.sendall(data))
            return
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                cooperative.until_writable(self._sock, self._patience_s)

    def _read(self) -> int:
        """Wait for data and read it into the buffer; returns the number of bytes, 0 at the end."""
        if not cooperative.in_greenlet():
            return self._sock.recv_into(self._buffer)
        if not self._is_plain:  # a TLS socket may hold data that it has already read
            return cooperative.in_thread(lambda: self._sock.recv_into(self._buffer))
        while True:
            cooperative.until_readable(self._sock, self._patience_s)
            try:
                return self._sock.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue

    def receive(self) -> Any:
        """The next reply; an error reply is returned as a value."""
        gets: Callable[[], Any] = self._reader.gets
        until = time.monotonic() + self._patience_s if self._is_greeting else math.inf
        while True:
            try:
                reply = gets()
            except hiredis.HiredisError as error:
                self.close()
                raise ReplyLost(NOT_REDIS) from error
            if reply is not _MORE:
                self._used = time.monotonic()
                return reply
            try:
                if until < time.monotonic():
                    raise TimeoutError
                size = self._read()
            except (BlockingIOError, TimeoutError, ssl.SSLWantReadError) as error:
                self.close()
                what = f"the store did not answer within {self._patience_s:g} s"
                raise ReplyTimeout(what, mend="see whether it, or its host, stands still") from error
            except OSError as error:
                self.close()
                raise ReplyLost(f"the connection to the store broke: {error}") from error
            if not size:
                self.close()
                raise ReplyLost("the store closed the connection")
            self._reader.feed(self._buffer[:size])

    def stale(self) -> bool:
        """Whether an idle connection has ended, or has unexpected data to read."""
        if self._sock.fileno() < 0:
            return True
        return time.monotonic() - self._used > FRESH_S and bool(self._poll.poll(0))

    def shut(self) -> None:
        """End the connection from another thread: a thread that waits for a reply gets `ReplyLost`."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._close()
