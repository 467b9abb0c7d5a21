"""What goes into a store and comes out of it: the values that the methods of `contract.py` take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from maestro.model.events import NewEvent


class Head(msgspec.Struct, frozen=True):
    """Where the log ends. floor: the version that every subject unseen since the last restore has."""

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

    @property
    def actor(self) -> str:
        """Who appends what the holder of the lease decides, as events name their actor."""
        return f"{self.lease}:{self.holder}"


class Append(msgspec.Struct, frozen=True):
    """Events that enter the log together or not at all.

    cause: the command id (`cmd:<ulid>`) or seq that led to it, the same on each try. floors: this is a restore, whose
    last event sets the floor. resend: an earlier try's outcome is unknown; with `since` (the head before that try) it
    lets events of any version be recognised too. follows: actors of the last events, of which each follows from the one
    before it: that one's position is its cause.
    """

    events: tuple[NewEvent, ...]
    actor: str
    cause: str
    hints: tuple[Hint, ...] = ()
    fence: Fence | None = None
    floors: bool = False
    resend: bool = False
    since: int = 0
    follows: tuple[str, ...] = ()


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
