"""The log of a namespace on Redis or Valkey: one stream, appended to by one script, read in order.

An append is sent once; when its answer does not come, `Unknown` is raised and the sender (gateway.py) sends the same
again with `resend`. All else here may be repeated, and is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from maestro.model.errors import LineageBroken, Unknown
from maestro.model.events import Event
from maestro.store.codec import encode_append, events_of
from maestro.store.contract import Append, AppendResult, Committed, Entry, Head, Rejected
from maestro.store.keys import Keys
from maestro.store.lineage import MEND, Lineage, stored
from maestro.store.link import Link, Lost, checked, packed
from maestro.store.links import Links, Script

APPEND = Script("append.lua")


class _Group:
    """A group of appends on its way to the script: keys, arguments, and the appends that can never be sent."""

    def __init__(self, keys: Keys, group: Sequence[Append], known: Head) -> None:
        leases = {append.fence.lease for append in group if append.fence}
        streams = {hint.stream for append in group for hint in append.hints}
        self.keys = [keys.log, keys.meta, keys.versions]
        self._lease_at = {lease: len(self.keys) + n for n, lease in enumerate(leases, 1)}
        self.keys += map(keys.lease, leases)
        self._stream_at = {stream: len(self.keys) + n for n, stream in enumerate(streams, 1)}
        self.keys += map(keys.work, streams)
        self.bad: dict[int, Rejected] = {}
        body: list[bytes | str | int] = []
        for position, append in enumerate(group):
            self._add(body, position, append)
        sent = len(group) - len(self.bad)
        self.args: list[bytes | str | int] = [known.seq or "", known.chain, len(leases), sent, *body]

    def _add(self, body: list[bytes | str | int], position: int, append: Append) -> None:
        encoded = encode_append(append)
        if isinstance(encoded, Rejected):
            self.bad[position] = encoded
            return
        origin, events = encoded
        body += (len(events), origin.actor, origin.cause)
        if append.hints or append.fence or append.floors or append.resend:
            fence = append.fence
            body += ("x", append.since if append.resend else "")
            body += (self._lease_at[fence.lease], fence.holder) if fence else ("", "")
            body += ("1" if append.floors else "", len(append.hints))
            for hint in append.hints:
                body += (self._stream_at[hint.stream], hint.run, hint.event, hint.token)
        else:
            body.append("")
        for event in events:
            expected = "" if event.expected is None else event.expected
            body += (event.type, event.subject, expected, event.v, event.data)

    def results(self, group: Sequence[Append], at: int, replies: list[Any]) -> list[AppendResult]:
        """The script's answers in the order of the group."""
        results: list[AppendResult] = []
        answers = iter(replies)
        for position, append in enumerate(group):
            if position in self.bad:
                results.append(self.bad[position])
                continue
            match next(answers):
                case int(first):
                    results.append(Committed(first, first + len(append.events) - 1, at))
                case [b"seen", first, last, then]:
                    results.append(Committed(first, last, then, duplicate=True))
                case [b"version", index, actual]:
                    event = append.events[index]
                    expected = -1 if event.expected is None else event.expected
                    results.append(Rejected("version", event.subject, expected, actual))
                case _:
                    results.append(Rejected("fence", append.events[0].subject))
        return results


class RedisLog:
    """`LogStore` on a server."""

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
        """Append a group in one call. Raises `StoreAway` where it was not done, `Unknown` where that cannot be told."""
        sent = _Group(self._keys, group, known or self._lineage.known)
        if len(sent.bad) == len(group):
            return sent.results(group, 0, [])
        try:
            reply = self._links.send_once(lambda link: APPEND.run(link, sent.keys, sent.args))
        except Lost as lost:
            raise Unknown(f"{lost.what}; the append may or may not be in the log", self._keys.log) from lost
        seq, chain, at, floor, replies = reply
        self._lineage.saw(Head(seq, chain.decode(), at, floor))
        return sent.results(group, at, replies)

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`."""
        return self._events(self._range(after, count))

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored."""
        return [stored(raw, self._keys.log) for raw in self._range(after, count)]

    def _range(self, after: int, count: int) -> list[Any]:
        raws: list[Any] = self._links.call("XRANGE", self._keys.log, f"{after + 1}-0", "+", "COUNT", count)
        return raws

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

        if after >= upto:
            return
        with self._links.lent() as link:
            firsts = range(after + 1, upto + 1, chunk)
            ask(link, firsts[0])
            for following in (*firsts[1:], None):
                raws = checked(link.receive())
                if following is not None:
                    ask(link, following)
                if raws:
                    yield self._events(raws)

    def event(self, seq: int) -> Event | None:
        """One event."""
        raws: list[Any] = self._links.call("XRANGE", self._keys.log, f"{seq}-0", f"{seq}-0")
        return self._events(raws)[0] if raws else None

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but waits for the first one. A wait that found nothing makes sure that `after` is still there."""
        wait = ("BLOCK", block_ms) if block_ms > 0 else ()
        found = self._links.block(("XREAD", "COUNT", count, *wait, "STREAMS", self._keys.log, f"{after}-0"), block_ms)
        if found:
            return self._events(found[self._keys.log.encode()])
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
        floor, version = self._links.many(
            [("HGET", self._keys.meta, "floor"), ("HGET", self._keys.versions, subject.encode())]
        )
        return max(int(version or 0), int(floor or 0))
