"""The connections of a store: kept, lent to one thread at a time, opened anew when the server went away.

Calls here are reads, or writes that may be repeated (leases, hints, rows behind a checkpoint); they are tried a
second time on a new connection. Appends are not: `log.py` sends those once, by `send_once`.
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
    Link,
    Lost,
    Moved,
    NoScript,
    Silent,
    Waiting,
    Word,
    WrongType,
    checked,
    packed,
)

T = TypeVar("T")
log = logging.getLogger("maestro")
PATIENCE_S = 4.0
WAKE_S = 2.0


class Script:
    """A Lua script beside this file, known to the server by its digest."""

    def __init__(self, name: str) -> None:
        self.text = Path(__file__).with_name(name).read_bytes()
        self.digest = sha1(self.text, usedforsecurity=False).hexdigest()

    def run(self, link: Link, keys: Sequence[str], args: Sequence[Word]) -> Any:
        """Run it."""
        self.send(link, keys, args)
        return self.settle(link, keys, args, link.receive())

    def send(self, link: Link, keys: Sequence[str], args: Sequence[Word]) -> None:
        """Send it, without waiting for its reply."""
        link.send(packed(("EVALSHA", self.digest, len(keys), *keys, *args)))

    def settle(self, link: Link, keys: Sequence[str], args: Sequence[Word], reply: Any) -> Any:
        """What it returned; a server that has not got the script (any more) is sent its text."""
        try:
            return checked(reply)
        except NoScript:
            return link.call("EVAL", self.text, len(keys), *keys, *args)


class _Blocked:
    """A blocking call under way. woken: it is to return."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.woken = False


class Links:
    """All connections of one store object.

    dial: opens one, to the node of a cluster that it is given or else to the URL's; check: looks at each new one
    before it is used (the lineage). Both raise `StoreAway` or `StoreUnsafe`.
    """

    def __init__(self, dial: Callable[[str], Link], check: Callable[[Link], None]) -> None:
        self._dial = dial
        self._check = check
        self._lock = Lock()
        self._idle: list[Link] = []
        self._blocked: set[_Blocked] = set()
        self._closed = False
        self._node = ""

    def fresh(self) -> Link:
        """A new connection, checked. What it was wanted for has not been sent where this fails: never `Lost`."""
        if self._closed:
            raise StoreAway("the store was closed")
        node, self._node = self._node, ""
        link = cooperative.in_thread(lambda: self._dial(node))
        self._node = node
        try:
            self._check(link)
        except Lost as lost:
            link.close()
            raise StoreAway(lost.what, mend=lost.mend) from lost
        except BaseException:
            link.close()
            raise
        return link

    def _take(self) -> Link:
        with self._lock:
            link = self._idle.pop() if self._idle else None
        if link is None:
            return self.fresh()
        if link.stale():
            link.close()
            self.forget()
            return self.fresh()
        return link

    @contextmanager
    def lent(self) -> Iterator[Link]:
        """A connection for the length of a block; one that failed is not used again."""
        link = self._take()
        try:
            yield link
        except BaseException:
            link.close()
            raise
        self._give(link)

    def _give(self, link: Link) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(link)
                return
        link.close()

    def forget(self) -> None:
        """Close the idle connections: the server they led to is gone."""
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()

    def send_once(self, work: Callable[[Link], T]) -> T:
        """Do something that must not be repeated. Raises `Lost` when it may or may not have been done."""
        link = self._take()
        try:
            done = work(link)
        except Waiting:
            self._give(link)
            raise
        except Moved as moved:
            link.close()
            self.forget()
            self._node = moved.address
            with self.lent() as there:
                return work(there)
        except BaseException as error:
            link.close()
            if isinstance(error, Lost):
                self.forget()
            raise
        self._give(link)
        return done

    def run(self, work: Callable[[Link], T], stop: Callable[[], bool] = lambda: False, repeat: bool = True) -> T:
        """Do something that may be repeated (unless `repeat` is off); wait for a server that is loading.

        stop: gives the waiting up.
        """
        until = time.monotonic() + PATIENCE_S
        lost = not repeat
        while True:
            try:
                return self.send_once(work)
            except Lost as error:
                if lost or stop() or isinstance(error, Silent):
                    raise
                lost = True
            except Waiting:
                if time.monotonic() > until or stop():
                    raise
                cooperative.sleep(0.05)

    def call(self, *command: Word) -> Any:
        """One command that may be repeated, its reply."""
        return self.run(lambda link: link.call(*command))

    def many(self, commands: Sequence[Command]) -> list[Any]:
        """Commands that may be repeated, in one go. Raises the first error among the replies."""
        return self.run(lambda link: [checked(reply) for reply in link.many(commands)])

    def together(self, commands: Sequence[Command]) -> list[Any]:
        """As `many`, with nothing in between (MULTI/EXEC)."""
        replies: list[Any] = self.many([("MULTI",), *commands, ("EXEC",)])[-1]
        return [checked(reply) for reply in replies]

    def scan(self, beside: str, pattern: str, count: int) -> Iterator[list[bytes]]:
        """The keys that match a pattern, some at a time. beside: a key of the same node, as SCAN names none."""
        self.call("EXISTS", beside)
        cursor = b"0"
        while True:
            cursor, found = self.call("SCAN", cursor, "MATCH", pattern, "COUNT", count)
            if found:
                yield found
            if cursor == b"0":
                return

    def in_place(self, keys: Sequence[str], kind: bytes, work: Callable[[], T]) -> T:
        """Do something with keys that may be lost; what another hand put in their place is set aside, not deleted."""
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
        """A script that may be repeated."""
        return self.run(lambda link: script.run(link, keys, args))

    def block(self, command: Command, block_ms: int, repeat: bool = True) -> Any:
        """A blocking command, on a connection of its own; None when it timed out, {} when it was woken.

        repeat: off where a second one would not give what the first did; `Lost` is raised then.
        """
        blocked = _Blocked()

        def work(link: Link) -> Any:
            blocked.link = link
            found = None if blocked.woken else link.block(command, block_ms)
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
        """End the blocking calls that are under way now.

        An unblock that comes before the server has seen the blocking command is lost, so it is repeated until each
        call has returned; after WAKE_S (a server that does not answer) their sockets are shut.
        """
        with self._lock:
            waiting = set(self._blocked)
            for blocked in waiting:
                blocked.woken = True
        until = time.monotonic() + WAKE_S
        while waiting and time.monotonic() < until:
            links = [blocked.link for blocked in waiting if blocked.link]
            try:
                with self.lent() as link:
                    link.many([("CLIENT", "UNBLOCK", other.client_id) for other in links])
            except StoreAway:
                break
            time.sleep(0.001)
            with self._lock:
                waiting &= self._blocked
        for blocked in waiting:
            if blocked.link:
                blocked.link.shut()

    def close(self) -> None:
        """End the blocking calls and close all connections."""
        self.wake()
        with self._lock:
            self._closed = True
        self.forget()
