"""The handlers of `state snapshot|snapshots|verify|pin|unpin`: rollback points of workspaces and log."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

import msgspec
import trio

from maestro.model.errors import Invalid, MaestroError, NotFound, Refused, VerificationFailed
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.snapshot import SCHEDULED, Snapshot, decide_pin, latest
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page
from maestro.runtime.provision.settlement import check_file
from maestro.runtime.server.id_prefixes import check_whole_snapshot, snapshot_meant
from maestro.runtime.server.rows import Row, snapshot_row
from maestro.runtime.snapshots import proof, scrub
from maestro.runtime.snapshots.across.asking import Spread, outcome, spread_of, take_across
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.procedure import take
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.request import ASKED, SnapshotRequest, TakenSnapshot
from maestro.runtime.snapshots.shared import copy_scrub
from maestro.runtime.snapshots.shared.merging import check_may_merge, export_parts

ROLLING = "--rolling"
LOOK_S_MAX = 60.0
"""So long it is looked for what is known to be damaged here; a list then says nothing of it."""


async def snapshot(call: Call, command: p.StateSnapshot) -> p.Done:
    """Take a snapshot, and export it where a file is named. Raises as `_check_output`, and Refused as `check_file`."""
    if command.include_logs and not command.output:
        what = "what the agents have printed goes to a file only"
        raise Invalid(what, "--include-logs", "name the file with --output")
    name = ""
    if command.firing:
        taken_before, name = await _of_firing(call, command.firing)
        if taken_before is not None and taken_before.open:  # an earlier daemon has asked for it
            taken_before = await outcome(call, taken_before.id, taken_before.version)
        if taken_before is not None:
            return p.Done(snapshot_row(taken_before, call.context.settings.snapshot_retention_days))
    agents = await agents_named(call, command.workspaces) if command.workspaces else None
    if command.output:
        await trio.to_thread.run_sync(_check_output, command.output)
        await check_file(call.context, command.output, "--output")
    wanted = SnapshotRequest(
        reason=SCHEDULED if command.firing else ASKED,
        name=name,
        agents=agents,
        include_logs=command.include_logs,
        allow_torn=command.allow_torn,
        allow_missing=command.allow_missing,
        rolling=command.rolling,
        output=command.output,
    )
    spread = await spread_of(call.context, agents)
    if spread.here or (taken := await _across(call, wanted, spread)) is None:
        taken = await take(call, wanted)
    told = snapshot_row(taken.row, call.context.settings.snapshot_retention_days, is_latest=not wanted.output)
    if taken.exported is not None:
        told |= {"sha256": taken.exported.sha256, "file_bytes": taken.exported.bytes}
    return p.Done(told)


async def _across(call: Call, wanted: SnapshotRequest, spread: Spread) -> TakenSnapshot | None:
    """Take a snapshot over several nodes; None where it is this node's alone. Raises Refused as `take_across`."""
    if wanted.output and wanted.allow_missing and call.context.settings.archive_url is None:
        return None
    check_across(call, wanted, spread)
    row = await take_across(call, wanted, spread)
    if row is None:
        return None
    return TakenSnapshot(row, await export_parts(call, row, wanted.output) if wanted.output else None)


def check_across(call: Call, wanted: SnapshotRequest | p.StateSnapshot, spread: Spread) -> None:
    """Check that what is wanted can be of several nodes. Raises Refused."""
    where = " and ".join(sorted(spread.agents))
    mend = "leave it away, or name workspaces of one node with --workspace"
    if wanted.rolling:
        raise Refused(f"what is to be kept lies on the nodes {where}, and is read as of one position", ROLLING, mend)
    if wanted.output and not (wanted.allow_missing and call.context.settings.archive_url is None):
        check_may_merge(call.context, where)


async def _of_firing(call: Call, firing: str) -> tuple[Snapshot | None, str]:
    """The snapshot of a firing that is complete, or on; None where none is; and the id that the next attempt gets."""
    for number in count(1):
        name = firing if number == 1 else f"{firing}-{number}"
        row = await call.context.row(call.context.views.snapshot, name)
        if row is None or row.complete or row.open:
            return row, name
    raise AssertionError("there is no last number")


async def agents_named(call: Call, named: list[str]) -> tuple[str, ...]:
    """The ids of the agents that a user names by their ids or by their workspaces. Raises NotFound."""
    rows = [row for row in await call.context.agents() if row.workspace]
    found: dict[str, None] = {}
    for name in named:
        path = Path(call.caller.cwd, name)
        # The path as it is written counts too: the workspace may be a link by now.
        paths = (os.path.realpath(path), os.path.normpath(path))
        mine = [row.id for row in rows if name == row.id] or [row.id for row in rows if row.workspace in paths]
        if not mine:
            raise NotFound(
                f"{shown(name)} is no workspace of an agent",
                "--workspace",
                "maestro workspace list shows all",
                sought=("agent", name),
            )
        found[mine[0]] = None
    return tuple(found)


