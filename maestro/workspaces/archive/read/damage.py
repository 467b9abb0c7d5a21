"""Which snapshots of an archive lack something that they need: worked out from what is there, and remembered.

It is not an event: bytes go bad, and are put back from a copy, whatever the log says. Where nothing is in quarantine
and all packs are as the index has them, nothing is lacking, and to know that costs a look at the folders. Else listings
are read, each once, and what came of it is kept: a whole one stays whole while nothing more is lost, and a damaged one
is looked at again when there is another pack.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.format import index as indexes
from maestro.workspaces.archive.format import manifests, quarantine
from maestro.workspaces.archive.format.index import read_sealed, write_sealed
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read.assessment import Lost, left
from maestro.workspaces.archive.read.contents import Contents

LISTED_MAX = 1000
_encoder = msgspec.msgpack.Encoder()


class Lacking(msgspec.Struct, frozen=True):
    """What is wrong with a snapshot. files: how many are lost; lost: the first of them; why: as a whole, in words."""

    files: int
    why: str
    lost: list[Lost] = []


class _Looked(msgspec.Struct):
    """A snapshot as it was when it was looked at. manifest: what its file was like."""

    manifest: tuple[int, int, int]
    lacking: Lacking | None


class _Found(msgspec.Struct):
    """lost: what was known to be lost then, packs: those that there were."""

    lost: list[str]
    packs: list[str]
    snapshots: dict[str, _Looked]


_decoder = msgspec.msgpack.Decoder(_Found)


def found(layout: Layout) -> dict[str, Lacking]:
    """The snapshots that are damaged, by id. Hold `layout.shared()`."""
    index = indexes.load(layout)
    there = manifests.listed(layout)
    lost = sorted({*(place.name for place in quarantine.listed(layout)), *index.unreadable})
    if not lost:
        return _manifests(layout, there)
    before = _remembered(layout)
    if before is None or before.lost != lost:
        before = _Found(lost, [], {})
    is_same = before.packs == sorted(index.packs)
    now = _Found(lost, sorted(index.packs), {})
    contents = Contents(layout, index)
    try:
        for snapshot in there:
            status = (layout.manifests / snapshot).lstat()
            manifest = (status.st_size, status.st_mtime_ns, status.st_ino)
            known = before.snapshots.get(snapshot)
            if known is None or known.manifest != manifest or (known.lacking and not is_same):
                known = _Looked(manifest, _lacking(layout, contents, snapshot))
            now.snapshots[snapshot] = known
    finally:
        contents.close()
    if now != before:
        write_sealed(layout, layout.caches / "damage", _encoder.encode(now))
    return {snapshot: one.lacking for snapshot, one in now.snapshots.items() if one.lacking is not None}


def look(layout: Layout) -> dict[str, Lacking]:
    """As `found`, all listings read anew: for what was lost together with all that could have said so."""
    contents = Contents(layout, indexes.load(layout))
    damaged = {}
    try:
        for snapshot in manifests.listed(layout):
            if lacking := _lacking(layout, contents, snapshot):
                damaged[snapshot] = lacking
    finally:
        contents.close()
    if any(lacking.lost for lacking in damaged.values()):
        quarantine.miss(layout)
    return damaged


def _remembered(layout: Layout) -> _Found | None:
    content = read_sealed(layout.caches / "damage")
    try:
        return _decoder.decode(content) if content is not None else None
    except msgspec.MsgspecError:
        return None


def _manifests(layout: Layout, there: list[str]) -> dict[str, Lacking]:
    damaged = {}
    for snapshot in there:
        try:
            manifests.read(layout, snapshot)
        except MaestroError as error:
            damaged[snapshot] = Lacking(0, f"its manifest: {error.what}")
    return damaged


def _lacking(layout: Layout, contents: Contents, snapshot: str) -> Lacking | None:
    try:
        manifest, _ = manifests.read(layout, snapshot)
    except MaestroError as error:
        return Lacking(0, f"its manifest: {error.what}")
    lost: list[Lost] = []
    for tree in manifest.trees:
        try:
            lost += left(contents, tree).lost
        except MaestroError as error:
            lost.append(Lost(tree.name, "", error.what))
    if not lost:
        return None
    more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
    first = f"{lost[0].tree}/{lost[0].path}" if lost[0].path else f"{lost[0].tree}: {lost[0].why}"
    return Lacking(len(lost), f"{first}{more} cannot be read whole", lost[:LISTED_MAX])
