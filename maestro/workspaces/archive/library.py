"""The public interface of an archive: every operation on it, each under the lock that it needs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import msgspec

from maestro.model.errors import MaestroError, Refused
from maestro.workspaces.archive.export import export_writer
from maestro.workspaces.archive.export.export_reader import Export
from maestro.workspaces.archive.export.export_writer import Exported
from maestro.workspaces.archive.format import manifests, stat_cache
from maestro.workspaces.archive.format.entries import Manifest, room_of
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read import beginning as beginnings, damage, restoration, scrub, verification
from maestro.workspaces.archive.read.assessment import Lost
from maestro.workspaces.archive.read.damage import Damage
from maestro.workspaces.archive.read.needs import Needs, needs_of
from maestro.workspaces.archive.read.purge import Listing
from maestro.workspaces.archive.read.reading import Reading, reading
from maestro.workspaces.archive.read.restoration import Restored
from maestro.workspaces.archive.read.scrub import Age, Scrubbed
from maestro.workspaces.archive.read.verification import Verified
from maestro.workspaces.archive.write import assembly, collection, diff, snapshot_writer
from maestro.workspaces.archive.write.collection import Collected
from maestro.workspaces.archive.write.diff import Diff
from maestro.workspaces.archive.write.snapshot_writer import Progress, Saved, Source


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot in an archive.

    manifest: its manifest's id, a SHA-256; "" where the manifest is damaged.
    taken_at: Unix time in ns.
    content: its manifest, None where that is damaged.
    damage: why the manifest cannot be read, or "".
    """

    snapshot: str
    manifest: str
    taken_at: int
    content: Manifest | None
    damage: str = ""


