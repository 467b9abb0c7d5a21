"""Copies snapshots of this node into the shared archive: packs, inventory, manifest, each read back.

A pack is written once, whoever names it: what is there already, with the size and the SHA-256 that it must have, stays.
What is known to be there is remembered in <home>/shared/known-<node>, a cache: without it packs are read back anew. One
process of a node writes at a time (`writing`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from maestro import files
from maestro.durable import lock_file, replace
from maestro.folders import private_folder
from maestro.model.errors import MaestroError
from maestro.runtime.snapshots.shared.patience import Patience
from maestro.runtime.snapshots.shared.place import (
    INVENTORIES,
    MANIFESTS,
    PACKS,
    Inventory,
    Piece,
    SharedPlace,
    decode,
    encode,
)
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.objects.contract import Absent, Unreached, insisted

CHUNK_BYTES = 1 << 20
KNOWN_BYTES_MAX = 1 << 28
SMALL_BYTES_MAX = 256 << 20
WAIT_S_MAX = 300.0
STEP_S = 0.1

Report = Callable[[int, int], None]


@contextmanager
def writing(home: Path, place: SharedPlace, patience: Patience) -> Iterator[None]:
    """Hold the right to write what belongs to this node, during the block. Raises Unreached where others have it long.

    The lock is a flock, and ends with its process.
    """
    lock = private_folder(home / "shared", "MAESTRO_HOME", tighten=True) / "lock"
    until = time.monotonic() + WAIT_S_MAX
    while (handle := lock_file(lock)) is None:
        if time.monotonic() > until:
            raise Unreached("another command of this node is writing there still", place.url, "try again later")
        patience.allow(0)
        time.sleep(STEP_S)
    try:
        yield
    finally:
        os.close(handle)


class Known(msgspec.Struct):
    """What is known to lie in a shared archive, read back. url: of which; snapshots: digests of manifests."""

    url: str = ""
    packs: dict[str, tuple[int, str]] = {}
    snapshots: dict[str, str] = {}


class Copies:
    """The copies of one node's snapshots. Blocks. Raises Unreached, Refused."""

    def __init__(self, place: SharedPlace, node: str, home: Path, patience: Patience) -> None:
        self._place = place
        self._node = node
        self._patience = patience
        self._memory = private_folder(home / "shared", "MAESTRO_HOME", tighten=True) / f"known-{node}"
        self.known = self._remembered()

    def add(self, archive: Archive, snapshot: str, report: Report | None = None) -> Inventory:
        """Copy a snapshot, as far as it is not there; returns what it needs. report: bytes done, and all of them."""
        self._swept()
        with archive.held():
            needs = archive.needs(snapshot)
            there = self.sizes(PACKS)
            packs = {path: self._piece(path) for path in needs.packs}
            missing = [path for path, piece in packs.items() if not self._has(piece, there)]
            total, done = sum(packs[path].bytes for path in missing), 0
            for path in missing:
                self._write(packs[path], path, self._place.of(self._node, PACKS, path.name))
                self.known.packs[path.name] = (packs[path].bytes, packs[path].sha256)
                self._remember()
                done += packs[path].bytes
                if report is not None:
                    report(done, total)
            manifest = _piece_of(needs.manifest)
            trees = {tree: tuple(path.name for path in paths) for tree, paths in needs.trees.items()}
            inventory = Inventory(snapshot, manifest, tuple(packs.values()), trees)
            content = encode(inventory)
            piece = Piece(snapshot, len(content), hashlib.sha256(content).hexdigest())
            self._write(piece, content, self._place.of(self._node, INVENTORIES, snapshot))
            self._write(manifest, needs.manifest, self._place.of(self._node, MANIFESTS, snapshot))
        self.known.snapshots[snapshot] = needs.digest
        self._remember()
        return inventory

    def listed(self) -> set[str]:
        """The snapshots that are there, whole."""
        return set(self.sizes(MANIFESTS))

    def keep(self, keep: set[str], archive: Archive | None = None) -> int:
        """Remove all snapshots but these, and the packs that no inventory names; returns how many packs went.

        archive: this node's own: where it has packed a snapshot anew, the copy follows. What inventories are damaged or
        missing say nothing of is kept.
        """
        self._swept()
        manifests, inventories = self.sizes(MANIFESTS), self.sizes(INVENTORIES)
        for name in sorted(manifests.keys() - keep):
            self._delete(MANIFESTS, name)  # first: what has no manifest is no snapshot
        for name in sorted(inventories.keys() - (keep & manifests.keys())):
            self._delete(INVENTORIES, name)
        named: set[str] = set()
        for name in sorted(keep & manifests.keys()):
            try:
                inventory = self.inventory(name)
            except (Absent, MaestroError):
                if archive is None:
                    return 0
                inventory = self.add(archive, name)
            if archive is not None and self._is_repacked(archive, inventory):
                inventory = self.add(archive, name)
            named.update(piece.name for piece in inventory.packs)
        waste = sorted(self.sizes(PACKS).keys() - named)
        for name in waste:
            self._delete(PACKS, name)
            self.known.packs.pop(name, None)
        self.known.snapshots = {name: digest for name, digest in self.known.snapshots.items() if name in keep}
        self._remember()
        return len(waste)

    def is_right(self, piece: Piece, kind: str) -> bool:
        """Whether an object is there as it must be: all of it is read."""
        name = self._place.of(self._node, kind, piece.name)

        def read() -> bool:
            self._patience.allow(piece.bytes)
            return self._reads_back(piece, name)

        return insisted(read)

    def doubt(self, packs: Iterable[str]) -> None:
        """Take these packs not to be there as they must be, until they were read back."""
        for name in packs:
            self.known.packs.pop(name, None)
        self._remember()

    @staticmethod
    def _is_repacked(archive: Archive, inventory: Inventory) -> bool:
        """Whether the node's own archive has the snapshot whole, and in other packs by now."""
        try:
            here = archive.needs(inventory.snapshot).packs
        except MaestroError:  # it is damaged or gone here: the copy is what there is
            return False
        return {path.name for path in here} != {piece.name for piece in inventory.packs}

    # ---- one object ----

    def _write(self, piece: Piece, source: Path | bytes, name: str) -> None:
        """Write an object and read it back; once more where it is not what was written."""

        def once() -> None:
            self._patience.allow(piece.bytes)
            self._place.objects.put(name, source)
            self._patience.allow(piece.bytes)
            if not self._reads_back(piece, name):
                raise Unreached(
                    f"{name} is not there as it was written",
                    self._place.url,
                    "see to the shared archive, then try again",
                )

        insisted(once)

    def _reads_back(self, piece: Piece, name: str) -> bool:
        digest, size = hashlib.sha256(), 0
        try:
            for part in self._place.objects.get(name):
                digest.update(part)
                size += len(part)
                if size > piece.bytes:
                    return False
        except Absent:
            return False
        return (size, digest.hexdigest()) == (piece.bytes, piece.sha256)

    def _has(self, piece: Piece, there: dict[str, int]) -> bool:
        if there.get(piece.name) != piece.bytes:
            self.known.packs.pop(piece.name, None)
            return False
        if self.known.packs.get(piece.name) == (piece.bytes, piece.sha256):
            return True
        if not self.is_right(piece, PACKS):
            return False
        self.known.packs[piece.name] = (piece.bytes, piece.sha256)
        return True

    def inventory(self, snapshot: str) -> Inventory:
        """What a snapshot needs. Raises Absent; VerificationFailed where that is damaged."""
        name = self._place.of(self._node, INVENTORIES, snapshot)

        def read() -> bytes:
            self._patience.allow(0)
            return joined(self._place.objects.get(name), SMALL_BYTES_MAX)

        return decode(insisted(read), snapshot, self._place.url)

    def sizes(self, kind: str) -> dict[str, int]:
        """The objects of a kind that are there, with their bytes."""

        def look() -> dict[str, int]:
            self._patience.allow(0)
            return self._place.objects.sizes(self._place.of(self._node, kind))

        return insisted(look)

    def _delete(self, kind: str, name: str) -> None:
        def remove() -> None:
            self._patience.allow(0)
            self._place.objects.delete(self._place.of(self._node, kind, name))

        insisted(remove)

    def _swept(self) -> None:
        """Remove what an upload that was broken off has left half written."""

        def sweep() -> None:
            self._patience.allow(0)
            self._place.objects.sweep(self._place.of(self._node))

        insisted(sweep)

    def _piece(self, pack: Path) -> Piece:
        known = self.known.packs.get(pack.name)
        if known is not None and known[0] == pack.stat().st_size:
            return Piece(pack.name, *known)
        self._patience.allow(pack.stat().st_size)
        return _piece_of(pack)

    # ---- what is remembered ----

    def _remembered(self) -> Known:
        try:
            found = msgspec.json.decode(files.content(self._memory, KNOWN_BYTES_MAX), type=Known)
        except (OSError, msgspec.MsgspecError):
            found = Known()
        return found if found.url == self._place.url else Known(self._place.url)

    def _remember(self) -> None:
        try:
            replace(self._memory, msgspec.json.encode(self.known), durable=False)
        except OSError:  # it costs time later, nothing else
            return


def joined(parts: Iterator[bytes], bytes_max: int) -> bytes:
    """The content of a small object. Raises Unreached where it is too large to be one."""
    content = bytearray()
    for part in parts:
        content += part
        if len(content) > bytes_max:
            raise Unreached("an object is larger than it can be", mend="see to the shared archive")
    return bytes(content)


def _piece_of(path: Path) -> Piece:
    digest, size = hashlib.sha256(), 0
    with files.opened(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return Piece(path.name, size, digest.hexdigest())
