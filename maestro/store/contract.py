"""The contract of every store: the log, work streams, view rows, blobs, leases and samples of one namespace.

Two packages implement it: `memory` (the reference, and a real store for one process) and `redis` (over Redis or
Valkey). All methods are synchronous and thread-safe; `gateway.py` makes them available to trio. The tests under
tests/store hold both implementations to the same vectors.
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
    """The log of one namespace. Its methods raise `StoreAway`, `Unknown`, `LineageBroken` and `StoreUnsafe`.

    sealed: where events that were sealed and trimmed are read from, so that all readers see one log. Reading raises
    VerificationFailed where a sealed part is missing or damaged.
    """

    sealed: Sealed | None

    def head(self) -> Head:
        """The end of the log. Raises LineageBroken where it is not the log known so far, or a part of it is gone."""

    def look(self) -> Head:
        """The end of the log, as `head`, after a check that the next event can be appended. Raises LineageBroken."""

    def end(self) -> Head:
        """The end of the log without its floor, and without any check of what is gone: for diagnosis."""

    def known(self) -> Head:
        """The newest head that this object has appended or read; no call to the server. All zero when none was."""

    def commit(self, group: Sequence[Append], known: Head | None) -> list[AppendResult]:
        """Append a group, each append on its own terms, in one round trip; check first that `known` is in this log."""

    def read(self, after: int, count: int) -> list[Event]:
        """Up to `count` events behind position `after`, in order. Unknown types or versions come as `Unrecognised`."""

    def scan(self, after: int, upto: int, chunk: int = 1000) -> Iterator[list[Event]]:
        """The events after+1..upto in lists of up to `chunk`; the next list is requested while one is worked on."""

    def entries(self, after: int, count: int) -> list[Entry]:
        """Up to `count` entries behind `after`, as stored and with their chain (for verification and export)."""

    def event(self, seq: int) -> Event | None:
        """The event at a position, None where there is none."""

    def follow(self, after: int, count: int, block_ms: int) -> list[Event]:
        """As `read`, but wait up to block_ms for the first event. Uses a connection of its own; `wake` ends it."""

    def cursor_get(self, group: str) -> int | None:
        """The last position that an external reader's durable group has taken, None for a new group."""

    def cursor_set(self, group: str, seq: int) -> None:
        """Move the position of a durable group, forwards or back; nothing else ever moves it."""

    def wake(self) -> None:
        """End all blocking calls of this store object soon."""

    def first(self) -> int:
        """The first position that the store itself holds, 0 where the log is empty."""

    def trim(self, first: int) -> None:
        """Delete all entries before position `first`, which are sealed and read from there. The last entry stays."""

    def load(self, parts: Iterable[Sequence[Entry]]) -> Head:
        """Fill the empty log with entries, unchanged and in order from position 1; versions and floor follow from them.

        Other readers see all of it or nothing. Raises Refused where the log is not empty, and VerificationFailed where
        the entries are not an unbroken log; then nothing was changed.
        """

    def mend(self) -> str:
        """Repair the log from the entries that are left (`redis/healing.py`). Returns what was wrong, "" for nothing.

        Raises Conflict where the log grows meanwhile, VerificationFailed where a sealed part is missing.
        """

    def version(self, subject: str) -> int:
        """The version of a subject: its last event's seq, the floor if unseen since a restore, 0 if unknown."""

    def versions(self, subjects: Sequence[str] | None = None) -> dict[str, int]:
        """The versions of all (or some) subjects seen since the last restore, and the floor under "" (verification).

        Of all: also the horizon under `HORIZON`, where there is one.
        """

    def forget(self, versions: Mapping[str, int], horizon: int) -> int:
        """Forget these versions where they are the subjects' still; returns how many were forgotten.

        horizon: a position that none of these is behind. From then on an append that names such a version, or that
        makes a subject after reading up to an earlier position only (`Append.read_at`), is rejected as `sealed`.
        """


