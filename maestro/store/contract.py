"""What every store promises: the log, work streams, view rows, blobs, leases and samples of one namespace.

Two implementations keep it: `memory.py` (the reference, a real store for one process) and `log.py`, `work.py`,
`views.py`, `blobs.py` over Redis or Valkey. All methods are synchronous and thread-safe; `gateway.py` brings them
to trio. The tests under tests/store hold both to the same vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from maestro.model.events import Event, NewEvent


class Head(msgspec.Struct, frozen=True):
    """Where the log ends. floor: the version that every subject unseen since the last restore has (DESIGN.md 2)."""

    seq: int = 0
    chain: str = ""
    at: int = 0
    floor: int = 0


class Hint(msgspec.Struct, frozen=True):
    """A work hint to put with an append. stream: a node id, or "" for the shared one.

    event: index of the `run.released` in the append, whose seq becomes the token; or -1 with `token` given.
    """

    stream: str
    run: str
    event: int = -1
    token: int = 0


class Fence(msgspec.Struct, frozen=True):
    """The append holds only while this lease has this holder."""

    lease: str
    holder: str


class Append(msgspec.Struct, frozen=True):
    """Events that enter the log together or not at all.

    cause: the command id (`cmd:<ulid>`) or seq that led to it, the same on each try. floors: this is a restore, whose
    last event sets the floor. resend: an earlier try's outcome is unknown; with `since` (the head before that try) it
    lets events of any version be recognised too.
    """

    events: tuple[NewEvent, ...]
    actor: str
    cause: str
    hints: tuple[Hint, ...] = ()
    fence: Fence | None = None
    floors: bool = False
    resend: bool = False
    since: int = 0


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The events are in the log at first..last. duplicate: they were there already, from an earlier try."""

    first: int
    last: int
    at: int
    duplicate: bool = False


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """Nothing was appended. reason: `version`, `fence` or `bad`; actual: the subject's version, or -1."""

    reason: str
    subject: str = ""
    expected: int = -1
    actual: int = -1


AppendResult = Committed | Rejected


class Entry(msgspec.Struct, frozen=True):
    """One entry of the log as stored: what `chain` is computed over (`codec.chain_of`). Times in ms."""

    seq: int
    type: bytes
    subject: bytes
    at: int
    actor: bytes
    cause: bytes
    prev: int
    v: bytes
    data: bytes
    chain: str


class WorkEntry(msgspec.Struct, frozen=True):
    """A hint as delivered. entry: its id in the stream, to acknowledge it with."""

    stream: str
    entry: str
    run: str
    token: int


class Checkpoint(msgspec.Struct, frozen=True):
    """How far the views of a generation are. stopped: why they can go no further (an unknown event), or ""."""

    seq: int = 0
    chain: str = ""
    at: int = 0
    floor: int = 0
    stopped: str = ""


class RowChange(msgspec.Struct, frozen=True):
    """A row to write (`data`, canonical JSON) or to delete (None), and its index entries.

    add: index name -> score; remove: names of the indexes that it leaves.
    """

    view: str
    row: str
    data: bytes | None
    add: Mapping[str, int] = {}
    remove: Sequence[str] = ()


class PageQuery(msgspec.Struct, frozen=True):
    """A page of one index, by score. newest: highest score first. min_score/max_score: inclusive, None for open.

    prefix: only rows whose id begins so, for an index whose scores are all equal (by bytes of the id, O(page) too).
    """

    view: str
    index: str
    offset: int = 0
    limit: int = 100
    newest: bool = True
    min_score: int | None = None
    max_score: int | None = None
    prefix: str = ""


class Page(msgspec.Struct, frozen=True):
    """The rows of a page in order, the checkpoint that they are of, and how many the index holds in all."""

    rows: list[tuple[str, bytes]]
    checkpoint: Checkpoint
    total: int


class LogStore(Protocol):
    """The log of one namespace. Raises `StoreAway`, `Unknown`, `LineageBroken`, `StoreUnsafe` (model/errors.py)."""

    def head(self) -> Head:
        """The end of the log."""

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

    def version(self, subject: str) -> int:
        """The subject's version (its last event's seq, the floor if unseen since a restore, 0 if unknown)."""


class WorkStore(Protocol):
    """Hints, leases and samples: nothing here is truth, all of it can be lost and is put again."""

    def put(self, hints: Sequence[Hint]) -> None:
        """Put hints (again)."""

    def claim(self, node: str, count: int, block_ms: int, shared: bool = True) -> list[WorkEntry]:
        """The node's own pending entries first (once per process start), then new ones of its and the shared stream."""

    def done(self, entries: Sequence[WorkEntry]) -> None:
        """Acknowledge and delete."""

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
    """Rows, indexes and checkpoints of the views, by generation. A generation is a name such as `3.1`."""

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
