"""What every store promises: the log, work streams, view rows, blobs, leases and samples of one namespace.

Two implementations keep it: `memory/` (the reference, a real store for one process) and `redis/`, over Redis or Valkey.
All methods are synchronous and thread-safe; `gateway.py` brings them to trio. The tests under tests/store
hold both to the same vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from maestro.model.events import Event
from maestro.store.values import (
    Append,
    AppendResult,
    Checkpoint,
    Committed,
    Entry,
    Fence,
    Head,
    Hint,
    Page,
    PageQuery,
    Rejected,
    RowChange,
    WorkEntry,
)

if TYPE_CHECKING:
    from maestro.store.sealed import Sealed

__all__ = [
    "Append",
    "AppendResult",
    "BlobStore",
    "Checkpoint",
    "Committed",
    "Entry",
    "Fence",
    "Head",
    "Hint",
    "LogStore",
    "Page",
    "PageQuery",
    "Rejected",
    "RowChange",
    "Store",
    "ViewStore",
    "WorkEntry",
    "WorkStore",
]


class LogStore(Protocol):
    """The log of one namespace. Raises `StoreAway`, `Unknown`, `LineageBroken`, `StoreUnsafe` (model/errors.py).

    sealed: where what was trimmed is read from, so that all readers see one log. They raise VerificationFailed where
    a part of that is missing or damaged.
    """

    sealed: Sealed | None

    def head(self) -> Head:
        """The end of the log. Raises LineageBroken where it is not the one that was known, or a part of it is gone."""

    def look(self) -> Head:
        """As `head`, and whether the next event can be appended behind it. Raises LineageBroken."""

    def end(self) -> Head:
        """As `head`, without its floor, whatever is gone: for who looks what is wrong with a log."""

    def known(self) -> Head:
        """The newest head that this object has appended or read; no call to the server. All zero when none was."""

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group, each on its own terms, in one round trip; check first that `known` is in this log."""

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind `after`, in order. An unknown type or version comes as `Unrecognised`."""

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists, the next one asked for while this one is worked on."""

    def entries(self, after: int, count: int) -> list[Entry]:
        """As `read`, but as stored, with the chain (verification, export)."""

    def event(self, seq: int) -> Event | None:
        """One event."""

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but waits up to block_ms for the first one. On a connection of its own; `wake` ends it."""

    def cursor_get(self, group: str) -> int | None:
        """Where an external reader's durable group is: the last position that it has taken, None for a new group."""

    def cursor_set(self, group: str, seq: int) -> None:
        """Move a group's position, forwards or back; no group is ever read further than this by itself."""

    def wake(self) -> None:
        """End all blocking calls of this store object soon."""

    def first(self) -> int:
        """The first position that the store itself holds, 0 where the log is empty."""

    def trim(self, first: int) -> None:
        """Hold nothing before position `first` any more: it is sealed, and read from there. The last event stays."""

    def load(self, parts: Iterable[Sequence[Entry]]) -> Head:
        """Fill the empty log with entries, in order from position 1, as they are; versions and floor follow from them.

        Others see all of it or nothing. Raises Refused where the log is not empty, VerificationFailed where the
        entries are no unbroken log; then nothing was done.
        """

    def mend(self) -> str:
        """Make the log whole of what is left of it; what was wrong, "" where nothing was (redis/healing.py).

        Raises Conflict where it grows meanwhile, VerificationFailed where a sealed part is missing.
        """

    def version(self, subject: str) -> int:
        """The subject's version (its last event's seq, the floor if unseen since a restore, 0 if unknown)."""

    def versions(self, subjects: Sequence[str] | None = None) -> dict[str, int]:
        """The versions of subjects seen since the last restore, all or some, and under "" the floor (verification)."""


class WorkStore(Protocol):
    """Hints, leases and samples: nothing here is truth, all of it can be lost and is put again."""

    def put(self, hints: Sequence[Hint]) -> None:
        """Put hints (again)."""

    def claim(self, node: str, count: int, block_ms: int, shared: bool = True) -> list[WorkEntry]:
        """The node's own pending entries first (once per process start), then new ones of its and the shared stream."""

    def done(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge and delete."""

    def put_back(self, entries: Sequence[WorkEntry]) -> None:
        """What was claimed and cannot be carried out here: others may have it. Acknowledges and puts it again."""

    def pending(self, stream: str) -> list[tuple[str, str, int]]:
        """All hints on a stream (`""`: shared): (run, node that claimed it or "", token)."""

    def lease_take(self, lease: str, holder: str, ttl_ms: int) -> bool:
        """Take or renew a lease in server time. False when another holds it."""

    def lease_drop(self, lease: str, holder: str) -> None:
        """Give it up, if held."""

    def lease_holder(self, lease: str) -> str | None:
        """Who holds it now."""

    def sample_put(self, key: str, value: Mapping[str, str], ttl_ms: int) -> None:
        """A heartbeat under the namespace, e.g. `agent:<id>:last_heartbeat`; sets its field `at`, server ms."""

    def samples(self, keys: Sequence[str]) -> list[dict[str, str] | None]:
        """Samples by key, None where there is none (any more)."""


class ViewStore(Protocol):
    """Rows, indexes and checkpoints of the views, by generation. A generation is a name such as `3.1`.

    Each proves that it is whole: what is read or written over raises ViewDamaged where it is not what was saved.
    """

    def current(self) -> str | None:
        """The generation that readers use, None when there is none yet."""

    def checkpoint(self, generation: str) -> Checkpoint:
        """Its checkpoint; a new generation's is all zero."""

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), with the checkpoint that they are of, in one call."""

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write rows, indexes and checkpoint atomically if the checkpoint still is `before`; else False."""

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index. Cost: O(page)."""

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows of a view in row order (verification, digests)."""

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view: name -> row -> score (verification)."""

    def leaving(self, generation: str) -> bool:
        """Whether it was replaced by another one, and goes soon."""

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at `new` if they use `old` still; the old generation expires soon after."""

    def drop(self, generation: str) -> None:
        """Delete a generation that readers do not use."""


class BlobStore(Protocol):
    """Texts too large for the log, by SHA-256 of their content, compressed."""

    def put(self, data: bytes) -> str:
        """Store (again) and return the SHA-256 in hex. Call before the append that names it."""

    def get(self, sha256: str) -> bytes | None:
        """The content, checked against its name; None when there is none."""

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs not in `keep` that were last put longer ago; how many."""


class Store(Protocol):
    """Everything that a namespace keeps in its store."""

    @property
    def namespace(self) -> str:
        """Whose keys these are."""

    @property
    def log(self) -> LogStore:
        """Its events."""

    @property
    def work(self) -> WorkStore:
        """Its hints, leases and samples."""

    @property
    def views(self) -> ViewStore:
        """Its rows."""

    @property
    def blobs(self) -> BlobStore:
        """Its large texts."""

    @property
    def carried(self) -> bool:
        """Whether its calls give way while they wait for the server, where they are carried (`cooperative.py`)."""

    def attach(self, sealed: Sealed) -> None:
        """Read from there what was trimmed from the log, and the blobs that only that names."""

    def now(self) -> int:
        """Server time, ms."""

    def describe(self) -> dict[str, str]:
        """Server, version, mode and safety settings, for `doctor` and the first connection."""

    def erase(self) -> int:
        """DANGER: delete every key of this namespace; how many."""

    def memory_bytes(self) -> int:
        """Memory the server uses."""

    def close(self) -> None:
        """End blocking calls and close all connections."""
