"""The catalogue of the shared archive: which snapshots it has, of which nodes, where no log tells that.

A store that was lost, or a home that is new, knows of none; what nodes have copied there is there all the same.
"""

from __future__ import annotations

import trio

from maestro.model.errors import MaestroError
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.meta import SnapshotMeta, of_manifest
from maestro.runtime.snapshots.shared.identity import shared_place
from maestro.runtime.snapshots.shared.patience import waited
from maestro.runtime.snapshots.shared.place import MANIFESTS
from maestro.runtime.snapshots.shared.reached import reached


async def copies(context: Context) -> dict[str, list[str]]:
    """The snapshots that are there, by id, each with the nodes that have copied it; none where no archive is set.

    Raises Refused where it is out of reach. Cost: O(objects that are there).
    """
    place = await shared_place(context)
    if place is None:
        return {}
    names = await waited(lambda _: place.objects.sizes(place.namespace), place.url)
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        node, kind, *rest = name.split("/")
        if kind == MANIFESTS and len(rest) == 1:
            found.setdefault(rest[0], []).append(node)
    return found


async def account(context: Context, name: str, node: str) -> SnapshotMeta | None:
    """What a copy says of itself; None where it cannot be read. Raises Refused where the archive is out of reach."""
    async with reached(context, node) as archive:
        try:
            found = await trio.to_thread.run_sync(archive.read, name)
        except MaestroError as error:
            log.info("snapshot %s of node %s: %s", name, node, error.line())
            return None
        return None if found.content is None else of_manifest(found.content)
