"""Commands about snapshots: taking, listing, proving and keeping them."""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command


class StateSnapshot(Command, frozen=True, tag_field="kind", tag="state snapshot"):
    """Data: snapshot row, with {sha256, file_bytes} of the file with `output`; notes of level `progress` meanwhile.

    workspaces: paths of workspaces or ids of agents, none for all of this node; output: absolute path, "" for none.
    """

    workspaces: list[str] = msgspec.field(default_factory=list)
    output: str = ""
    include_logs: bool = False
    allow_torn: bool = False
    allow_missing: bool = False
    rolling: bool = False


class StateSnapshots(Command, frozen=True, tag_field="kind", tag="state snapshots"):
    """Items: snapshot rows, newest first {id, taken_at, position, state, reason, automatic, pinned, latest, workspaces,
    bytes, added_bytes, expires_at|null, damaged: {files, why, lost}|null, ...}. all: those too that failed, have
    expired or are being taken.
    """

    all: bool = False
    limit: int = 100


class StateVerify(Command, frozen=True, tag_field="kind", tag="state verify"):
    """Data: {ok, snapshot, file, position, manifest, entries, bytes, views, ...}. source: an id, `latest` or a path.

    all: every byte of the snapshot store instead. Data: {ok, packs, bytes, quarantined, released, damaged: [{snapshot,
    files, why}]}; exit code 6 where there are any.
    """

    source: str = ""
    all: bool = False


class StatePin(Command, frozen=True, tag_field="kind", tag="state pin"):
    """Data: snapshot row. pinned: whether it is kept for ever from now on."""

    id: str
    pinned: bool = True