def _check_output(output: str) -> None:
    """Refuse, before the work, an export file that cannot be written. Raises Invalid, NotFound."""
    path = Path(output)
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Invalid(f"{output!r} cannot be written: {error.strerror}", "--output", "name another") from None
    if path.is_dir():
        raise Invalid(f"{output!r} is a folder", "--output", "name a file in it")
    if not path.parent.is_dir():
        raise NotFound(f"there is no folder {str(path.parent)!r}", "--output", "make it first")
    if path.exists() and not path.is_file():
        raise Invalid(f"{output!r} is no regular file", "--output", "name another")


async def list_snapshots(call: Call, command: p.StateSnapshots) -> p.Done:
    """List the snapshots that can be restored, newest first; with `all` the others too."""
    context = call.context
    which = "all" if command.all else "complete"
    page = await context.page(context.views.snapshots, which, limit=command.limit)
    rows = page.rows
    newest = latest(await context.rows(context.views.snapshots))
    damaged = await _damaged(call, rows)
    for row in rows:
        is_latest = newest is not None and row.id == newest.id
        told = snapshot_row(row, context.settings.snapshot_retention_days, is_latest, damaged.get(row.id))
        await call.item(told)
    is_cut = page.total > len(rows)
    return p.Done(cut=cut_of_page(len(rows), "snapshots", page.total, page.total) if is_cut else None)


async def _damaged(call: Call, rows: list[Snapshot]) -> dict[str, Row]:
    """What the snapshots of this node lack, by id, as far as that is known."""
    context = call.context
    if context.is_past:
        return {}
    folders = SnapshotFolders(context.settings.home)
    try:
        looked = await context.together({"damaged": folders.damaged}, LOOK_S_MAX)
    except MaestroError as error:
        await call.note(f"whether snapshots are damaged cannot be said: {error.line()}", "warn")
        return {}
    lacking: dict[str, Row] = {name: msgspec.to_builtins(one) for name, one in looked.get("damaged", {}).items()}
    for row in rows:
        if row.complete and context.node in row.nodes and not row.path and not folders.has(row.id):
            lacking[row.id] = {"files": 0, "why": "it is not in the snapshot store any more", "lost": []}
    return lacking


async def verify(call: Call, command: p.StateVerify) -> p.Done:
    """Read and check all of a snapshot or of an export; or all of the archive."""
    if command.all:
        row = await scrub.read_all(call)
        return p.Done(row, 0 if row["ok"] else VerificationFailed.exit_code)
    if command.copies:
        row = await _verify_copies(call)
        return p.Done(row, 0 if row["ok"] else VerificationFailed.exit_code)
    return p.Done(await proof.prove(call, await snapshot_meant(call.context, command.source)))


async def _verify_copies(call: Call) -> Row:
    """Read this node's copies in the shared archive, and mend what is damaged there. Raises Refused."""
    context = call.context
    found = await copy_scrub.scrub(
        context, context.node, everything=True, report=ProgressReport(call.note, "verifying").written
    )
    if found is None:
        raise Refused("this node has no shared archive", "--copies", "maestro state verify --all reads its own")
    for name in found.mended:
        await call.note(f"the copy of snapshot {name} was damaged, and was written anew from what lies here")
    damaged = [{"object": name, "why": why} for name, why in sorted(found.broken.items())]
    row = {"ok": not damaged, "objects": found.objects, "bytes": found.bytes}
    return row | {"mended": found.mended, "damaged": damaged}


async def pin(call: Call, command: p.StatePin) -> p.Done:
    """Keep a snapshot for ever, or let it expire."""
    context = call.context
    await check_whole_snapshot(context, command.id, f"state {'pin' if command.pinned else 'unpin'}")
    name = await proof.named(call, command.id)

    async def decision() -> list[NewEvent]:
        row = await context.row(context.views.snapshot, name)
        return decide_pin(name, row, command.pinned, await context.floor())

    await context.decide(call, decision)
    row = await context.row(context.views.snapshot, name)
    assert row is not None
    newest = latest(await context.rows(context.views.snapshots))
    is_latest = newest is not None and newest.id == row.id
    return p.Done(snapshot_row(row, context.settings.snapshot_retention_days, is_latest))


HANDLERS: dict[type[p.Command], Handler] = {
    p.StateSnapshot: snapshot,
    p.StateSnapshots: list_snapshots,
    p.StateVerify: verify,
    p.StatePin: pin,
}
