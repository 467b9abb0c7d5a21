"""The log of a namespace on Redis or Valkey: one stream, appended to by one script, read in order.

An append is sent once; when its answer does not come, `Unknown` is raised and the sender (gateway.py) sends the same
again with `resend`. All else here may be repeated, and is.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from maestro.model.errors import LineageBroken, StoreAway, StoreUnsafe, Unknown
from maestro.model.events import Event
from maestro.store.codec import encode_append, event_of, events_of
from maestro.store.contract import Append, AppendResult, Committed, Entry, Head, Rejected
from maestro.store.keys import FLOOR, Keys
from maestro.store.lineage import MEND, Lineage, stored
from maestro.store.link import Link, Lost, checked, packed
from maestro.store.links import Links, Script
from maestro.store.loading import load, rebuild
from maestro.store.sealed import Sealed

APPEND = Script("append.lua")
FIRST_PART, PART = 16, 48
PART_READ = 1000
"""The first one is small, so that the server begins soon."""
WAIT_MS = 100
WAIT_AGAIN_S = 5.0
_pack = msgspec.msgpack.Encoder().encode


class _Group:
    """A group of appends on its way to the script: keys, arguments, and the appends that can never be sent."""

    def __init__(self, keys: Keys, group: Sequence[Append], known: Head) -> None:
        self._group = group
        self.keys = [keys.log, keys.versions]
        # The script is told a key by its place in KEYS; the leases come before the streams.
        self._lease_at: dict[str, int] = {}
        self._stream_at: dict[str, int] = {}
        for append in group:
            if append.fence:
                self._lease_at.setdefault(append.fence.lease, len(self._lease_at) + 3)
        for append in group:
            for hint in append.hints:
                self._stream_at.setdefault(hint.stream, len(self._lease_at) + len(self._stream_at) + 3)
        if self._lease_at or self._stream_at:
            self.keys += map(keys.lease, self._lease_at)
            self.keys += map(keys.work, self._stream_at)
        self.bad: dict[int, Rejected] = {}
        self.args: list[bytes | str | int] = [known.seq or "", known.chain, len(self._lease_at)]
        for position, append in enumerate(group):
            encoded = encode_append(append)
            if isinstance(encoded, Rejected):
                self.bad[position] = encoded
                continue
            body: list[object] = [append.actor, append.cause, self._options(append)]
            for event in encoded:
                body += event
            self.args.append(_pack(body))

    def _options(self, append: Append) -> bool | list[str]:
        fence, hints = append.fence, append.hints
        if not (hints or fence or append.floors or append.resend):
            return False
        options = [str(append.since) if append.resend else ""]
        options += (str(self._lease_at[fence.lease]), fence.holder) if fence else ("", "")
        options.append("1" if append.floors else "")
        for hint in hints:
            options += (str(self._stream_at[hint.stream]), hint.run, str(hint.event), str(hint.token))
        return options

    def results(self, at: int, replies: list[Any]) -> list[AppendResult]:
        """The script's answers in the order of the group."""
        results: list[AppendResult] = []
        answers = iter(replies)
        for position, append in enumerate(self._group):
            if position in self.bad:
                results.append(self.bad[position])
                continue
            answer = next(answers)
            if type(answer) is int:
                results.append(Committed(answer, answer + len(append.events) - 1, at))
            else:
                results.append(_unusual(append, answer))
        return results


def _unusual(append: Append, answer: list[Any]) -> AppendResult:
    """Why the script did not write the events of an append."""
    match answer:
        case [b"seen", first, last, at]:
            return Committed(first, last, at, duplicate=True)
        case [b"version", index, actual]:
            event = append.events[index]
            return Rejected("version", event.subject, -1 if event.expected is None else event.expected, actual)
        case _:
            return Rejected("fence", append.events[0].subject)


