"""The scrub of the copies in a shared archive: each object is read again, and what is damaged is written anew.

A node does so with its own copies, which its own archive mends; the node that leads with those of nodes that are away,
which nobody can mend but they. What was read when, and what is damaged, is remembered in <home>/shared/read-<node>.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from functools import partial
from pathlib import Path

import msgspec
import trio

from maestro import files
from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.errors import MaestroError, NotFound, VerificationFailed
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.shared.copying import KNOWN_BYTES_MAX, Copies, Report, writing
from maestro.runtime.snapshots.shared.identity import shared_place
from maestro.runtime.snapshots.shared.patience import Patience, waited
from maestro.runtime.snapshots.shared.place import INVENTORIES, MANIFESTS, PACKS, Piece, SharedPlace, place_of
from maestro.workspaces.objects.contract import Absent

DUE_S = 7 * 86_400.0
"""Every object is read again within about this time."""
RATE_MIN = 1 << 20
"""The lowest rate, in bytes a second; where more is due, it is read in `SPREAD_S`."""
SPREAD_S = 86_400.0
NAMED_MAX = 3
REMEDY = (
    "`maestro state verify --copies` mends what this node's own archive holds whole; take a snapshot of what is still"
    " there; to give a damaged one up, remove its file in the folder `manifests` of the shared archive"
)
GONE, CHANGED = "is gone", "is not what it was"


class Reading(msgspec.Struct):
    """What is remembered of one node's copies. at: of each object, when it was read and right; broken: why, by object.

    Times are Unix time in s; url: of the archive.
    """

    url: str = ""
    at: dict[str, float] = {}
    broken: dict[str, str] = {}


class Scrubbed(msgspec.Struct):
    """What came of a scrub. mended: the snapshots whose copies were written anew; broken: why, by object."""

    objects: int = 0
    bytes: int = 0
    mended: list[str] = []
    broken: dict[str, str] = {}


class Found(msgspec.Struct):
    """The copies of a node as they are listed. users: the snapshots that need an object."""

    pieces: dict[str, Piece] = {}
    users: dict[str, list[str]] = {}
    wrong: dict[str, str] = {}

    def need(self, name: str, piece: Piece, snapshot: str) -> None:
        """Take note that a snapshot needs an object."""
        self.pieces[name] = piece
        self.users.setdefault(name, []).append(snapshot)


class CopyScrub:
    """The scrub of one node's copies. Raises Refused where the shared archive is out of reach."""

    def __init__(self, context: Context, place: SharedPlace, node: str) -> None:
        self._context = context
        self._place = place
        self._node = node
        self._home = context.settings.home
        self._reading = remembered(self._home, node, place.url)

    async def run(self, everything: bool, report: Report | None = None) -> Scrubbed:
        """Read what is due at a limited rate, or everything at once; mend what is damaged, where that can be done."""
        found = await waited(self._listed, self._place.url)
        due = self._due(found, everything)
        total = sum(found.pieces[name].bytes for name in due)
        rate = max(RATE_MIN, total / SPREAD_S)
        done = Scrubbed()
        for name in due:
            began, piece = trio.current_time(), found.pieces[name]
            if await waited(partial(self._is_right, name, piece), self._place.url):
                self._reading.at[name] = time.time()
            else:
                found.wrong[name] = CHANGED
            done.objects += 1
            done.bytes += piece.bytes
            if report is not None:
                await trio.to_thread.run_sync(report, done.bytes, total)
            if not everything:
                await self._remember()
                await trio.sleep(max(0.0, began + piece.bytes / rate - trio.current_time()))
        if found.wrong:
            needed = (await waited(self._listed, self._place.url)).users  # some may have expired meanwhile
            found.users, found.wrong = needed, {name: why for name, why in found.wrong.items() if name in needed}
        self._reading.broken = dict(found.wrong)
        await self._remember()
        if found.wrong:
            done.mended = await self._mended(found)
        self._reading.at = {name: at for name, at in self._reading.at.items() if name in found.pieces}
        done.broken = self._reading.broken
        await self._remember()
        return done

    def _copies(self, patience: Patience) -> Copies:
        return Copies(self._place, self._node, self._home, patience)

    def _listed(self, patience: Patience) -> Found:
        """All that the snapshots there need, and what of it is damaged as the list alone shows. Blocks."""
        copies, found = self._copies(patience), Found()
        there = {f"{kind}/{name}": size for kind in (PACKS, MANIFESTS) for name, size in copies.sizes(kind).items()}
        for snapshot in sorted(name.split("/")[1] for name in there if name.startswith(f"{MANIFESTS}/")):
            name = f"{INVENTORIES}/{snapshot}"
            try:
                inventory = copies.inventory(snapshot)
            except (Absent, VerificationFailed) as error:
                found.users[name] = [snapshot]
                found.wrong[name] = GONE if isinstance(error, Absent) else CHANGED
                continue
            found.need(f"{MANIFESTS}/{snapshot}", inventory.manifest, snapshot)
            for piece in inventory.packs:
                found.need(f"{PACKS}/{piece.name}", piece, snapshot)
        for name, piece in found.pieces.items():
            if name not in there:
                found.wrong[name] = GONE
            elif there[name] != piece.bytes:
                found.wrong[name] = CHANGED
        now = time.time()
        for name, piece in found.pieces.items():
            if copies.known.packs.get(piece.name) == (piece.bytes, piece.sha256):
                self._reading.at.setdefault(name, now)  # it was read back when it was written
        return found

    def _due(self, found: Found, everything: bool) -> list[str]:
        now, at = time.time(), self._reading.at
        names = sorted(found.pieces.keys() - found.wrong.keys(), key=lambda name: at.get(name, 0.0))
        was_broken = self._reading.broken
        return [name for name in names if everything or name in was_broken or not 0 <= now - at.get(name, 0.0) < DUE_S]

    def _is_right(self, name: str, piece: Piece, patience: Patience) -> bool:
        """Whether an object is there as it must be. Blocks."""
        return self._copies(patience).is_right(piece, name.split("/")[0])

    # ---- mending ----

    async def _mended(self, found: Found) -> list[str]:
        """Write the copies of hurt snapshots anew from this node's own archive; which."""
        mended: list[str] = []
        if self._node != self._context.node:
            return mended
        rows = {row.id: row for row in await self._context.rows(self._context.views.snapshots)}
        for snapshot in sorted({one for name in found.wrong for one in found.users[name]} & rows.keys()):
            doubted = [name for name in found.wrong if snapshot in found.users[name]]
            if not doubted:
                continue
            try:
                fixed = await waited(partial(self._renewed, snapshot, doubted), self._place.url)
            except (VerificationFailed, NotFound) as error:
                log.warning("the copy of snapshot %s is damaged, and so is what lies here: %s", snapshot, error.line())
                continue
            mended.append(snapshot)
            log.warning("the copy of snapshot %s was damaged (%s), and is mended", snapshot, ", ".join(doubted))
            for name in list(found.wrong):
                if name in fixed or set(found.users[name]) <= set(mended):
                    del found.wrong[name]
            self._reading.broken = dict(found.wrong)
            await self._remember()
        return mended

    def _renewed(self, snapshot: str, doubted: list[str], patience: Patience) -> set[str]:
        """Copy a snapshot again; the objects that are right then. What is damaged here replaces no copy. Blocks."""
        with writing(self._home, self._place, patience):
            self._copies(patience).doubt(name.split("/")[1] for name in doubted)
        archive = SnapshotFolders(self._home).archive()
        archive.verify(snapshot, progress=lambda *_: patience.allow(0))
        with writing(self._home, self._place, patience):
            copies = self._copies(patience)
            if snapshot not in copies.listed():  # it has expired meanwhile
                return set(doubted)
            inventory = copies.add(archive, snapshot)
        names = {f"{PACKS}/{piece.name}" for piece in inventory.packs}
        return names | {f"{MANIFESTS}/{snapshot}", f"{INVENTORIES}/{snapshot}"}

    async def _remember(self) -> None:
        content = msgspec.json.encode(self._reading)
        path = _file(self._home, self._node)
        await trio.to_thread.run_sync(partial(replace, path, content, durable=False))


