"""Import of a log into an empty namespace, entries unchanged: positions, times and chain stay as they are.

The entries go to temporary keys, which are renamed to the log's when they are complete. So an import that was killed
leaves no log behind; its keys expire. Of two imports at once only one can succeed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from secrets import token_hex

from maestro.model.errors import Refused, VerificationFailed
from maestro.model.events import NAMES, RestoreDone
from maestro.store.codec import FIELDS, chain_of
from maestro.store.contract import Entry, Head
from maestro.store.keys import FLOOR, HORIZON, Keys, may_be_forgotten
from maestro.store.redis.connection import Connection, checked
from maestro.store.redis.pool import Script

LOAD = Script("load.lua")
EXPIRE_MS = 600_000
VERSIONS_A_CALL = 1000
RESTORE_DONE = NAMES[RestoreDone].encode()


class Succession:
    """The state that entries lead to, taken in order from position 1: the head, and the version of each subject.

    horizon: up to which versions were forgotten and are left out; 0 where all are there.
    """

    def __init__(self) -> None:
        self.head = Head()
        self.horizon = 0
        self.versions: dict[bytes, int] = {}
        self._restoring: Entry | None = None

    def add(self, entry: Entry) -> None:
        """Take the next entry. Raises VerificationFailed where it does not continue the chain."""
        head = self.head
        if entry.seq != head.seq + 1 or chain_of(head.chain, entry) != entry.chain:
            raise VerificationFailed(f"event {entry.seq} does not continue the log behind {head.seq}", "log")
        self.follow(entry)

    def start(self, first: Entry, versions: Mapping[bytes, int]) -> None:
        """Begin before this first entry, with the versions that existed then."""
        floor = versions.get(b"", 0)
        self.head = Head(first.seq - 1, "", first.at, floor if floor < first.seq else 0)
        held = ((subject, seq) for subject, seq in versions.items() if subject not in (b"", HORIZON.encode()))
        self.versions = {subject: seq for subject, seq in held if seq < first.seq}

    def before(self, entry: Entry) -> int:
        """The `prev` value of the next entry: the version of its subject before it."""
        restoring = self._restoring
        if restoring and (entry.at, entry.actor, entry.cause) != (restoring.at, restoring.actor, restoring.cause):
            self._floor()
        return self.versions.get(entry.subject, self.head.floor)

    def follow(self, entry: Entry) -> None:
        """Take the next entry without checking its chain."""
        self.before(entry)
        if entry.type == RESTORE_DONE:
            self._restoring = entry
        self.versions[entry.subject] = entry.seq
        self.head = Head(entry.seq, entry.chain, entry.at, self.head.floor)

    def end(self) -> Head:
        """Finish after the last entry; returns the head of the log."""
        if self._restoring:
            self._floor()
        return self.head

    def stored(self) -> dict[bytes, int]:
        """The fields of the versions hash."""
        horizon = {HORIZON.encode(): self.horizon} if self.horizon else {}
        return {FLOOR.encode(): self.head.floor, **horizon, **self.versions}

    def forget(self, held: Mapping[bytes, int]) -> None:
        """Leave out what a versions hash has forgotten: the versions up to its horizon that it does not hold."""
        horizon = held.get(HORIZON.encode(), 0)
        if 0 < horizon <= self.head.seq:
            self.horizon = horizon
            self.versions = {
                name: seq
                for name, seq in self.versions.items()
                if seq > horizon or name in held or not may_be_forgotten(name.decode("utf-8", "replace"))
            }

    def _floor(self) -> None:
        """Set the floor at the end of a restore's append: no subject's version is older than that."""
        self._restoring, self.versions = None, {}
        self.head = Head(self.head.seq, self.head.chain, self.head.at, self.head.seq)


def load(connection: Connection, keys: Keys, parts: Iterable[Sequence[Entry]]) -> Head:
    """Fill the log on this connection, which must be empty, and return its head.

    Raises as `LogStore.load`, and StoreAway.
    """
    if connection.call("EXISTS", keys.log, keys.versions):
        raise log_not_empty()
    token = token_hex(8)
    log, versions = keys.loading(token, "log"), keys.loading(token, "versions")
    succession = Succession()
    for entries in parts:
        for entry in entries:
            succession.add(entry)
        for reply in connection.many([*(xadd(log, entry) for entry in entries), ("PEXPIRE", log, EXPIRE_MS)]):
            checked(reply)
    head = succession.end()
    if not head.seq:
        return head
    fill(connection, versions, succession)
    if not LOAD.run(connection, [log, versions, keys.log, keys.versions], [f"{head.seq}-0"]):
        raise log_not_empty()
    return head


def fill(connection: Connection, versions: str, succession: Succession) -> None:
    """Write the versions, the floor and the horizon to a temporary key."""
    found = iter(succession.stored().items())
    while some := list(islice(found, VERSIONS_A_CALL)):
        connection.call("HSET", versions, *(word for pair in some for word in pair))
        connection.call("PEXPIRE", versions, EXPIRE_MS)


def xadd(log: str, entry: Entry) -> tuple[bytes | str | int, ...]:
    """The XADD command that writes an entry unchanged."""
    values: tuple[bytes | str | int, ...] = (
        *(entry.type, entry.subject, entry.at, entry.actor, entry.cause),
        *(entry.prev, entry.v, entry.data, entry.chain),
    )
    fields = [word for pair in zip(FIELDS, values, strict=True) for word in pair]
    return ("XADD", log, f"{entry.seq}-0", *fields)


def log_not_empty() -> Refused:
    """The error for an import into a log that is not empty."""
    return Refused("the log of this namespace is not empty", "store", "load into a namespace of its own")
