"""A log made whole again by an operator's word: what is left of it, as one unbroken log.

What another hand put into it is left out. The place of an event that is gone holds a `log.forked` that says so. An
event that was altered stays as it is. From the first of these on, the links of the subjects and the chain are made
anew, so that everything that proves a log (sealing, snapshots, `replay verify`) works on what is left. Before it, and
in what is sealed, nothing changes.

A stream cannot be mended in place: it takes no entry before its last one, and no number below one that it has ever
seen. So a copy is made beside it, which takes its place at once, if nothing has been appended meanwhile.
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
from maestro.store.keys import FLOOR, Keys
from maestro.store.redis.connection import Link, Word, checked
from maestro.store.redis.log_import import EXPIRE_MS, Succession, added, fill
from maestro.store.redis.pool import Script
from maestro.store.sealed import Sealed

HEAL = Script("heal.lua")
CHUNK = 1000
GAP_MAX = 1_000_000
"""More events than this are not lost at once: an entry behind such a gap is another hand's."""
SUBJECT, ACTOR, CAUSE = b"log:lineage", b"doctor", b"accepted"
_forked = NAMES[LogForked].encode()
_json = msgspec.json.Encoder(order="deterministic").encode


def heal(link: Link, keys: Keys, sealed: Sealed | None) -> str:
    """Make the log at this link whole; what was done, in words, "" where there was nothing to do.

    Raises Conflict where it grows meanwhile, VerificationFailed where a sealed part of it is missing.
    """
    found = _Patient(link, keys, sealed)
    whole = Healing(found)
    for _ in whole.entries():
        pass
    said = whole.told()
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
        _copy(link, log, Healing(found))
    if whole.succession.head.seq:
        fill(link, versions, whole.succession)
    args: list[Word] = [found.last, found.count, "1" if is_copied else ""]
    if not HEAL.run(link, [log, versions, keys.log, keys.versions], args):
        raise Conflict("the log grew while it was mended", keys.log, "try again")
    return "; ".join(said)


class _Patient:
    """What a log and its versions hold, whatever it is.

    last: the id of its last entry; stands_at: the last one that it ever had, "" where that is not told; versions: None
    for none.
    """

    def __init__(self, link: Link, keys: Keys, sealed: Sealed | None) -> None:
        self._link = link
        self._log = keys.log
        self.sealed = sealed
        self.kind = link.call("TYPE", keys.log).decode()
        self.last, self.count = "", 0
        if self.kind == "stream":
            newest = link.call("XREVRANGE", keys.log, "+", "-", "COUNT", 1)
            self.last = newest[0][0].decode() if newest else ""
            self.count = link.call("XLEN", keys.log)
        self.stands_at = stands_at(link, keys.log) if self.count else ""
        self.versions = self._versions(keys.versions)

    def _versions(self, key: str) -> dict[bytes, int] | None:
        match self._link.call("TYPE", key):
            case b"none":
                return None
            case b"hash":
                held = self._link.call("HGETALL", key)
                return {subject: int(seq) if seq.isdigit() else -1 for subject, seq in held.items()}
        return {}

    def raws(self) -> Iterator[Any]:
        """The entries of the stream, as the server sends them."""
        after = "-"
        while self.kind == "stream":
            some = self._link.call("XRANGE", self._log, after, "+", "COUNT", CHUNK)
            yield from some
            if len(some) < CHUNK:
                return
            after = f"({some[-1][0].decode()}"

    def known_to(self) -> int:
        """The last position that any version names."""
        return max(self.versions.values(), default=0) if self.versions else 0


class Healing:
    """One pass over what is left of a log. succession: what it leads to."""

    def __init__(self, found: _Patient) -> None:
        self.succession = Succession()
        self._found = found
        self._known_to = found.known_to()
        self._foreign: list[str] = []
        self._lost: list[int] = []
        self._altered: list[int] = []
        self._before: Entry | None = None  # as it was found
        self._has_begun = self._is_broken = False
        self._is_sure = True  # what came before the next entry

    def entries(self) -> Iterator[Entry]:
        """The entries that the stream shall hold."""
        for entry in self._ours():
            if not self._has_begun:
                self._has_begun = True
                self._begin(entry)
            while self.succession.head.seq + 1 < entry.seq:
                yield self._taken(self._placeholder())
            self._look(entry)
            yield self._taken(entry)
        self.succession.end()

    def told(self) -> list[str]:
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
        """The versions hash as it must be."""
        head = self.succession.head
        return {FLOOR.encode(): head.floor, **self.succession.versions} if head.seq else None

    def _ours(self) -> Iterator[Entry]:
        """The entries of the stream that are ours."""
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
        """Come to the first entry that the stream holds: by what is sealed, else by what is lost before it."""
        sealed = self._found.sealed
        if first.seq == 1:
            return
        if sealed is None:  # nobody knows what was before, but for the versions
            self.succession.start(first, self._found.versions or {})
            self._is_sure = False
            return
        try:
            before = sealed.scan(first, 0, first.seq - 1, CHUNK)
            self._follow(before)
        except VerificationFailed:
            sealed_to = self._sealed_to(first.seq)
            if sealed_to is None or sealed_to[0] == first.seq - 1:
                raise  # a file that was there: it is to be put back
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
        """Where, by what the log itself tells, the sealed part ends before a position, with the chain there."""
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
        """For the next position, whose event is gone."""
        head = self.succession.head
        self._is_broken = True
        self._lost.append(head.seq + 1)
        self._before = None
        return _lost(head.seq + 1, head.at)

    def _look(self, entry: Entry) -> None:
        before = self._before
        chain = before.chain if before else self.succession.head.chain
        if (before or not self._is_broken) and self._is_sure and chain_of(chain, entry) != entry.chain:
            self._altered.append(entry.seq)
            self._is_broken = True
        self._before, self._is_sure = entry, True

    def _taken(self, entry: Entry) -> Entry:
        """The entry as it stands in the mended log."""
        prev = self.succession.before(entry)
        if self._is_broken:
            entry = msgspec.structs.replace(entry, prev=prev)
            entry = msgspec.structs.replace(entry, chain=chain_of(self.succession.head.chain, entry))
        self.succession.follow(entry)
        return entry


def stands_at(link: Link, log: str) -> str:
    """The last id that a stream ever had, which the next one must exceed; "" where this user may not ask."""
    try:
        about = link.call("XINFO", "STREAM", log)
    except StoreUnsafe:
        return ""
    return str(about[b"last-generated-id"].decode())


def _lost(seq: int, at: int) -> Entry:
    data = _json(LogForked(seq, "", f"event {seq} was lost"))
    return Entry(seq, _forked, SUBJECT, at, ACTOR, CAUSE, 0, b"%d" % VERSIONS.get("log.forked", 1), data, "")


def _some(found: list[int] | list[str]) -> str:
    return ", ".join(map(str, found[:10])) + (", …" if len(found) > 10 else "")


def _copy(link: Link, log: str, healing: Healing) -> None:
    entries = healing.entries()
    while some := list(islice(entries, CHUNK)):
        for reply in link.many([*(added(log, entry) for entry in some), ("PEXPIRE", log, EXPIRE_MS)]):
            checked(reply)
