"""Work hints, leases and samples on a server.

A work hint only wakes a worker; the log decides whether a run may start. So everything here may be lost, doubled or
repeated: a stream or consumer group that is gone is created again from its beginning, and an entry that was claimed but
whose delivery was lost is claimed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from maestro.store.contract import Hint, WorkEntry
from maestro.store.keys import WORKERS, Keys
from maestro.store.redis.connection import Command, Connection, NoGroup, ReplyLost, Word, WrongType, checked
from maestro.store.redis.pool import ConnectionPool, Script

LEASE = Script("lease.lua")
SAMPLE = Script("sample.lua")
ENTRIES_MAX = 100_000
STREAM = b"stream"


class RedisWork:
    """`WorkStore` on a server."""

    def __init__(self, keys: Keys, pool: ConnectionPool) -> None:
        self._keys = keys
        self._pool = pool
        self._lock = Lock()
        self._resumed: set[str] = set()
        self._handed: set[tuple[str, str]] = set()

    def put(self, hints: Sequence[Hint]) -> None:
        """Put hints on their streams, each with its token."""
        if hints:
            names = [self._keys.work(stream) for stream in {hint.stream for hint in hints}]
            commands = [self._add(hint.stream, hint.run, hint.token) for hint in hints]
            self._pool.with_type(names, STREAM, lambda: self._pool.many(commands))

    def _add(self, stream: str, run: str, token: int) -> Command:
        return ("XADD", self._keys.work(stream), "MAXLEN", "~", ENTRIES_MAX, "*", "run", run, "token", token)

    def claim(self, node: str, count: int, block_ms: int, shared: bool = True) -> list[WorkEntry]:
        """Claim up to `count` entries: own pending ones first, then new ones. Waits up to block_ms; `wake` ends it."""
        streams = [node, ""] if shared else [node]
        try:
            return self._claim(node, streams, count, block_ms)
        except ReplyLost:
            # A delivery may have been lost on its way: its entries are pending now.
            with self._lock:
                self._resumed.discard(node)
            return self._claim(node, streams, count, block_ms)

    def _claim(self, node: str, streams: list[str], count: int, block_ms: int) -> list[WorkEntry]:
        with self._lock:
            resumed = node in self._resumed
        if not resumed:
            pending = self._take(node, streams, count, 0, "0")
            if pending:
                return pending
            with self._lock:
                self._resumed.add(node)
        return self._take(node, streams, count, block_ms, ">")

    def _take(self, node: str, streams: list[str], count: int, block_ms: int, after: str) -> list[WorkEntry]:
        wait = ("BLOCK", block_ms) if block_ms > 0 and after == ">" else ()
        names = [self._keys.work(stream) for stream in streams]
        # Entries that this process is working on are pending too, so ask for more and skip those.
        ask = count if after == ">" else count + len(self._handed)
        command = (
            "XREADGROUP",
            "GROUP",
            WORKERS,
            node,
            "COUNT",
            ask,
            *wait,
            "STREAMS",
            *names,
            *([after] * len(names)),
        )
        while True:
            try:
                found: dict[bytes, Any] = self._pool.with_type(
                    names, STREAM, lambda: self._pool.block(command, block_ms, repeat=False) or {}
                )
                break
            except NoGroup:
                self._pool.with_type(names, STREAM, lambda: self._make_groups(names))
        entries, strange = [], []
        for stream, name in zip(streams, names, strict=True):
            for identity, fields in found.get(name.encode(), ()):
                hint = _hint(fields)
                entries += [WorkEntry(stream, identity.decode(), *hint)] if hint else []
                strange += [] if hint else [WorkEntry(stream, identity.decode(), "", 0)]
        self.done(strange)
        with self._lock:
            if after != ">":
                entries = [entry for entry in entries if (entry.stream, entry.entry) not in self._handed]
            taken, left = entries[:count], entries[count:]
            self._handed.update((entry.stream, entry.entry) for entry in taken)
        if after == ">" and left:
            self.put_back(left)  # both streams had entries, together more than `count`
        return taken

    def _make_groups(self, names: list[str]) -> None:
        # From id 0, never from `$`: hints put before the group was lost must not be lost with it.
        with self._pool.lend() as connection:
            for reply in connection.many([("XGROUP", "CREATE", name, WORKERS, "0", "MKSTREAM") for name in names]):
                if not (isinstance(reply, Exception) and str(reply).startswith("BUSYGROUP")):
                    checked(reply)

    def put_back(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge entries, and put their hints again in the same transaction."""
        commands: list[Command] = []
        for entry in entries:
            commands.append(self._add(entry.stream, entry.run, entry.token))
            commands += self._finish(entry)
        self._pool.transaction(commands)
        self._forget(entries)

    def done(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge and delete entries."""
        if not entries:
            return
        self._pool.transaction([command for entry in entries for command in self._finish(entry)])
        self._forget(entries)

    def _forget(self, entries: Sequence[WorkEntry]) -> None:
        with self._lock:
            self._handed.difference_update((entry.stream, entry.entry) for entry in entries)

    def _finish(self, entry: WorkEntry) -> list[Command]:
        name = self._keys.work(entry.stream)
        return [("XACK", name, WORKERS, entry.entry), ("XDEL", name, entry.entry)]

    def pending(self, stream: str) -> list[tuple[str, str, int]]:
        """All hints on a stream: (run, node that claimed it or "", token)."""
        name = self._keys.work(stream)
        entries: list[Any] = self._pool.with_type([name], STREAM, lambda: self._pool.call("XRANGE", name, "-", "+"))
        try:
            claimed = self._pool.call("XPENDING", name, WORKERS, "-", "+", ENTRIES_MAX)
        except NoGroup:
            claimed = []
        owners = {identity: consumer.decode() for identity, consumer, *_ in claimed}
        hints = [(identity, _hint(fields)) for identity, fields in entries]
        return [(hint[0], owners.get(identity, ""), hint[1]) for identity, hint in hints if hint]

    def lease_take(self, lease: str, holder: str, ttl_ms: int) -> bool:
        """Take or renew a lease."""
        return bool(self._pool.script(LEASE, [self._keys.lease(lease)], [holder, max(1, ttl_ms)]))

    def lease_drop(self, lease: str, holder: str) -> None:
        """Give up a lease, if `holder` holds it."""
        self._pool.script(LEASE, [self._keys.lease(lease)], [holder, 0])

    def lease_holder(self, lease: str, ttl_ms: int = 0) -> str | None:
        """The current holder of a lease, None where nobody holds it."""
        return self.lease_holders([lease], ttl_ms)[0]

    def lease_holders(self, leases: Sequence[str], ttl_ms: int = 0) -> list[str | None]:
        """The current holders of leases, None for each that nobody holds; asked together."""
        names = [self._keys.lease(lease) for lease in leases]

        def ask(connection: Connection) -> list[str | None]:
            if ttl_ms:
                return list(map(_holder, LEASE.run_all(connection, [([name], ["", ttl_ms]) for name in names])))
            return list(map(_holder, connection.many([("GET", name) for name in names])))

        return self._pool.run(ask) if names else []

    def samples_put(self, values: Mapping[str, Mapping[str, str]], ttl_ms: int) -> None:
        """Store heartbeats by key, sent together; their field `at` is the server's time in ms."""
        calls: list[tuple[list[str], list[Word]]] = []
        for key, value in values.items():
            fields = [part for name, text in value.items() if name != "at" for part in (name, text)]
            calls.append(([self._keys.sample(key)], [ttl_ms, *fields]))
        if calls:
            self._pool.run(lambda connection: SAMPLE.run_all(connection, calls))

    def samples(self, keys: Sequence[str]) -> list[dict[str, str] | None]:
        """Heartbeats by key, None for one that does not exist or has expired."""
        if not keys:
            return []
        commands: list[Command] = [("HGETALL", self._keys.sample(key)) for key in keys]
        return self._pool.run(lambda connection: list(map(_sample, connection.many(commands))))


def _holder(reply: Any) -> str | None:
    """The holder in a reply; None where nobody holds the lease, or it is none: taking the lease replaces that."""
    try:
        holder: bytes | None = checked(reply)
    except WrongType:
        return None
    return None if holder is None else holder.decode("utf-8", "replace")


def _sample(reply: Any) -> dict[str, str] | None:
    """The heartbeat in a reply; None where there is none, or something else."""
    try:
        return {name.decode(): value.decode() for name, value in checked(reply).items()} or None
    except (WrongType, UnicodeDecodeError):
        return None


def _hint(fields: list[bytes] | None) -> tuple[str, int] | None:
    """Run and token of an entry; None for an entry of another program, or one deleted while it was claimed."""
    try:
        named = dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {}
        return named[b"run"].decode(), int(named[b"token"])
    except (KeyError, ValueError):
        return None
