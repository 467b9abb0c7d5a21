"""The archives of failsafe mode: one workspace without the log, before a guarded run and of what a bad one left.

Such an archive is an automatic snapshot like any other, but for the log that it does not hold, so that it costs the
same however long that is. Where the workspace looks exactly as it did when it was archived last, no new one is taken.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import trio

from maestro import files
from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.agent import Agent
from maestro.model.errors import Conflict, MaestroError, Refused
from maestro.model.events import NewEvent, SnapshotFailed, SnapshotStarted, SnapshotTaken, SnapshotWorkspace
from maestro.model.monitoring.failsafe import REASON
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.meta import SnapshotMeta, encode
from maestro.runtime.snapshots.procedure import FAIL_S_MAX, new_name
from maestro.runtime.snapshots.progress import mind_room
from maestro.runtime.snapshots.retention import DAY_MS
from maestro.runtime.snapshots.sources import Source
from maestro.store.contract import Committed
from maestro.workspaces.appearance import Appearance, look
from maestro.workspaces.archive.write.snapshot_writer import Saved, Source as Tree, Torn
from maestro.workspaces.mounts import check_no_mounts, is_mount
from replayers.ranges import entry_at

F = TypeVar("F")

TRIES_MAX = 3
PAUSE_S = 0.5
RECORD_BYTES_MAX = 1 << 16
YOUNG_SHARE = 0.8
"""How much of the days of retention an archive may be old to be used again: no run lasts longer than what is left."""


class Record(msgspec.Struct, frozen=True):
    """Which archive holds a workspace that looks so. digest: of its `Appearance`."""

    workspace: str
    snapshot: str
    digest: str


def source_of(agent: str, workspace: str) -> Source:
    """A workspace as snapshots name it."""
    return Source(f"workspaces/{agent}", workspace, agent)


def folder_of(home: Path) -> Path:
    """The folder of what failsafe mode remembers, made if absent."""
    return private_folder(home / "failsafe", "MAESTRO_HOME", tighten=True)


async def keep_before_run(context: Context, agent: str, workspace: str, cause: str) -> str:
    """The id of an archive that holds a workspace exactly as it is now. Raises as `keep`, Refused for mounts in it."""
    await trio.to_thread.run_sync(check_no_mounts, workspace, "moved when it goes back")
    seen = await trio.to_thread.run_sync(look, workspace)
    if found := await _known(context, workspace, seen):
        return found
    async with SnapshotFolders(context.settings.home).turn(_in_silence):
        if found := await _known(context, workspace, seen):  # it was taken while this one waited
            return found
    snapshot = await keep(context, source_of(agent, workspace), REASON, cause)
    if seen.calm:
        await trio.to_thread.run_sync(_remember, context, Record(workspace, snapshot, seen.digest))
    return snapshot


async def keep(context: Context, source: Source, reason: str, cause: str) -> str:
    """Archive one folder in which no run is on; returns the id of the snapshot.

    Raises Torn where somebody writes there all the time, Refused where it cannot be read, or a disk is full: then there
    is no such snapshot.
    """
    for _ in range(TRIES_MAX - 1):
        try:
            return await _Keeping(context, source, reason, cause).run()
        except Torn:
            await trio.sleep(PAUSE_S)
    return await _Keeping(context, source, reason, cause).run()


async def tell(
    context: Context, decide: Callable[[F, Agent | None, int], Sequence[NewEvent]], fact: F, actor: str, cause: str
) -> None:
    """Append what a decision on the row of an agent makes of a fact of it; nothing where it makes nothing."""
    agent: str = fact.agent  # type: ignore[attr-defined]
    race = Race(f"agent {agent} keeps changing")
    while True:
        row: Agent | None = await context.row(context.views.agent, agent)
        events = decide(fact, row, await context.floor())
        if not events or isinstance(await context.append(events, actor, cause), Committed):
            return
        await race.lost()


async def _known(context: Context, workspace: str, seen: Appearance) -> str:
    """The archive of a workspace that looked so, "" where there is none any more, or not for long."""
    record = await trio.to_thread.run_sync(_recorded, context.settings.home, workspace)
    if record is None or record.workspace != workspace or record.digest != seen.digest:
        return ""
    row = await context.row(context.views.snapshot, record.snapshot)
    if row is None or not row.complete or not SnapshotFolders(context.settings.home).has(row.id):
        return ""
    age = await context.now() - row.taken_at
    return row.id if age < YOUNG_SHARE * context.settings.snapshot_retention_days * DAY_MS else ""


def _path_of(home: Path, workspace: str) -> Path:
    name = hashlib.sha256(workspace.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return folder_of(home) / f"{name}.seen"


def _recorded(home: Path, workspace: str) -> Record | None:
    try:
        return msgspec.json.decode(files.content(_path_of(home, workspace), RECORD_BYTES_MAX), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def _remember(context: Context, record: Record) -> None:
    try:
        replace(_path_of(context.settings.home, record.workspace), msgspec.json.encode(record), durable=False)
    except OSError as error:  # the next run has it archived anew
        log.info("what was archived is not remembered: %s", error)


async def _in_silence() -> None:
    return


class _Keeping:
    """Takes one such snapshot."""

    def __init__(self, context: Context, source: Source, reason: str, cause: str) -> None:
        self._context = context
        self._source = source
        self._reason = reason
        self._cause = cause
        self._id = new_name()
        self._folders = SnapshotFolders(context.settings.home)

    async def run(self) -> str:
        async with self._folders.turn(_in_silence):
            position = await self._append(
                SnapshotStarted(self._id, self._reason, True, (self._source.agent,), self._context.node),
                await self._context.floor(),
            )
            try:
                meta = await self._meta(position)
                saved = await trio.to_thread.run_sync(self._save, encode(meta))
                await self._append(self._taken(meta, saved), position)
            except BaseException as error:
                with trio.CancelScope(shield=True), trio.move_on_after(FAIL_S_MAX):
                    await self._fail(error, position)
                raise
        return self._id

    async def _append(self, fact: SnapshotStarted | SnapshotTaken | SnapshotFailed, expected: int) -> int:
        event = NewEvent(f"snapshot:{self._id}", fact, expected)
        result = await self._context.append([event], f"worker:{self._context.node}", self._cause)
        if not isinstance(result, Committed):
            raise Conflict(f"snapshot {self._id} was given up by another process", mend="try again")
        return result.last

    async def _meta(self, position: int) -> SnapshotMeta:
        context, source = self._context, self._source
        end = await context.call(entry_at, context.store, position)
        if end is None:
            raise Refused(f"position {position} is not in the log any more", "snapshot")
        mounted = await trio.to_thread.run_sync(is_mount, source.path)
        held = SnapshotWorkspace(source.agent, source.place, source.tree, position, mounted)
        return SnapshotMeta(
            namespace=context.settings.namespace,
            node=context.node,
            position=position,
            chain=end.chain,
            workspace_root=str(context.settings.workspace_root),
            reason=self._reason,
            automatic=True,
            taken_at=time.time_ns() // 1_000_000,
            workspaces=(held,),
        )

    def _save(self, meta: dict[str, object]) -> Saved:
        source = self._source

        def go_on(*_: int) -> None:
            trio.from_thread.check_cancelled()
            mind_room(self._context)

        return self._folders.archive().save(
            [Tree(source.tree, source.path, source.place)], self._id, meta, progress=go_on
        )

    def _taken(self, meta: SnapshotMeta, saved: Saved) -> SnapshotTaken:
        return SnapshotTaken(
            self._id,
            meta.position,
            True,
            reason=self._reason,
            manifest=saved.manifest,
            workspaces=meta.workspaces,
            bytes=saved.bytes,
            added_bytes=saved.added_bytes,
            node=self._context.node,
            not_held=tuple(saved.not_held),
        )

    async def _fail(self, error: BaseException, position: int) -> None:
        """Record that there is no such snapshot. If that fails, the next start of the daemon does it."""
        why = error.line() if isinstance(error, MaestroError) else "interrupted"
        try:
            await self._append(SnapshotFailed(self._id, why), position)
        except MaestroError as failure:
            log.warning("snapshot %s: %s; and before that: %s", self._id, failure.line(), why)
