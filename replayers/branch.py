"""A branch of a log: its history up to a position and events of its own behind that, in an empty namespace.

All of it is loaded at once, so that nobody ever sees the history alone, with its open tasks and schedules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from maestro.model.errors import NotFound
from maestro.model.events import NAMES, VERSIONS, NewEvent
from maestro.store.codec import chain_of
from maestro.store.contract import Entry, Head, Store
from maestro.store.redis.log_import import Succession
from replayers.blobs import named_by
from replayers.ranges import CHUNK, between, entry_at

_json = msgspec.json.Encoder(order="deterministic").encode


class Origin(msgspec.Struct, frozen=True):
    """Of the events behind the history: server time in ms, who caused them, and by which command: its own one."""

    at: int
    actor: str
    cause: str


class Branching:
    """The history of a store up to a position, read once: the state of its subjects there, and the blobs it names.

    Raises NotFound where there is no such position, VerificationFailed where the log is damaged.
    """

    def __init__(self, store: Store, position: int) -> None:
        end = entry_at(store, position)
        if end is None:
            raise NotFound(f"there is no position {position}", mend=f"the log goes from 1 to {store.log.head().seq}")
        self._store = store
        self._succession = Succession()
        self.end = end
        self.blobs: dict[str, None] = {}
        for entry in between(store, 1, position):
            self._succession.add(entry)
            self.blobs.update(dict.fromkeys(named_by(entry)))

    def load(self, target: Store, events: Sequence[NewEvent], origin: Origin) -> Head:
        """Fill the empty target with the history, its blobs, and these events; whole or not at all.

        A blob that the store has lost before is lost in the branch too. Raises as `LogStore.load`.
        """
        for name in self.blobs:
            data = self._store.blobs.get(name)
            if data is not None:
                target.blobs.put(data)
        behind = self._entries(events, origin)
        return target.log.load(self._parts(behind))

    def _parts(self, behind: list[Entry]) -> Iterator[list[Entry]]:
        history = between(self._store, 1, self.end.seq)
        while part := list(islice(history, CHUNK)):
            yield part
        yield behind

    def _entries(self, events: Sequence[NewEvent], origin: Origin) -> list[Entry]:
        """The entries of one append behind the history, as the log itself would make them."""
        found, chain, at = [], self.end.chain, max(origin.at, self.end.at)
        for seq, event in enumerate(events, self.end.seq + 1):
            name = NAMES[type(event.fact)]
            words = (name.encode(), event.subject.encode(), at, origin.actor.encode(), origin.cause.encode())
            version = b"%d" % VERSIONS.get(name, 1)
            blank = Entry(seq, *words, 0, version, _json(event.fact), "")
            entry = msgspec.structs.replace(blank, prev=self._succession.before(blank))
            chain = chain_of(chain, entry)
            entry = msgspec.structs.replace(entry, chain=chain)
            self._succession.follow(entry)
            found.append(entry)
        return found
