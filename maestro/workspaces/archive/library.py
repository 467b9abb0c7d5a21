"""The one door to an archive: what can be done with it, each under the lock that it needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from maestro.model.errors import MaestroError, Refused
from maestro.workspaces.archive.export import export_writer
from maestro.workspaces.archive.export.export_reader import Export
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.format import manifests, stat_cache
from maestro.workspaces.archive.format.entries import Manifest
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read import damage, restoration, scrub, verification
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.archive.read.damage import Lacking
from maestro.workspaces.archive.read.purge import Listing
from maestro.workspaces.archive.read.restoration import Restored
from maestro.workspaces.archive.read.scrub import Age, Scrubbed
from maestro.workspaces.archive.read.verification import Verified
from maestro.workspaces.archive.write import collection, diff, snapshot_writer
from maestro.workspaces.archive.write.collection import Collected
from maestro.workspaces.archive.write.diff import Diff
from maestro.workspaces.archive.write.snapshot_writer import Progress, Saved, Source


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot that there is. manifest: its id, SHA-256; content: what it says; damage: why it cannot be read, or "".

    taken_at: Unix time in ns.
    """

    snapshot: str
    manifest: str
    taken_at: int
    content: Manifest | None
    damage: str = ""


class Archive:
    """The archive in `root`, made if absent, 0700. Any number of processes may use it at once.

    Raises `Refused` for a folder that is somebody else's, `Invalid` for one of another format.
    """

    def __init__(self, root: str | Path) -> None:
        self._layout = Layout(Path(root))
        self._layout.sweep()

    def save(
        self,
        trees: Iterable[tuple[str, str] | Source],
        snapshot: str,
        meta: dict[str, object],
        *,
        allow_torn: bool = False,
        allow_unread: bool = False,
        progress: Progress | None = None,
    ) -> Saved:
        """Take a snapshot of folders. trees: (name, absolute path), each asked for when all of the one before is read,
        so that an iterator can let go of that; meta: JSON values that come back with it, as they are at the end.

        progress: called now and then, see `snapshot_writer.Progress`. Raises `Torn`, `Unread` (unless allowed), what
        `trees` and `progress` raise, `Conflict` where there is a snapshot of that id, `Refused` where something cannot
        be read or the disk is full: then there is no snapshot, and those that there were are as they were.
        """
        with self._layout.shared():
            sources = (snapshot_writer.resolved(*tree) for tree in trees)
            return snapshot_writer.save(
                self._layout, sources, snapshot, meta, snapshot_writer.Allowed(allow_torn, allow_unread), progress
            )

    def verify(self, snapshot: str, manifest: str = "", progress: verification.Progress | None = None) -> Verified:
        """Read and check every byte of a snapshot. manifest: its id, as it was recorded, if it is known.

        progress: called now and then with the bytes done, and all. Raises what it raises, `VerificationFailed` naming
        the first member that is damaged, `NotFound`.
        """
        with self._layout.shared():
            return verification.verify(self._layout, snapshot, manifest, progress)

    def prove(self, snapshot: str, trees: Mapping[str, tuple[str, str]]) -> dict[str, Listing]:
        """Read trees of a snapshot to the last byte, as a restore does, and compare them with the folders that they are
        of; what each holds. trees: by name, the folder, and the place where it belongs.

        Raises `VerificationFailed` where a tree could not be restored, `Refused` where its folder is not what it holds.
        """
        listings = {}
        with self._layout.shared():
            for name, (path, place) in trees.items():
                listings[name] = verification.prove(self._layout, snapshot, name)
                known = stat_cache.load(self._layout, os.path.realpath(place))
                _check_same(diff.diff(listings[name].entries, path, known), path)
        return listings

    def listing(self, snapshot: str, name: str) -> Listing:
        """What a snapshot holds of a tree. Raises `NotFound`, `VerificationFailed`."""
        with self._layout.shared():
            left_out = manifests.read(self._layout, snapshot)[0].tree(name).left_out
            return Listing(restoration.entries_of(self._layout, snapshot, name), left_out)

    def restore(
        self, snapshot: str, name: str, stage_dir: str | Path, *, reuse: str | None = None, skip_lost: bool = False
    ) -> Restored:
        """Put a tree of a snapshot into `stage_dir`, a folder that must not be there yet. Every byte is checked.

        reuse: the tree as it is now, on the same file system; files that are still the same are hardlinked, so it must
        be thrown away once the stage has taken its place. skip_lost: files that cannot be had whole are left out, and
        told. Raises `VerificationFailed`, `Refused` (no room, no rights), `NotFound`; then there is no stage.
        """
        put = restoration.restore_left if skip_lost else restoration.restore
        with self._layout.shared():
            source = None if reuse is None else os.path.realpath(reuse)
            return put(self._layout, snapshot, name, Path(stage_dir), source)

    def lost(self, snapshot: str, name: str) -> list[Lost]:
        """What a restore of this tree that goes on past damage would leave out, as far as damage is known.

        Raises `VerificationFailed` where nothing of it is left.
        """
        with self._layout.shared():
            return restoration.left_of(self._layout, snapshot, name).lost

    def damaged(self) -> dict[str, Lacking]:
        """The snapshots that lack something, by id, as far as damage is known."""
        with self._layout.shared():
            return damage.found(self._layout)

    def look_for_damage(self) -> dict[str, Lacking]:
        """As `damaged`, with a look into the listings of all snapshots."""
        with self._layout.shared():
            return damage.look(self._layout)

    def scrub(self, bytes_max: int | None = None, pause: Callable[[int], None] | None = None) -> Scrubbed:
        """Read packs that have not been read for the longest time, about so many bytes of them; None: all of them now.

        pause: called with the bytes of each block that was read; what it raises ends it. Raises that, and `Refused`
        while somebody collects.
        """
        with self._layout.shared():
            names = scrub.in_turn(self._layout, bytes_max, time.time())
            return scrub.scrub(self._layout, names, pause)

    def scrub_due(self) -> bool:
        """Whether there are packs that are to be read now."""
        return bool(scrub.due(self._layout, time.time()))

    def scrub_rate(self) -> float:
        """How many bytes a second are to be scrubbed, so that all are in time."""
        return scrub.rate(self._layout)

    def scrub_age(self) -> Age:
        """How far the scrub is."""
        return scrub.age(self._layout, time.time())

    def diff(self, snapshot: str | Export, name: str, path: str | Path) -> Diff:
        """What a restore of this tree, of a snapshot or an open export, would change in the folder at `path`; where it
        is damaged, what is left of it would."""
        source = os.path.realpath(path)
        if isinstance(snapshot, Export):
            return diff.diff(snapshot.entries(name), source, stat_cache.load(self._layout, source))
        with self._layout.shared():
            entries = restoration.left_of(self._layout, snapshot, name).entries
            return diff.diff(entries, source, stat_cache.load(self._layout, source))

    def remember(self, snapshot: str, name: str, path: str | Path) -> None:
        """The folder at `path` is this tree, as it was restored just now: the next snapshot need not read it again."""
        source = os.path.realpath(path)
        with self._layout.shared():
            entries = restoration.entries_of(self._layout, snapshot, name)
            stat_cache.save(self._layout, source, stat_cache.known_of(source, entries))

    def collect(self, keep: Iterable[str]) -> Collected:
        """Remove every snapshot but these, and give back the room. Needs about one pack (64 MiB) of room at the most.

        Raises `NotFound`, `VerificationFailed` where one of `keep` is missing or damaged (nothing is removed then),
        `Refused` while others use the archive, or where the disk is full.
        """
        with self._layout.alone():
            return collection.collect(self._layout, keep)

    def export(
        self,
        snapshot: str,
        out: str | Path,
        extras: Sequence[tuple[str, export_writer.Source]] = (),
        progress: export_writer.Progress | None = None,
    ) -> Exported:
        """Write a snapshot to one tar.gz, 0600, there when it is whole. extras: (name, bytes or a file) to put into it.

        progress: called with the bytes written so far and about how many they will be. Raises what it raises,
        `VerificationFailed`, `NotFound`, `Invalid` for impossible names, `Refused` where the disk is full.
        """
        with self._layout.shared():
            return export_writer.export(self._layout, snapshot, Path(out), extras, progress)

    @staticmethod
    def sweep_export(out: str | Path) -> None:
        """Remove what exports to `out` that were ended have left beside it."""
        with suppress(OSError):
            export_writer.sweep(Path(out))

    def read(self, snapshot: str) -> Snapshot:
        """What a snapshot says. Raises `NotFound`, `VerificationFailed`."""
        manifest, digest = manifests.read(self._layout, snapshot)
        return Snapshot(snapshot, digest, manifest.taken_at, manifest)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first; one whose manifest is damaged says so."""
        found = []
        for snapshot in manifests.listed(self._layout):
            try:
                found.append(self.read(snapshot))
            except MaestroError as error:
                found.append(Snapshot(snapshot, "", 0, None, error.line()))
        return sorted(found, key=lambda one: (one.taken_at, one.snapshot))


def _check_same(found: Diff, path: str) -> None:
    for changes, what in ((found.added, "is gone"), (found.changed, "is another"), (found.deleted, "has come")):
        if changes:
            told = f"{changes[0].path!r} {what} in {path!r} since it was archived"
            raise Refused(told, "workspace", "stop what writes there, then try again")
