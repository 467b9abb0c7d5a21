"""Repair of a damaged log on an operator's order: one unbroken log from the entries that are left.

Entries that another program wrote are left out. The place of a lost event gets a `log.forked` event that says so. An
event that was altered stays as it is. From the first of these positions on, the links between the events of a subject
and the hash chain are computed again, so that everything that proves a log (sealing, snapshots, `replay verify`) works
on the result. Entries before it, and sealed ones, do not change.

A stream cannot be repaired in place: it takes no entry before its last one, and no id below one that it has ever had.
So a copy is written to another key and replaces the log atomically, unless something was appended meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from secrets import token_hex
from typing import Any

import msgspec

from maestro.model.errors import Conflict, StoreUnsafe, VerificationFailed
from maestro.model.events import NAMES, VERSIONS, LogForked, LogSealed
from maestro.store.codec import chain_of, entry_of, event_of
from maestro.store.contract import Entry
from maestro.store.keys import Keys
from maestro.store.redis.connection import Connection, Word, checked
from maestro.store.redis.log_import import EXPIRE_MS, Succession, fill, xadd
from maestro.store.redis.pool import Script
from maestro.store.sealed import Sealed

HEAL = Script("heal.lua")
CHUNK = 1000
GAP_MAX = 1_000_000
"""More events than this are not lost at once: an entry behind such a gap was written by another program."""
SUBJECT, ACTOR, CAUSE = b"log:lineage", b"doctor", b"accepted"
_forked = NAMES[LogForked].encode()
_json = msgspec.json.Encoder(order="deterministic").encode


def heal(connection: Connection, keys: Keys, sealed: Sealed | None) -> str:
    """Repair the log on this connection. Returns a description of the changes, "" where there was nothing to do.

    Raises Conflict where the log grows meanwhile, VerificationFailed where a sealed part of it is missing.
    """
    found = _FoundLog(connection, keys, sealed)
    whole = Repair(found)
    for _ in whole.entries():
        pass
    said = whole.findings()
    if found.stands_at not in ("", found.last) and not said:
        said.append(f"what stood behind its end, up to {found.stands_at}, is gone")
    is_copied = bool(said)
    if found.versions != whole.versions():
        said.append("the versions of its subjects were rebuilt from its entries")
    if not said:
        return ""
    token = token_hex(8)
    log, versions = keys.loading(token, "log"), keys.loading(token, "versions")
    if is_copied:
        _copy(connection, log, Repair(found))
    if whole.succession.head.seq:
        fill(connection, versions, whole.succession)
    args: list[Word] = [found.last, found.count, "1" if is_copied else ""]
    if not HEAL.run(connection, [log, versions, keys.log, keys.versions], args):
        raise Conflict("the log grew while it was mended", keys.log, "try again")
    return "; ".join(said)


class _FoundLog:
    """The log and its versions as they were found on the server, damaged or not.

    last: the id of the last entry.
    stands_at: the last id that the stream ever had, "" where the server does not tell.
    versions: the versions hash, None where there is none.
    """

    def __init__(self, connection: Connection, keys: Keys, sealed: Sealed | None) -> None:
        self._connection = connection
        self._log = keys.log
        self.sealed = sealed
        self.kind = connection.call("TYPE", keys.log).decode()
        self.last, self.count = "", 0
        if self.kind == "stream":
            newest = connection.call("XREVRANGE", keys.log, "+", "-", "COUNT", 1)
            self.last = newest[0][0].decode() if newest else ""
            self.count = connection.call("XLEN", keys.log)
        self.stands_at = stands_at(connection, keys.log) if self.count else ""
        self.versions = self._versions(keys.versions)

    def _versions(self, key: str) -> dict[bytes, int] | None:
        match self._connection.call("TYPE", key):
            case b"none":
                return None
            case b"hash":
                held = self._connection.call("HGETALL", key)
                return {subject: int(seq) if seq.isdigit() else -1 for subject, seq in held.items()}
        return {}

    def raws(self) -> Iterator[Any]:
        """The entries of the stream, as the server sends them."""
        after = "-"
        while self.kind == "stream":
            some = self._connection.call("XRANGE", self._log, after, "+", "COUNT", CHUNK)
            yield from some
            if len(some) < CHUNK:
                return
            after = f"({some[-1][0].decode()}"

    def known_to(self) -> int:
        """The highest position in the versions hash."""
        return max(self.versions.values(), default=0) if self.versions else 0


class Repair:
    """One pass over the entries that are left of a log. succession: the head and versions that they lead to."""

    def __init__(self, found: _FoundLog) -> None:
        self.succession = Succession()
        self._found = found
        self._known_to = found.known_to()
        self._foreign: list[str] = []
        self._lost: list[int] = []
        self._altered: list[int] = []
        self._before: Entry | None = None  # the previous entry, as it was found
        self._has_begun = self._is_broken = False
        self._is_sure = True  # whether the entry before the next one is known

    def entries(self) -> Iterator[Entry]:
        """The entries that the repaired stream must hold."""
        for entry in self._ours():
            if not self._has_begun:
                self._has_begun = True
                self._begin(entry)
            while self.succession.head.seq + 1 < entry.seq:
                yield self._taken(self._placeholder())
            self._look(entry)
            yield self._taken(entry)
        self.succession.end()
        self.succession.forget(self._found.versions or {})

    def findings(self) -> list[str]:
        """What was wrong with the entries, in words."""
        kind = self._found.kind
        return [
            *([f"the log was a {kind}, which is gone"] if kind not in ("stream", "none") else []),
            *([f"{len(self._lost)} events are gone: {_some(self._lost)}"] if self._lost else []),
            *(
                [f"{len(self._foreign)} entries of another hand were left out: {_some(self._foreign)}"]
                * bool(self._foreign)
            ),
            *([f"{len(self._altered)} events were altered: {_some(self._altered)}"] if self._altered else []),
        ]

    def versions(self) -> dict[bytes, int] | None:
        """The versions hash of the repaired log, None for an empty log."""
        return self.succession.stored() if self.succession.head.seq else None

    def _ours(self) -> Iterator[Entry]:
        """The entries of the stream that belong to this log; notes those of other programs."""
        before = 0
        for raw in self._found.raws():
            try:
                entry = entry_of(raw)
            except (ValueError, TypeError):
                self._foreign.append(raw[0].decode("utf-8", "replace"))
                continue
            limit = self._known_to or before + 1 + (GAP_MAX if before else entry.seq)
            follows = self._before is not None and chain_of(self._before.chain, entry) == entry.chain
            if entry.seq > limit and not (follows and entry.seq == before + 1):
                self._foreign.append(raw[0].decode())
                continue
            before = entry.seq
            yield entry

    def _begin(self, first: Entry) -> None:
        """Bring the succession to the first entry in the stream: over sealed entries, or as far as they exist."""
        sealed = self._found.sealed
        if first.seq == 1:
            return
        if sealed is None:  # what came before is known from the versions only
            self.succession.start(first, self._found.versions or {})
            self._is_sure = False
            return
        try:
            before = sealed.scan(first, 0, first.seq - 1, CHUNK)
            self._follow(before)
        except VerificationFailed:
            sealed_to = self._sealed_to(first.seq)
            if sealed_to is None or sealed_to[0] == first.seq - 1:
                raise  # a segment file that existed is missing: it must be put back
            self.succession = Succession()
            last, chain = sealed_to
            lost = msgspec.structs.replace(_lost(last + 1, first.at), chain="")
            lost = msgspec.structs.replace(lost, chain=chain_of(chain, lost))
            if last:
                self._follow(sealed.scan(lost, 0, last, CHUNK))
            self._is_broken = True

    def _follow(self, parts: Iterator[list[Entry]]) -> None:
        for part in parts:
            for entry in part:
                self.succession.follow(entry)

    def _sealed_to(self, before: int) -> tuple[int, str] | None:
        """Position and chain value at which the sealed part ends before a position, by the log's own `log.sealed`
        events.
        """
        newest = (0, "")
        for raw in self._found.raws():
            try:
                fact = event_of(entry_of(raw)).fact
            except (ValueError, TypeError):
                continue
            if isinstance(fact, LogSealed) and newest[0] < fact.last < before:
                newest = (fact.last, fact.chain)
        return newest

    def _placeholder(self) -> Entry:
        """A `log.forked` entry for the next position, whose event is gone."""
        head = self.succession.head
        self._is_broken = True
        self._lost.append(head.seq + 1)
        self._before = None
        return _lost(head.seq + 1, head.at)

    def _look(self, entry: Entry) -> None:
        """Note an entry whose chain value does not fit its content: it was altered."""
        before = self._before
        chain = before.chain if before else self.succession.head.chain
        if (before or not self._is_broken) and self._is_sure and chain_of(chain, entry) != entry.chain:
            self._altered.append(entry.seq)
            self._is_broken = True
        self._before, self._is_sure = entry, True

    def _taken(self, entry: Entry) -> Entry:
        """The entry as it is written to the repaired log."""
        prev = self.succession.before(entry)
        if self._is_broken:
            entry = msgspec.structs.replace(entry, prev=prev)
            entry = msgspec.structs.replace(entry, chain=chain_of(self.succession.head.chain, entry))
        self.succession.follow(entry)
        return entry


def stands_at(connection: Connection, log: str) -> str:
    """The last id that a stream ever had, which the next one must exceed; "" where this user may not ask."""
    try:
        about = connection.call("XINFO", "STREAM", log)
    except StoreUnsafe:
        return ""
    return str(about[b"last-generated-id"].decode())


def _lost(seq: int, at: int) -> Entry:
    """A `log.forked` entry for a lost event, without chain value."""
    data = _json(LogForked(seq, "", f"event {seq} was lost"))
    return Entry(seq, _forked, SUBJECT, at, ACTOR, CAUSE, 0, b"%d" % VERSIONS.get("log.forked", 1), data, "")


def _some(found: list[int] | list[str]) -> str:
    return ", ".join(map(str, found[:10])) + (", …" if len(found) > 10 else "")


def _copy(connection: Connection, log: str, repair: Repair) -> None:
    entries = repair.entries()
    while some := list(islice(entries, CHUNK)):
        for reply in connection.many([*(xadd(log, entry) for entry in some), ("PEXPIRE", log, EXPIRE_MS)]):
            checked(reply)
