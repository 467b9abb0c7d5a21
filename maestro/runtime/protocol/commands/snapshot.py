"""Commands about snapshots: take, list, verify and pin them."""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command


class StateSnapshot(Command, frozen=True, tag_field="kind", tag="state snapshot"):
    """Take a snapshot. Data: snapshot row, with `output` also {sha256, file_bytes} of the file.

    Notes of level `progress` are sent meanwhile.
    workspaces: paths of workspaces or ids of agents, none for all of all nodes.
    output: absolute path of an export, "" for none. include_logs: the export holds what the agents have printed, too.
    firing: of a schedule, which takes it: what its id begins with; one of them that is complete is the answer.
    """

    workspaces: list[str] = msgspec.field(default_factory=list)
    output: str = ""
    include_logs: bool = False
    allow_torn: bool = False
    allow_missing: bool = False
    rolling: bool = False
    firing: str = ""


class StateSnapshots(Command, frozen=True, tag_field="kind", tag="state snapshots"):
    """List snapshots. Items: snapshot rows, newest first.

    Row: {id, taken_at, position, state, reason, automatic, pinned, latest, workspaces, bytes, added_bytes,
    expires_at|null, damaged: {files, why, lost}|null, nodes, parts: [{node, state, why|null, ...}], ...}.
    all: also those that failed, have expired or are being taken.
    """

    all: bool = False
    limit: int = 100


class StateVerify(Command, frozen=True, tag_field="kind", tag="state verify"):
    """Verify a snapshot. Data: {ok, snapshot, file, position, manifest, entries, bytes, views, ...}.

    source: an id, `latest` or a path.
    all: verify every byte of the snapshot store instead. Data: {ok, packs, bytes, quarantined, released, damaged:
    [{snapshot, files, why}]}; exit code 6 where anything is damaged.
    copies: verify this node's copies in the shared archive, and mend them from its own. Data: {ok, objects, bytes,
    mended: [snapshot], damaged: [{object, why}]}; exit code 6 where anything is damaged still.
    """

    source: str = ""
    all: bool = False
    copies: bool = False


class StatePin(Command, frozen=True, tag_field="kind", tag="state pin"):
    """Pin or unpin a snapshot. Data: snapshot row. pinned: whether it is kept for ever from now on."""

    id: str
    pinned: bool = True
