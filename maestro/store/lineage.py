"""What a store object remembers of the log: its newest known entry, and the proof that a server still has it.

A server that lost a tail, was flushed, or holds another history under the same name is noticed when a connection to
it is made, at each commit, and where a read does not continue what was read before.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from maestro.model.errors import LineageBroken
from maestro.store.codec import chain_of, entry_of
from maestro.store.contract import Entry, Head
from maestro.store.keys import FLOOR, Keys
from maestro.store.link import Link, checked

MEND = "stop, find out what the store lost, then `maestro doctor --accept-loss`"


class Lineage:
    """The newest (seq, chain) that this store object has appended or read."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._lock = Lock()
        self._known = Head()

    @property
    def known(self) -> Head:
        """The newest head seen; all zero when none was."""
        return self._known

    def saw(self, head: Head) -> None:
        """The log reaches this far."""
        with self._lock:
            if head.seq > self._known.seq:
                self._known = head

    def forget(self) -> None:
        """The namespace was erased on purpose."""
        with self._lock:
            self._known = Head()

    def greet(self, link: Link) -> None:
        """A new connection: raise `LineageBroken` unless what is known is at its other end."""
        if self._known.seq:
            self._prove(link)

    def check(self, link: Link) -> Head:
        """The head of the log at this link. Raise `LineageBroken` unless the known entry is in it, and its versions are
        there.
        """
        head, is_parted = self._prove(link)
        if is_parted and self.is_parted(link):
            what = "the entries of the log are gone" if not head.seq else "the versions of the log's subjects are gone"
            raise LineageBroken(what, self._keys.log if not head.seq else self._keys.versions, MEND)
        return head

    def is_parted(self, link: Link) -> bool:
        """Whether there are entries without versions, or the other way round: then nothing can be appended."""
        keys = self._keys
        replies = link.many([("MULTI",), ("EXISTS", keys.log), ("HGET", keys.versions, FLOOR), ("EXEC",)])
        entries, floor = (checked(reply) for reply in checked(replies[-1]))
        return bool(entries) != (floor is not None)

    def _prove(self, link: Link) -> tuple[Head, bool]:
        """The head, and whether it looks as if either entries or versions were gone: others may append meanwhile."""
        known = self._known
        tail, floor, found = link.many(
            [
                ("XREVRANGE", self._keys.log, "+", "-", "COUNT", 1),
                ("HGET", self._keys.versions, FLOOR),
                ("XRANGE", self._keys.log, f"{known.seq}-0", "+", "COUNT", 1),
            ]
        )
        last = stored(tail[0], self._keys.log) if checked(tail) else None
        head = Head(last.seq, last.chain, last.at, int(checked(floor) or 0)) if last else Head()
        if head.seq < known.seq:
            raise LineageBroken(f"the log ends at {head.seq}, but {known.seq} was known", self._keys.log, MEND)
        for raw in checked(found) if known.seq else ():
            entry = stored(raw, self._keys.log)
            # Behind it: it was trimmed, which happens to what is sealed.
            if entry.seq == known.seq and entry.chain != known.chain:
                raise LineageBroken(f"position {known.seq} holds another event", self._keys.log, MEND)
        self.saw(head)
        return head, bool(last) != (checked(floor) is not None)

    def continues(self, raws: Sequence[Any]) -> None:
        """What was read behind the known entry: raise `LineageBroken` unless its first entry links to it.

        One entry a read is enough to notice another history; `replay verify` checks them all.
        """
        if not raws:
            return
        known = self._known
        if int(raws[-1][0][:-2]) <= known.seq:
            return
        following = known.seq + 1 - int(raws[0][0][:-2])
        if 0 <= following < len(raws):
            entry = stored(raws[following], self._keys.log)
            if entry.seq != known.seq + 1 or chain_of(known.chain, entry) != entry.chain:
                raise LineageBroken(f"position {entry.seq} does not continue the log", self._keys.log, MEND)
        last = stored(raws[-1], self._keys.log)
        self.saw(Head(last.seq, last.chain, last.at))


def stored(raw: Sequence[Any], log: str) -> Entry:
    """An entry as stored. Raises `LineageBroken` where it is not one of ours."""
    try:
        return entry_of(raw)
    except (ValueError, TypeError) as error:
        raise LineageBroken(f"the log was altered: {error}", log, MEND) from error
