"""Finds the snapshot that a user names by its id, as `latest`, or by the path of an export, and opens it."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.model.errors import NotFound, Refused
from maestro.model.ids import is_id, shown
from maestro.runtime.node.context import Context
from maestro.runtime.restores.origin import ExportedOrigin, Origin, StoredOrigin
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.proof import LATEST, manifest_of, newest, where_it_lies
from maestro.runtime.snapshots.shared.reached import leave, open_reached
from maestro.workspaces.archive.library import Archive


class OpenOrigins:
    """The snapshots that a command has open, as a context that closes them. Each is opened once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._archive: Archive | None = None
        self._reached: dict[str, Archive] = {}
        self._open: dict[tuple[str, str], Origin] = {}
        self._lies_on: dict[str, str] = {}

    async def archive(self) -> Archive:
        """The archive of this node. Raises as `Archive`."""
        if self._archive is None:
            self._archive = await trio.to_thread.run_sync(SnapshotFolders(self._context.settings.home).archive)
            self._archive.keep_open()
        return self._archive

    async def named(self, text: str) -> Origin:
        """The snapshot of an id, `latest`, or the absolute path of an export. Raises NotFound, VerificationFailed."""
        if text.startswith("/"):
            source: Origin = await trio.to_thread.run_sync(ExportedOrigin, await self.archive(), Path(text))
            if (source.name, "") in self._open:
                source.close()
            return self._open.setdefault((source.name, ""), source)
        if text == LATEST:
            text = await newest(self._context)
        elif not is_id(text):
            raise NotFound(
                f"{shown(text)} is no snapshot and no file",
                mend="maestro state snapshots lists all",
                sought=("snapshot", text),
            )
        return await self.snapshot(text)

    async def snapshot(self, name: str, node: str = "") -> Origin:
        """A snapshot by id, as this command has it open, or from a snapshot store. Raises NotFound, Refused.

        node: in whose archive it is to be looked for, "" for this node's, or where it does not lie here, the one that
        took it. That of another node is read through the shared archive.
        """
        if (name, node) in self._open:  # also one of which a log that was loaded meanwhile knows the beginning only
            return self._open[name, node]
        row = await self._context.row(self._context.views.snapshot, name)
        if row is not None and row.state != "complete":
            raise Refused(
                f"snapshot {name} is {row.state}", mend="maestro state snapshots lists those that are complete"
            )
        source = node or await where_it_lies(self._context, name, row)
        if source != self._context.node:
            found = await self._of(source, name, manifest_of(row, source))
            if node:
                return found
            self._lies_on[name] = source
            return self._open.setdefault((name, ""), found)
        if (name, "") not in self._open:
            archive = await self.archive()
            try:
                manifest = manifest_of(row, source)
                found = await trio.to_thread.run_sync(StoredOrigin, archive, name, manifest)
            except NotFound:
                if row is None or not row.path:
                    raise
                found = await trio.to_thread.run_sync(ExportedOrigin, archive, Path(row.path))
            self._open[name, ""] = found
        return self._open[name, ""]

    async def _of(self, node: str, name: str, manifest: str) -> Origin:
        """A snapshot in the archive of another node. Raises Refused, NotFound, VerificationFailed."""
        if (name, node) not in self._open:
            if node not in self._reached:
                self._reached[node] = await open_reached(self._context, node)
                self._reached[node].keep_open()
            self._open[name, node] = await trio.to_thread.run_sync(StoredOrigin, self._reached[node], name, manifest)
        return self._open[name, node]

    def lies_on(self, name: str) -> str:
        """In which other node's archive a snapshot lies that was opened without a node; "" for this one's."""
        return self._lies_on.get(name, "")

    async def is_file(self, name: str) -> bool:
        """Whether a snapshot is read from an export file, and not from a snapshot store."""
        if (name, "") in self._open:
            return bool(self._open[name, ""].path)
        row = await self._context.row(self._context.views.snapshot, name)
        if await where_it_lies(self._context, name, row) != self._context.node:
            return False
        return not await trio.to_thread.run_sync(SnapshotFolders(self._context.settings.home).has, name)

    def close(self) -> None:
        """Close all snapshots that are open."""
        for source in self._open.values():
            source.close()
        for archive in self._reached.values():
            leave(archive)
        if self._archive is not None:
            self._archive.close()

    def __enter__(self) -> OpenOrigins:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
