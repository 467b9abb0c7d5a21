"""Filling an empty log with the entries of another one, as they are: positions, times, chain and all.

They go to keys of their own, which are renamed to the log's when they are whole. So a load that was killed left no
log behind; its keys expire. Two loads at once cannot both succeed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from secrets import token_hex

from maestro.model.errors import Refused, VerificationFailed
from maestro.model.events import NAMES, RestoreDone
from maestro.store.codec import FIELDS, chain_of
from maestro.store.contract import Entry, Head
from maestro.store.keys import FLOOR, Keys
from maestro.store.redis.connection import Link, checked
from maestro.store.redis.pool import Script

LOAD = Script("load.lua")
EXPIRE_MS = 600_000
VERSIONS_A_CALL = 1000
RESTORE_DONE = NAMES[RestoreDone].encode()


class Succession:
    """What entries lead to, taken one after the other from position 1: the head, and the version of each subject."""

    def __init__(self) -> None:
        self.head = Head()
        self.versions: dict[bytes, int] = {}
        self._restoring: Entry | None = None

    def add(self, entry: Entry) -> None:
        """Take the next one. Raises VerificationFailed where it does not follow."""
        head = self.head
        if entry.seq != head.seq + 1 or chain_of(head.chain, entry) != entry.chain:
            raise VerificationFailed(f"event {entry.seq} does not continue the log behind {head.seq}", "log")
        self.follow(entry)

    def start(self, first: Entry, versions: Mapping[bytes, int]) -> None:
        """Begin before this entry, by the versions that there were then."""
        floor = versions.get(b"", 0)
        self.head = Head(first.seq - 1, "", first.at, floor if floor < first.seq else 0)
        self.versions = {subject: seq for subject, seq in versions.items() if subject and seq < first.seq}

    def before(self, entry: Entry) -> int:
        """The version of its subject that the next one follows."""
        restoring = self._restoring
        if restoring and (entry.at, entry.actor, entry.cause) != (restoring.at, restoring.actor, restoring.cause):
            self._floor()
        return self.versions.get(entry.subject, self.head.floor)

    def follow(self, entry: Entry) -> None:
        """Take the next one, whatever it continues."""
        self.before(entry)
        if entry.type == RESTORE_DONE:
            self._restoring = entry
        self.versions[entry.subject] = entry.seq
        self.head = Head(entry.seq, entry.chain, entry.at, self.head.floor)

    def end(self) -> Head:
        """That was the last one: where the log ends now."""
        if self._restoring:
            self._floor()
        return self.head

    def _floor(self) -> None:
        """The append of a restore ends here: no subject is older than that."""
        self._restoring, self.versions = None, {}
        self.head = Head(self.head.seq, self.head.chain, self.head.at, self.head.seq)


def load(link: Link, keys: Keys, parts: Iterable[Sequence[Entry]]) -> Head:
    """Fill the log at this link, which must be empty. Raises as `LogStore.load`, and StoreAway."""
    if link.call("EXISTS", keys.log, keys.versions):
        raise taken()
    token = token_hex(8)
    log, versions = keys.loading(token, "log"), keys.loading(token, "versions")
    succession = Succession()
    for entries in parts:
        for entry in entries:
            succession.add(entry)
        for reply in link.many([*(added(log, entry) for entry in entries), ("PEXPIRE", log, EXPIRE_MS)]):
            checked(reply)
    head = succession.end()
    if not head.seq:
        return head
    fill(link, versions, succession)
    if not LOAD.run(link, [log, versions, keys.log, keys.versions], [f"{head.seq}-0"]):
        raise taken()
    return head


def fill(link: Link, versions: str, succession: Succession) -> None:
    """Put what entries lead to into a key that expires."""
    found = iter([(FLOOR.encode(), succession.head.floor), *succession.versions.items()])
    while some := list(islice(found, VERSIONS_A_CALL)):
        link.call("HSET", versions, *(word for pair in some for word in pair))
        link.call("PEXPIRE", versions, EXPIRE_MS)


def added(log: str, entry: Entry) -> tuple[bytes | str | int, ...]:
    values: tuple[bytes | str | int, ...] = (
        *(entry.type, entry.subject, entry.at, entry.actor, entry.cause),
        *(entry.prev, entry.v, entry.data, entry.chain),
    )
    fields = [word for pair in zip(FIELDS, values, strict=True) for word in pair]
    return ("XADD", log, f"{entry.seq}-0", *fields)


def taken() -> Refused:
    """The error for a log that is not empty."""
    return Refused("the log of this namespace is not empty", "store", "load into a namespace of its own")