class WorkStore(Protocol):
    """Work hints, leases and samples. None of it is truth: all of it can be lost, and is put again."""

    def put(self, hints: Sequence[Hint]) -> None:
        """Put hints on their work streams, also ones that were put before."""

    def claim(self, node: str, count: int, block_ms: int, shared: bool = True) -> list[WorkEntry]:
        """Claim hints: the node's own pending ones first (once per process start), then new ones of both streams.

        node: whose stream is read; block_ms: how long to wait for the first hint; shared: also claim from the shared
        stream.
        """

    def done(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge and delete claimed entries."""

    def put_back(self, entries: Sequence[WorkEntry]) -> None:
        """Return entries that were claimed but cannot be executed here: acknowledge them, put their hints again."""

    def pending(self, stream: str) -> list[tuple[str, str, int]]:
        """All hints on a stream (`""`: the shared one): (run, node that claimed it or "", token)."""

    def lease_take(self, lease: str, holder: str, ttl_ms: int) -> bool:
        """Take or renew a lease for ttl_ms of server time. False when another holder has it."""

    def lease_drop(self, lease: str, holder: str) -> None:
        """Give up a lease, if `holder` holds it."""

    def lease_holder(self, lease: str, ttl_ms: int = 0) -> str | None:
        """The current holder of a lease, None where nobody holds it.

        ttl_ms: for how long the lease is taken; one that would last longer was written by the clock of another server,
        before a failover, and ends after this time. The same holds for `lease_take`.
        """

    def lease_holders(self, leases: Sequence[str], ttl_ms: int = 0) -> list[str | None]:
        """As `lease_holder`, of many leases at once."""

    def samples_put(self, values: Mapping[str, Mapping[str, str]], ttl_ms: int) -> None:
        """Store heartbeats by key, e.g. `agent:<id>:last_heartbeat`, for ttl_ms; sets their field `at` (server ms)."""

    def samples(self, keys: Sequence[str]) -> list[dict[str, str] | None]:
        """Heartbeats by key, None for one that does not exist or has expired."""


class Saving(Protocol):
    """A save of a view that was sent and not answered yet."""

    def result(self) -> bool:
        """Wait for the answer: what `ViewStore.save` returns, and raises."""

    def abandon(self) -> None:
        """Do without the answer; the save may be carried out or not."""


class ViewStore(Protocol):
    """Rows, indexes and checkpoints of the views, by generation. A generation is a name such as `14-5f0c9a1e.0.1`.

    Reading and writing raise ViewDamaged where the stored data is not what was saved.
    """

    def current(self) -> str | None:
        """The generation that readers use, None when there is none yet."""

    def checkpoint(self, generation: str) -> Checkpoint:
        """The checkpoint of a generation, all zero for a new one."""

    def load(self, generation: str, wanted: Sequence[tuple[str, str]]) -> tuple[Checkpoint, list[bytes | None]]:
        """Rows by (view, row), None for missing ones, with the checkpoint that they belong to, in one call."""

    def save(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> bool:
        """Write rows, indexes and checkpoint atomically if the checkpoint still is `before`; else return False."""

    def send(self, generation: str, before: Checkpoint, after: Checkpoint, changes: Sequence[RowChange]) -> Saving:
        """As `save`, but without waiting for the answer: the caller works on meanwhile, and takes it then."""

    def page(self, generation: str, query: PageQuery) -> Page:
        """A page of an index. Cost: O(page)."""

    def beginning(self, generation: str, view: str, prefix: str, limit: int) -> list[str]:
        """Up to `limit` ids of rows of a view that begin with a prefix, in order. Cost: O(rows), on the server alone.

        Which, where there are more, is not said. prefix: of characters that ids may have.
        """

    def dump(self, generation: str, view: str) -> list[tuple[str, bytes]]:
        """All rows of a view in row order (for verification and digests)."""

    def indexes(self, generation: str, view: str) -> dict[str, dict[str, int]]:
        """All indexes of a view: name -> row -> score (for verification)."""

    def leaving(self, generation: str) -> bool:
        """Whether a generation was replaced by another one and is about to be deleted."""

    def switch(self, old: str | None, new: str) -> bool:
        """Point readers at generation `new` if they still use `old`, which expires soon after."""

    def drop(self, generation: str) -> None:
        """Delete a generation that readers do not use."""

    def drop_older(self) -> None:
        """Delete what readers of a release with an older layout use; nothing where there is none."""


class BlobStore(Protocol):
    """Texts too large for the log, compressed, under the SHA-256 of their content."""

    def put(self, data: bytes) -> str:
        """Store a blob (again) and return its SHA-256 in hex. Call it before the append that names the blob."""

    def get(self, sha256: str) -> bytes | None:
        """The content of a blob, checked against its name; None when there is none."""

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs that are not in `keep` and were last put longer ago than given; returns how many."""


class Store(Protocol):
    """Everything that is stored for one namespace."""

    @property
    def namespace(self) -> str:
        """The name of the namespace."""

    @property
    def log(self) -> LogStore:
        """The log of the namespace."""

    @property
    def work(self) -> WorkStore:
        """Work hints, leases and samples of the namespace."""

    @property
    def views(self) -> ViewStore:
        """View rows of the namespace."""

    @property
    def blobs(self) -> BlobStore:
        """Large texts of the namespace."""

    @property
    def cooperative(self) -> bool:
        """Whether a call that runs in a greenlet (`cooperative.py`) yields to trio while it waits for the server."""

    def attach(self, sealed: Sealed) -> None:
        """Read events that were trimmed from the log, and blobs that only those name, from `sealed`."""

    def now(self) -> int:
        """Server time in ms."""

    def describe(self) -> dict[str, str]:
        """Server, version, mode and safety settings, for `doctor` and the first connection."""

    def erase(self) -> int:
        """DANGER: delete every key of this namespace. Returns how many."""

    def memory_bytes(self) -> int:
        """Bytes of memory that the server uses."""

    def close(self) -> None:
        """End blocking calls and close all connections."""