class Archive:
    """The archive in the folder `root`, made 0700 if absent. Any number of processes may use it at once.

    Raises `Refused` for a folder of another user, `Invalid` for an archive of another format.
    """

    def __init__(self, root: str | Path) -> None:
        self._layout = Layout(Path(root))
        self._layout.sweep()
        self._kept: Reading | None = None
        self._glances = diff.Glances()

    def keep_open(self) -> None:
        """Keep what is read for one tree open for the next ones, until `close`; for one thread at a time."""
        self._kept = self._kept or Reading(self._layout)

    def close(self) -> None:
        """Close what `keep_open` keeps open."""
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    @contextmanager
    def _opened(self) -> Iterator[Reading]:
        """The archive as it is read during the block, with the lock that this needs."""
        with self._layout.shared():
            if self._kept is not None:
                yield self._kept
                return
            with reading(self._layout) as opened:
                yield opened

    @contextmanager
    def held(self) -> Iterator[None]:
        """During the block nothing is removed from the archive."""
        with self._layout.shared():
            yield

    def needs(self, snapshot: str) -> Needs:
        """The files that a snapshot needs; to be read within `held`. Raises `NotFound`, `VerificationFailed`."""
        with self._layout.shared():
            return needs_of(self._layout, snapshot)

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
        """Take a snapshot of folders.

        trees: (name, absolute path) or `Source`; each is asked for after the one before has been read completely, so
            that an iterator can release the previous folder.
        meta: JSON values to store with the snapshot, as they are when all trees have been read.
        allow_torn, allow_unread: save despite files that changed while read, or could not be read.
        progress: called now and then, see `snapshot_writer.Progress`.

        Raises `Torn`, `Unread`, `Conflict` where the id is taken, `Refused` where something cannot be read or the disk
        is full, and what `trees` and `progress` raise. After an error there is no new snapshot, and the others are
        unchanged.
        """
        with self._layout.shared():
            sources = (snapshot_writer.resolved(*tree) for tree in trees)
            return snapshot_writer.save(
                self._layout, sources, snapshot, meta, snapshot_writer.Allowed(allow_torn, allow_unread), progress
            )

    def assemble(self, snapshot: str, parts: Sequence[Archive], meta: dict[str, object]) -> None:
        """Make a snapshot of what these archives have under its id. Raises as `assembly.assemble`."""
        with ExitStack() as locked:
            for part in (self, *parts):
                locked.enter_context(part.held())
            assembly.assemble(self._layout, snapshot, [part._layout for part in parts], meta)

    def verify(self, snapshot: str, manifest: str = "", progress: verification.Progress | None = None) -> Verified:
        """Read and check every byte of a snapshot.

        manifest: the manifest's id as the caller recorded it; "" where it is not known.
        progress: called now and then with the bytes done and the total.

        Raises `VerificationFailed` naming the first damaged member, `NotFound`, and what `progress` raises.
        """
        with self._layout.shared():
            return verification.verify(self._layout, snapshot, manifest, progress)

    def prove(self, snapshot: str, trees: Mapping[str, tuple[str, str]]) -> dict[str, Listing]:
        """Read trees of a snapshot completely, as a restore does, and compare them with their folders; what each holds.

        trees: by name of the tree, its folder now, and the place where that folder belongs.

        Raises `VerificationFailed` where a tree could not be restored, `Refused` where its folder differs from it.
        """
        listings = {}
        with self._opened() as opened:
            for name, (path, place) in trees.items():
                listings[name] = verification.prove(opened, snapshot, name)
                known = stat_cache.load(self._layout, os.path.realpath(place))
                _check_same(diff.diff(listings[name].entries, path, known), path)
        return listings

    def listing(self, snapshot: str, name: str) -> Listing:
        """The entries of one tree of a snapshot, and the names it left out. Raises `NotFound`, `VerificationFailed`."""
        with self._opened() as opened:
            return Listing(restoration.entries_of(opened, snapshot, name), opened.tree(snapshot, name).left_out)

    def beginning(self, snapshot: str, name: str, path: bytes, bytes_max: int) -> bytes:
        """The first bytes of a file of a tree, checked. Raises `NotFound`, `VerificationFailed`."""
        with self._opened() as opened:
            return beginnings.beginning(opened, snapshot, name, path, bytes_max)

    def restore(
        self, snapshot: str, name: str, stage_dir: str | Path, *, reuse: str | None = None, skip_lost: bool = False
    ) -> Restored:
        """Restore a tree of a snapshot into `stage_dir`, which must not exist yet. Every byte is checked.

        reuse: the tree as it is now, on the same file system. Files there that are unchanged are hard-linked into the
            stage instead of copied, so the old tree must be deleted once the stage has replaced it.
        skip_lost: leave out and report files that are damaged, instead of failing.

        Raises `VerificationFailed`, `Refused` (no room, no rights), `NotFound`; then there is no stage.
        """
        put = restoration.restore_whole_files if skip_lost else restoration.restore
        with self._opened() as opened:
            source = None if reuse is None else os.path.realpath(reuse)
            return put(opened, snapshot, name, Path(stage_dir), source)

    def lost(self, snapshot: str, name: str) -> list[Lost]:
        """The files that a restore of this tree with `skip_lost` would leave out, as far as damage is known.

        Raises `VerificationFailed` where no file of the tree is whole.
        """
        with self._opened() as opened:
            return restoration.assessment_of(opened, snapshot, name).lost

    def damaged(self) -> dict[str, Damage]:
        """The snapshots that are damaged, by id, as far as damage is known."""
        with self._layout.shared():
            return damage.damaged_snapshots(self._layout)

    def look_for_damage(self) -> dict[str, Damage]:
        """The damaged snapshots as in `damaged`, after reading the listings of all snapshots anew."""
        with self._layout.shared():
            return damage.reassessed_snapshots(self._layout)

    def scrub(self, bytes_max: int | None = None, pause: Callable[[int], None] | None = None) -> Scrubbed:
        """Read and check the packs that were read longest ago.

        bytes_max: about how many bytes to read; None: all packs now.
        pause: called with the bytes of each block that was read; what it raises ends the scrub.

        Raises what `pause` raises, and `Refused` while a collection runs.
        """
        with self._layout.shared():
            names = scrub.next_packs(self._layout, bytes_max, time.time())
            return scrub.scrub(self._layout, names, pause)

    def scrub_due(self) -> bool:
        """Whether packs are due to be scrubbed now."""
        return bool(scrub.due(self._layout, time.time()))

    def scrub_rate(self) -> float:
        """How many bytes a second must be scrubbed for all packs to be read in time."""
        return scrub.rate(self._layout)

    def scrub_age(self) -> Age:
        """How long ago the packs were scrubbed."""
        return scrub.age(self._layout, time.time())

    def diff(self, snapshot: str | Export, name: str, path: str | Path) -> Diff:
        """What a restore of this tree would change in the folder at `path`.

        snapshot: the id of a snapshot, or an open export; of a damaged snapshot, the restore is one with `skip_lost`.
        """
        source = os.path.realpath(path)
        if isinstance(snapshot, Export):
            return diff.diff(snapshot.entries(name), source, stat_cache.load(self._layout, source))
        with self._opened() as opened:
            entries = restoration.assessment_of(opened, snapshot, name).entries
            return diff.diff(entries, source, stat_cache.load(self._layout, source), self._glances)

    def room(self, snapshot: str | Export, name: str) -> int:
        """The bytes that the files of a tree take on a disk: holes take none, and other names of a file neither."""
        if isinstance(snapshot, Export):
            return room_of(snapshot.entries(name))
        with self._opened() as opened:
            return room_of(restoration.assessment_of(opened, snapshot, name).entries)

    def remember(self, snapshot: str, name: str, path: str | Path) -> None:
        """Record that the folder at `path` was just restored from this tree: the next snapshot need not read it."""
        source = os.path.realpath(path)
        with self._opened() as opened:
            entries = restoration.entries_of(opened, snapshot, name)
            stat_cache.save(self._layout, source, stat_cache.known_of(source, entries))

    def collect(self, keep: Iterable[str]) -> Collected:
        """Remove all snapshots except `keep`, and free their room. Needs about one pack (64 MiB) of free room at most.

        Raises `NotFound`, `VerificationFailed` where one of `keep` is missing or damaged (then nothing is removed),
        `Refused` while other processes use the archive, or where the disk is full.
        """
        with self._layout.exclusive():
            return collection.collect(self._layout, keep)

    def export(
        self,
        snapshot: str,
        out: str | Path,
        extras: Sequence[tuple[str, export_writer.Source]] = (),
        progress: export_writer.Progress | None = None,
    ) -> Exported:
        """Write a snapshot to one tar.gz, mode 0600, which appears at `out` when it is complete.

        extras: (name, bytes or a file) to put into it.
        progress: called with the bytes written so far, and about how many they will be.

        Raises `VerificationFailed`, `NotFound`, `Invalid` for impossible names, `Refused` where the disk is full, and
        what `progress` raises.
        """
        with self._layout.shared():
            return export_writer.export(self._layout, snapshot, Path(out), extras, progress)

    @staticmethod
    def sweep_export(out: str | Path) -> None:
        """Remove the temporary files of exports to `out` that were killed."""
        with suppress(OSError):
            export_writer.sweep(Path(out))

    def read(self, snapshot: str) -> Snapshot:
        """A snapshot, with its manifest. Raises `NotFound`, `VerificationFailed`."""
        manifest, digest = manifests.read(self._layout, snapshot)
        return Snapshot(snapshot, digest, manifest.taken_at, manifest)

    def snapshots(self) -> list[Snapshot]:
        """All snapshots, oldest first; where a manifest is damaged, the snapshot's `damage` says so."""
        found = []
        for snapshot in manifests.listed(self._layout):
            try:
                found.append(self.read(snapshot))
            except MaestroError as error:
                found.append(Snapshot(snapshot, "", 0, None, error.line()))
        return sorted(found, key=lambda one: (one.taken_at, one.snapshot))


def _check_same(found: Diff, path: str) -> None:
    """Raise `Refused` where a diff found any difference."""
    for changes, what in ((found.added, "is gone"), (found.changed, "is another"), (found.deleted, "has come")):
        if changes:
            told = f"{changes[0].path!r} {what} in {path!r} since it was archived"
            raise Refused(told, "workspace", "stop what writes there, then try again")
