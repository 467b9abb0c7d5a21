"""Finds the snapshot that a user names by its id, as `latest`, or by the path of an export, and opens it."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.model.errors import NotFound, Refused
from maestro.model.ids import is_id, shown
from maestro.runtime.node.context import Context
from maestro.runtime.restores.origin import ExportedOrigin, Origin, StoredOrigin
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.proof import LATEST, newest
from maestro.workspaces.archive.library import Archive


class OpenOrigins:
    """The snapshots that a command has open, as a context that closes them. Each is opened once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._archive: Archive | None = None
        self._open: dict[str, Origin] = {}

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
            if source.name in self._open:
                source.close()
            return self._open.setdefault(source.name, source)
        if text == LATEST:
            text = await newest(self._context)
        elif not is_id(text):
            raise NotFound(
                f"{shown(text)} is no snapshot and no file",
                mend="maestro state snapshots lists all",
                sought=("snapshot", text),
            )
        return await self.snapshot(text)

    async def snapshot(self, name: str) -> Origin:
        """A snapshot by id, as this command has it open, or from the snapshot store. Raises NotFound, Refused."""
        if name not in self._open:
            row = await self._context.row(self._context.views.snapshot, name)
            if row is not None and row.state != "complete":
                raise Refused(
                    f"snapshot {name} is {row.state}", mend="maestro state snapshots lists those that are complete"
                )
            archive = await self.archive()
            try:
                manifest = row.manifest if row is not None else ""
                self._open[name] = await trio.to_thread.run_sync(StoredOrigin, archive, name, manifest)
            except NotFound:
                if row is None or not row.path:
                    raise
                self._open[name] = await trio.to_thread.run_sync(ExportedOrigin, archive, Path(row.path))
        return self._open[name]

    async def is_file(self, name: str) -> bool:
        """Whether a snapshot is read from an export file, and not from the snapshot store."""
        if name in self._open:
            return bool(self._open[name].path)
        return not await trio.to_thread.run_sync(SnapshotFolders(self._context.settings.home).has, name)

    def close(self) -> None:
        """Close all snapshots that are open."""
        for source in self._open.values():
            source.close()
        if self._archive is not None:
            self._archive.close()

    def __enter__(self) -> OpenOrigins:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