def _parts(group: Sequence[Append]) -> Sequence[Sequence[Append]]:
    """A large group in several calls, which go out together.

    Only where each append names its first version: what is for any version must not take its like in the same group
    for an earlier try of itself, and only within one call does the script know which entries are the call's own.
    """
    if len(group) <= PART or any(not append.events or append.events[0].expected is None for append in group):
        return (group,)
    rest = len(group) - FIRST_PART
    size = -(-rest // -(-rest // PART))  # parts of one size: each call costs as much as two events
    return [group[:FIRST_PART], *(group[start : start + size] for start in range(FIRST_PART, len(group), size))]


def _wait_for_replica(link: Link) -> None:
    """Until a replica has what was appended, where there is one: a failover then loses less.

    A replica that does not keep up delays appends by WAIT_MS once every WAIT_AGAIN_S, no more: it is no quorum.
    """
    if link.replicas and time.monotonic() > link.wait_after:
        try:
            if not link.call("WAIT", 1, WAIT_MS):
                link.wait_after = time.monotonic() + WAIT_AGAIN_S
        except Lost:
            link.replicas = 0


class RedisLog:
    """`LogStore` on a server. sealed: where what was trimmed is read from."""

    sealed: Sealed | None = None

    def __init__(self, keys: Keys, links: Links, lineage: Lineage) -> None:
        self._keys = keys
        self._links = links
        self._lineage = lineage

    def head(self) -> Head:
        """The end of the log."""
        return self._links.run(self._lineage.check)

    def known(self) -> Head:
        """The newest head that this object has seen; no call to the server."""
        return self._lineage.known

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group in one exchange. Raises `StoreAway` when nothing was done, `Unknown` when that is not sure."""
        known = known or self._lineage.known
        try:
            answered = self._links.send_once(lambda link: self._exchange(link, group, known))
        except Lost as lost:
            raise Unknown(f"{lost.what}; the append may or may not be in the log", self._keys.log) from lost
        results: list[AppendResult] = []
        for part, (seq, chain, at, floor, answers) in answered:
            results += part.results(at, answers)
            self._lineage.saw(Head(seq, chain.decode(), at, floor))
        return results

    def _exchange(self, link: Link, group: Sequence[Append], known: Head) -> list[tuple[_Group, Any]]:
        """The group's parts with their replies. A part is encoded while the server works on the one before."""
        parts: list[_Group] = []
        for appends in _parts(group):
            parts.append(_Group(self._keys, appends, known))
            APPEND.send(link, parts[-1].keys, parts[-1].args)
        replies = [link.receive() for _ in parts]
        answered: list[tuple[_Group, Any]] = []
        for part, reply in zip(parts, replies, strict=True):
            try:
                answered.append((part, APPEND.settle(link, part.keys, part.args, reply)))
            except (StoreAway, StoreUnsafe) as error:
                if any(not isinstance(other, Exception) for other in replies) or answered:
                    raise Lost(f"a part of the group failed: {error.what}") from error
                raise
        _wait_for_replica(link)
        return answered

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`."""
        return self._joined(after, count, self._range(after, count))

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored."""
        raws = self._range(after, count)
        return [*self._trimmed(after, count, raws), *(stored(raw, self._keys.log) for raw in raws)][:count]

    def _range(self, after: int, count: int) -> list[Any]:
        raws: list[Any] = self._links.call("XRANGE", self._keys.log, f"{after + 1}-0", "+", "COUNT", count)
        return raws

    def _joined(self, after: int, count: int, raws: list[Any]) -> list[Event]:
        events = self._events(raws)
        trimmed = self._trimmed(after, count, raws)
        return [*map(event_of, trimmed), *events][:count] if trimmed else events

    def _trimmed(self, after: int, count: int, raws: list[Any]) -> list[Entry]:
        """What stood between `after` and these raw entries, where they are the first that the server holds."""
        if self.sealed is None or not raws or after < 0 or raws[0][0] == b"%d-0" % (after + 1):
            return []
        following = stored(raws[0], self._keys.log)
        return [] if following.seq > self.first() else self.sealed.before(following, after, count)

    def first(self) -> int:
        """The first position that the server holds."""
        raws = self._range(0, 1)
        return stored(raws[0], self._keys.log).seq if raws else 0

    def trim(self, first: int) -> None:
        """Hold nothing before `first`. The head is read anew, as nobody may trim it."""
        self._links.call("XTRIM", self._keys.log, "MINID", f"{min(first, self.head().seq)}-0")

    def load(self, parts: Iterable[Sequence[Entry]]) -> Head:
        """Fill the empty log."""
        head = self._links.send_once(lambda link: load(link, self._keys, parts))
        self._lineage.saw(head)
        return head

    def mend(self) -> bool:
        """Rebuild the versions where they, or all entries, are gone."""
        if not self._links.run(self._lineage.is_parted):
            return False

        def all_entries() -> Iterator[list[Entry]]:
            after = 0
            while some := self.entries(after, PART_READ):
                yield some
                after = some[-1].seq

        self._links.run(lambda link: rebuild(link, self._keys, all_entries()))
        return True

    def _events(self, raws: list[Any]) -> list[Event]:
        self._lineage.continues(raws)
        try:
            return events_of(raws)
        except (ValueError, TypeError) as error:
            raise LineageBroken(f"the log was altered: {error}", self._keys.log, MEND) from error

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists.

        Positions have no gaps, so the next list is asked for before this one is decoded: the server and this process
        work at the same time.
        """

        def ask(link: Link, first: int) -> None:
            last = min(first + chunk - 1, upto)
            link.send(packed(("XRANGE", self._keys.log, f"{first}-0", f"{last}-0")))

        if self.sealed is not None and after < upto:
            raws = self._range(0, 1)
            following = stored(raws[0], self._keys.log) if raws else None
            if following is not None and following.seq > after + 1:
                last = min(upto, following.seq - 1)
                for entries in self.sealed.scan(following, after, last, chunk):
                    yield list(map(event_of, entries))
                after = last
        if after >= upto:
            return
        with self._links.lent() as link:
            firsts = range(after + 1, upto + 1, chunk)
            ask(link, firsts[0])
            for first, following in zip(firsts, (*firsts[1:], None), strict=True):
                raws = checked(link.receive())
                if following is not None:
                    ask(link, following)
                if raws and raws[0][0] == b"%d-0" % first:
                    yield self._events(raws)
                elif events := [event for event in self.read(first - 1, chunk) if event.seq < first + chunk]:
                    yield events  # trimmed meanwhile, or damaged

    def event(self, seq: int) -> Event | None:
        """One event."""
        raws: list[Any] = self._links.call("XRANGE", self._keys.log, f"{seq}-0", f"{seq}-0")
        if raws or self.sealed is None or seq < 1:
            return self._events(raws)[0] if raws else None
        return next((event for event in self.read(seq - 1, 1) if event.seq == seq), None)

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but waits for the first one. A wait that found nothing makes sure that `after` is still there."""
        wait = ("BLOCK", block_ms) if block_ms > 0 else ()
        found = self._links.block(("XREAD", "COUNT", count, *wait, "STREAMS", self._keys.log, f"{after}-0"), block_ms)
        if found:
            return self._joined(after, count, found[self._keys.log.encode()])
        if found is None and self.head().seq < after:
            raise LineageBroken(f"the log ends before {after}, which was known", self._keys.log, MEND)
        return []

    def cursor_get(self, group: str) -> int | None:
        """The group's position, None for a new one."""
        position: bytes | None = self._links.call("HGET", self._keys.cursors, group)
        return None if position is None else int(position)

    def cursor_set(self, group: str, seq: int) -> None:
        """Move the group."""
        self._links.call("HSET", self._keys.cursors, group, seq)

    def wake(self) -> None:
        """End all blocking calls of this store object soon."""
        self._links.wake()

    def version(self, subject: str) -> int:
        """The subject's version."""
        floor, version = self._links.call("HMGET", self._keys.versions, FLOOR, subject.encode())
        return max(int(version or 0), int(floor or 0))
