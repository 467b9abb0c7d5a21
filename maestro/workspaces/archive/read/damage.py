"""Finds which snapshots of an archive are damaged, from the files that are there, and caches the answer.

Damage is not an event of the log: bytes rot, or are put back from a copy, whatever the log says. While the quarantine
is empty and all packs are as the index has them, nothing is damaged, which costs a look at two folders. Otherwise each
listing is read once, and the result is cached: a whole snapshot stays whole until more is lost, and a damaged one is
assessed again when a pack has been added.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import MaestroError
from maestro.workspaces.archive.format import index as indexes, manifests, quarantine
from maestro.workspaces.archive.format.index import read_checked, write_checked
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read.assessment import Lost, assess
from maestro.workspaces.archive.read.contents import Contents

LISTED_MAX = 1000
_encoder = msgspec.msgpack.Encoder()


class Damage(msgspec.Struct, frozen=True):
    """The damage of a snapshot.

    files: how many files are lost.
    why: a summary in words.
    lost: the first `LISTED_MAX` of the lost files.
    """

    files: int
    why: str
    lost: list[Lost] = []


class _Examined(msgspec.Struct):
    """The cached assessment of a snapshot. manifest: size, mtime and inode of its manifest then."""

    manifest: tuple[int, int, int]
    lacking: Damage | None


class _Cache(msgspec.Struct):
    """The content of the cache. lost: quarantined places and unreadable packs then; packs: those that were readable."""

    lost: list[str]
    packs: list[str]
    snapshots: dict[str, _Examined]


_decoder = msgspec.msgpack.Decoder(_Cache)


def damaged_snapshots(layout: Layout) -> dict[str, Damage]:
    """The damaged snapshots, by id. The caller holds `layout.shared()`."""
    index = indexes.load(layout)
    there = manifests.listed(layout)
    lost = sorted({*(place.name for place in quarantine.listed(layout)), *index.unreadable})
    if not lost:
        return _damaged_manifests(layout, there)
    before = _remembered(layout)
    if before is None or before.lost != lost:
        before = _Cache(lost, [], {})
    is_same = before.packs == sorted(index.packs)
    now = _Cache(lost, sorted(index.packs), {})
    contents = Contents(layout, index)
    try:
        for snapshot in there:
            status = (layout.manifests / snapshot).lstat()
            manifest = (status.st_size, status.st_mtime_ns, status.st_ino)
            known = before.snapshots.get(snapshot)
            if known is None or known.manifest != manifest or (known.lacking and not is_same):
                known = _Examined(manifest, _damage_of(layout, contents, snapshot))
            now.snapshots[snapshot] = known
    finally:
        contents.close()
    if now != before:
        write_checked(layout, layout.caches / "damage", _encoder.encode(now))
    return {snapshot: one.lacking for snapshot, one in now.snapshots.items() if one.lacking is not None}


def reassessed_snapshots(layout: Layout) -> dict[str, Damage]:
    """The damaged snapshots, by id, after reading all listings anew.

    This finds damage whose records were lost together with the data: a pack that neither cache nor quarantine knows of.
    """
    contents = Contents(layout, indexes.load(layout))
    damaged = {}
    try:
        for snapshot in manifests.listed(layout):
            if damage := _damage_of(layout, contents, snapshot):
                damaged[snapshot] = damage
    finally:
        contents.close()
    if any(damage.lost for damage in damaged.values()):
        quarantine.add_missing(layout)
    return damaged


def _remembered(layout: Layout) -> _Cache | None:
    content = read_checked(layout.caches / "damage")
    try:
        return _decoder.decode(content) if content is not None else None
    except msgspec.MsgspecError:
        return None


def _damaged_manifests(layout: Layout, there: list[str]) -> dict[str, Damage]:
    damaged = {}
    for snapshot in there:
        try:
            manifests.read(layout, snapshot)
        except MaestroError as error:
            damaged[snapshot] = Damage(0, f"its manifest: {error.what}")
    return damaged


def _damage_of(layout: Layout, contents: Contents, snapshot: str) -> Damage | None:
    try:
        manifest, _ = manifests.read(layout, snapshot)
    except MaestroError as error:
        return Damage(0, f"its manifest: {error.what}")
    lost: list[Lost] = []
    for tree in manifest.trees:
        try:
            lost += assess(contents, tree).lost
        except MaestroError as error:
            lost.append(Lost(tree.name, "", error.what))
    if not lost:
        return None
    more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
    first = f"{lost[0].tree}/{lost[0].path}" if lost[0].path else f"{lost[0].tree}: {lost[0].why}"
    return Damage(len(lost), f"{first}{more} cannot be read whole", lost[:LISTED_MAX])
