"""The values that the methods of a store (`contract.py`) take and return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from maestro.model.events import NewEvent


class Head(msgspec.Struct, frozen=True):
    """The end of the log: position, chain value and time (ms) of its last event; all zero for an empty log.

    floor: the version of every subject without an event since the last restore, which is the position of that restore's
    last event (0 without a restore).
    """

    seq: int = 0
    chain: str = ""
    at: int = 0
    floor: int = 0


class Hint(msgspec.Struct, frozen=True):
    """A work hint, put on a work stream together with an append; it wakes a worker up.

    stream: a node id, or "" for the shared stream.
    event: index in the append of the `run.released` whose seq becomes the token, or -1 where `token` is given.
    """

    stream: str
    run: str
    event: int = -1
    token: int = 0


class Fence(msgspec.Struct, frozen=True):
    """The condition of an append: it is rejected unless `holder` holds `lease` at that moment.

    holder: of a daemon `<node>:<incarnation>`.
    """

    lease: str
    holder: str

    @property
    def actor(self) -> str:
        """The actor named by events that are appended under this lease: without the incarnation, which the node's last
        `node.joined` before them tells, and which would be a tenth of an event.
        """
        return f"{self.lease}:{self.holder.partition(':')[0]}"


class Append(msgspec.Struct, frozen=True):
    """Events that enter the log together or not at all.

    cause: the command id (`cmd:<ulid>`) or seq that led to them, the same on each try.
    floors: the append is a restore; its last event sets the floor of all versions.
    resend: the outcome of an earlier try is unknown, so the store looks for its events first.
    since: with `resend`, the head before the earlier try; events for any version are looked for behind it too.
    follows: one actor for each of the last events that follows from the event before it: that event's position is its
    cause.
    read_at: where the append makes subjects that were looked for and not found, the position that was read up to: it is
    rejected where the store has forgotten versions of later events; -1 where nothing was looked for.
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
    read_at: int = -1


class Committed(msgspec.Struct, frozen=True, tag=True):
    """The events are in the log at positions first..last. duplicate: an earlier try had put them there already."""

    first: int
    last: int
    at: int
    duplicate: bool = False


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """Nothing was appended. reason: `version`, `sealed`, `fence` or `bad`; actual: the subject's version, or -1.

    `sealed`: the store has forgotten the version of the subject, or (`Append.read_at`) may have.
    """

    reason: str
    subject: str = ""
    expected: int = -1
    actual: int = -1


AppendResult = Committed | Rejected


class Entry(msgspec.Struct, frozen=True):
    """One entry of the log as stored: the fields that `codec.chain_of` computes its chain over. Times in ms."""

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
    """A work hint as delivered to a node. entry: its id in the stream, to acknowledge it with."""

    stream: str
    entry: str
    run: str
    token: int


class Checkpoint(msgspec.Struct, frozen=True):
    """The position up to which the views of a generation are folded. stopped: why they can go no further, or ""."""

    seq: int = 0
    chain: str = ""
    at: int = 0
    floor: int = 0
    stopped: str = ""


class RowChange(msgspec.Struct, frozen=True):
    """A change of one view row and of its index entries.

    data: the row to write (canonical JSON), or None to delete it.
    add: index name -> score; remove: names of the indexes that the row leaves.
    """

    view: str
    row: str
    data: bytes | None
    add: Mapping[str, int] = {}
    remove: Sequence[str] = ()


class PageQuery(msgspec.Struct, frozen=True):
    """A query for one page of an index, in the order of the scores.

    newest: highest score first. min_score, max_score: inclusive, None for open.
    prefix: only rows whose id begins so; for an index whose scores are all equal (in the order of the ids' bytes,
    O(page)).
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
    """The rows of a page in order, the checkpoint that they belong to, and how many entries the index holds in all."""

    rows: list[tuple[str, bytes]]
    checkpoint: Checkpoint
    total: int
