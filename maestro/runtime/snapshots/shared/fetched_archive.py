"""The archive of another node, as far as it is needed: fetched from the shared archive into an ordinary archive folder.

<home>/reached/<node>/   the folder, a cache: what was not used for longest goes first, and all of it may be deleted

What is fetched is checked against the inventory, and whatever is wrong with it after that is found, named and left out
by the code that reads any archive. Nothing is written here but what was fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from maestro.model.errors import MaestroError, NotFound, Refused, VerificationFailed
from maestro.runtime.node.daemon_log import log
from maestro.runtime.snapshots.shared.copying import SMALL_BYTES_MAX, Report, joined
from maestro.runtime.snapshots.shared.place import INVENTORIES, MANIFESTS, PACKS, Inventory, Piece, SharedPlace, decode
from maestro.workspaces.archive.export import export_writer
from maestro.workspaces.archive.export.export_reader import Export
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.format.layout import Fresh, Layout, disk_refusal
from maestro.workspaces.archive.library import Archive, Snapshot
from maestro.workspaces.archive.read import verification
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.archive.read.purge import Listing
from maestro.workspaces.archive.read.restoration import Restored
from maestro.workspaces.archive.read.verification import Verified
from maestro.workspaces.archive.write.diff import Diff
from maestro.workspaces.objects.contract import Absent, insisted

CACHE_BYTES_MAX = 8 << 30
"""How much all such folders of a home may hold when another snapshot is fetched; what is in use stays."""
FREE_BYTES_MIN = 256 << 20


class FetchedArchive(Archive):
    """The archive of another node, for reading. Each call fetches what it needs and is not there yet. Blocks.

    Raises Refused where the shared archive is out of reach, NotFound where it does not hold the snapshot, and as
    `Archive`.
    """

    def __init__(self, place: SharedPlace, node: str, root: Path, report: Report | None = None) -> None:
        clear(root.parent, CACHE_BYTES_MAX)
        super().__init__(root)
        self.node = node
        self._place = place
        self._report = report
        self._root = root
        self._wrong: dict[str, str] = {}
        self._inventories: dict[str, Inventory] = {}
        self._guard = self._layout.shared()
        self._guard.__enter__()
        os.utime(root / "lock")

    def leave(self) -> None:
        """Let others clear the folder. What was not as it must be does not stay."""
        self.close()
        self._guard.__exit__(None, None, None)
        if self._wrong:
            _emptied(self._root)

    # ---- reading, after fetching ----

    def read(self, snapshot: str) -> Snapshot:
        """See Archive."""
        self._inventory(snapshot)
        return super().read(snapshot)

    def snapshots(self) -> list[Snapshot]:
        """See Archive. All that the node has in the shared archive."""
        names = insisted(lambda: self._place.objects.sizes(self._place.of(self.node, MANIFESTS)))
        for name in names:
            self._inventory(name)
        return [one for one in super().snapshots() if one.snapshot in names]

    def verify(self, snapshot: str, manifest: str = "", progress: verification.Progress | None = None) -> Verified:
        """See Archive. Fetches all of it."""
        self._fetch(snapshot)
        self._tell_wrong(snapshot)
        return super().verify(snapshot, manifest, progress)

    def prove(self, snapshot: str, trees: Mapping[str, tuple[str, str]]) -> dict[str, Listing]:
        """See Archive."""
        self._fetch(snapshot, trees)
        return super().prove(snapshot, trees)

    def listing(self, snapshot: str, name: str) -> Listing:
        """See Archive."""
        self._fetch(snapshot, [name])
        return super().listing(snapshot, name)

    def restore(
        self, snapshot: str, name: str, stage_dir: str | Path, *, reuse: str | None = None, skip_lost: bool = False
    ) -> Restored:
        """See Archive."""
        self._fetch(snapshot, [name])
        return super().restore(snapshot, name, stage_dir, reuse=reuse, skip_lost=skip_lost)

    def lost(self, snapshot: str, name: str) -> list[Lost]:
        """See Archive."""
        self._fetch(snapshot, [name])
        return super().lost(snapshot, name)

    def diff(self, snapshot: str | Export, name: str, path: str | Path) -> Diff:
        """See Archive."""
        if isinstance(snapshot, str):
            self._fetch(snapshot, [name])
        return super().diff(snapshot, name, path)

    def export(
        self,
        snapshot: str,
        out: str | Path,
        extras: Sequence[tuple[str, export_writer.Source]] = (),
        progress: export_writer.Progress | None = None,
    ) -> Exported:
        """See Archive."""
        self._fetch(snapshot)
        return super().export(snapshot, out, extras, progress)

    def check_there(self, snapshot: str) -> None:
        """Read all of a snapshot in the shared archive, also what is here already. Raises VerificationFailed."""
        inventory = self._inventory(snapshot)
        done, total = 0, sum(piece.bytes for piece in inventory.packs)
        for piece in inventory.packs:
            if self._is_here(piece):
                try:
                    is_right = insisted(lambda piece=piece: self._reads(PACKS, piece))  # type: ignore[misc]
                except Absent:
                    self._wrong[piece.name] = "is gone"
                else:
                    if not is_right:
                        self._wrong[piece.name] = "is not what it was"
            done += piece.bytes
            if self._report is not None:
                self._report(done, total)
        self._fetch(snapshot)
        self._tell_wrong(snapshot)

    def fetch(self, snapshot: str) -> None:
        """Have all of a snapshot here."""
        self._fetch(snapshot)

    # ---- fetching ----

    def _inventory(self, snapshot: str) -> Inventory:
        """What a snapshot needs; its manifest is here then."""
        if snapshot in self._inventories:
            return self._inventories[snapshot]
        where = f"node {self.node} in {self._place.url}"
        try:
            content = insisted(lambda: joined(self._get(INVENTORIES, snapshot), SMALL_BYTES_MAX))
            found = decode(content, snapshot, where)
            self._bring(MANIFESTS, found.manifest, self._layout.manifests / snapshot)
        except Absent:
            raise NotFound(
                f"there is no snapshot {snapshot!r} of it",
                where,
                "the node copies it there when it has taken it: see that it runs, and `maestro doctor` there",
                sought=("snapshot", snapshot),
            ) from None
        self._inventories[snapshot] = found
        return found

    def _fetch(self, snapshot: str, trees: Iterable[str] | None = None) -> None:
        """Have the packs of these trees here, None for all."""
        inventory = self._inventory(snapshot)
        if trees is None:
            wanted = {piece.name for piece in inventory.packs}
        else:
            wanted = {name for tree in trees for name in inventory.trees.get(tree, ())}
        missing = [one for one in inventory.packs if one.name in wanted and not self._is_here(one)]
        total, done = sum(one.bytes for one in missing), 0
        if missing:
            self._make_room(total)
        for one in missing:
            try:
                self._bring(PACKS, one, self._layout.packs / one.name)
            except Absent:
                self._wrong[one.name] = "is gone"
                log.warning("pack %s of node %s is gone from %s", one.name, self.node, self._place.url)
            done += one.bytes
            if self._report is not None:
                self._report(done, total)

    def _is_here(self, piece: Piece) -> bool:
        try:
            return (self._layout.packs / piece.name).stat().st_size == piece.bytes
        except OSError:
            return False

    def _get(self, kind: str, name: str) -> Iterator[bytes]:
        return self._place.objects.get(self._place.of(self.node, kind, name))

    def _bring(self, kind: str, piece: Piece, path: Path) -> None:
        """Fetch a file, twice where it is not what it must be; what is wrong still is left to those who read it."""
        for attempt in (1, 2):
            fresh = Fresh(self._layout)
            try:
                is_right = insisted(lambda fresh=fresh: self._written(kind, piece, fresh))  # type: ignore[misc]
                if is_right or attempt == 2:
                    fresh.place(path, durable=False)
            finally:
                fresh.drop()
            if is_right:
                return
        self._wrong[piece.name] = "is not what it was"
        log.warning("%s %s of node %s in %s is not what it was", kind, piece.name, self.node, self._place.url)

    def _written(self, kind: str, piece: Piece, fresh: Fresh) -> bool:
        try:
            os.ftruncate(fresh.handle, 0)
            os.lseek(fresh.handle, 0, os.SEEK_SET)
        except OSError as error:
            raise disk_refusal(error, self._root) from None
        return self._reads(kind, piece, fresh)

    def _reads(self, kind: str, piece: Piece, fresh: Fresh | None = None) -> bool:
        """Whether a file is in the shared archive as it must be. fresh: to be written with it."""
        digest, size = hashlib.sha256(), 0
        for part in self._get(kind, piece.name):
            size += len(part)
            if size > piece.bytes:
                return False
            digest.update(part)
            if fresh is not None:
                fresh.write(part)
        return (size, digest.hexdigest()) == (piece.bytes, piece.sha256)

    def _tell_wrong(self, snapshot: str) -> None:
        """Raise VerificationFailed where a file of the snapshot is not in the shared archive as it must be."""
        inventory = self._inventory(snapshot)
        for piece in (inventory.manifest, *inventory.packs):
            if why := self._wrong.get(piece.name):
                mend = "--skip-failed restores what is whole; or take a snapshot of that node anew"
                raise VerificationFailed(f"{piece.name} {why}", f"node {self.node} in {self._place.url}", mend)

    def _make_room(self, wanted: int) -> None:
        """Remove what was not used for longest, where the caches would hold too much; check that the disk has room."""
        clear(self._root.parent, CACHE_BYTES_MAX - wanted)
        free = shutil.disk_usage(self._root).free
        if free < wanted + FREE_BYTES_MIN:
            what = f"{wanted >> 20} MiB must be fetched, and only {free >> 20} MiB are free"
            raise Refused(what, str(self._root), "make room, then try again")


def clear(above: Path, bytes_max: int) -> int:
    """Empty the caches that were not used for longest until no more than so many bytes are left; how many bytes went.

    One that is in use stays.
    """
    found = []
    with suppress(OSError):
        for folder in above.iterdir():
            size = sum(path.stat().st_size for path in (folder / "packs").glob("*.pack"))
            found.append(((folder / "lock").stat().st_mtime, size, folder))
    total = sum(size for _, size, _ in found)
    freed = 0
    for _, size, folder in sorted(found):
        if size and total - freed > bytes_max and _emptied(folder):
            freed += size
    return freed


def _emptied(folder: Path) -> bool:
    """Remove all that a cache holds, but for its lock; whether it was not in use."""
    try:
        layout = Layout(folder)
        with layout.exclusive():
            for part in (layout.caches, layout.manifests, layout.packs, layout.quarantine):
                for path in part.iterdir():
                    path.unlink(missing_ok=True)
    except (MaestroError, OSError):
        return False
    return True
