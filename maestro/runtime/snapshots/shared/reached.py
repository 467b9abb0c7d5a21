"""Reaches the archive of any node: this one's own, or another's in the shared archive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from maestro.model.errors import Refused
from maestro.model.ids import shown
from maestro.runtime.node.context import Context
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.shared.copying import Report
from maestro.runtime.snapshots.shared.fetched_archive import FetchedArchive
from maestro.runtime.snapshots.shared.identity import shared_place
from maestro.workspaces.archive.library import Archive


@asynccontextmanager
async def reached(context: Context, node: str, report: Report | None = None) -> AsyncIterator[Archive]:
    """The archive of a node, "" for this one, for the block: of another node what is needed is fetched when it is.

    report: called in the thread that fetches, with the bytes done, and all of them. Raises Refused, naming node and
    URL, where the archive of another node is out of reach; then and later as `FetchedArchive`.
    """
    archive = await open_reached(context, node, report)
    try:
        yield archive
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(leave, archive)


async def open_reached(context: Context, node: str, report: Report | None = None) -> Archive:
    """The archive of a node as `reached` has it, to be ended by `leave`."""
    if node in ("", context.node):
        return await trio.to_thread.run_sync(SnapshotFolders(context.settings.home).archive)
    try:
        place = await shared_place(context)
    except Refused as error:
        raise Refused(
            f"the archive of node {shown(node)} is out of reach: {error.what}", error.where, error.mend
        ) from None
    if place is None:
        what = f"what node {shown(node)} has archived lies there alone"
        mend = "run this on that node, or set MAESTRO_ARCHIVE_URL on all nodes to an archive that they share"
        raise Refused(what, f"node {shown(node)}", mend)
    return await trio.to_thread.run_sync(partial(FetchedArchive, place, node, folder_of(context, node), report))


def folder_of(context: Context, node: str) -> Path:
    """Where what was fetched of a node's archive lies."""
    return context.settings.home / "reached" / node


def leave(archive: Archive) -> None:
    """End the use of an archive that `open_reached` has given. Blocks."""
    if isinstance(archive, FetchedArchive):
        archive.leave()
    else:
        archive.close()