async def scrub(
    context: Context, node: str, *, everything: bool = False, report: Report | None = None
) -> Scrubbed | None:
    """Read the copies of a node again, see `CopyScrub`; None where there is no shared archive. Raises Refused."""
    place = await shared_place(context)
    if place is None:
        return None
    found = await trio.to_thread.run_sync(CopyScrub, context, place, node)
    return await found.run(everything, report)


def remembered(home: Path, node: str, url: str) -> Reading:
    """What is remembered of a node's copies in that archive. Blocks."""
    try:
        found = msgspec.json.decode(files.content(_file(home, node), KNOWN_BYTES_MAX), type=Reading)
    except (OSError, MaestroError, msgspec.MsgspecError):
        found = Reading()
    return found if found.url == url else Reading(url)


async def damage(context: Context, nodes: Collection[str]) -> str:
    """What is known to be damaged of these nodes' copies, in words; "" for nothing. Quick."""
    place = place_of(context.settings)
    if place is None:
        return ""
    home, url = context.settings.home, place.url
    found = {node: await trio.to_thread.run_sync(remembered, home, node, url) for node in nodes}
    return "; ".join(f"of node {node} {told(one.broken)}" for node, one in found.items() if one.broken)


def told(broken: dict[str, str]) -> str:
    """What is damaged, in words; "" for nothing."""
    named = [f"{name} {why}" for name, why in sorted(broken.items())[:NAMED_MAX]]
    more = len(broken) - len(named)
    return ", ".join(named) + (f", and {more} more" if more > 0 else "")


def _file(home: Path, node: str) -> Path:
    return private_folder(home / "shared", "MAESTRO_HOME", tighten=True) / f"read-{node}"
