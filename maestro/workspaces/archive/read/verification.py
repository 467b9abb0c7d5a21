"""Verifies a snapshot: every byte that it needs is read, unpacked and compared with its digest."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import index as indexes, manifests, quarantine
from maestro.workspaces.archive.format.entries import FILE, Entry, Manifest, Tree, check
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.read.assessment import Lost, assess, read_all
from maestro.workspaces.archive.read.contents import Contents
from maestro.workspaces.archive.read.purge import Listing
from maestro.workspaces.archive.read.reading import Reading

SAVED = "all that was there has been saved to another pack"
LOST_MEND = "`restore --skip-failed` brings back what is whole; a new snapshot keeps anew what is still in a workspace"


class Verified(msgspec.Struct, frozen=True):
    """A snapshot that was verified. manifest: its manifest's SHA-256; bytes: of all files."""

    snapshot: str
    manifest: str
    entries: int
    files: int
    bytes: int


Progress = Callable[[int, int], None]


def verify(layout: Layout, snapshot: str, expected: str = "", progress: Progress | None = None) -> Verified:
    """Check a snapshot from the packs alone. The caller holds `layout.shared()`.

    expected: the manifest's id as the caller recorded it, "" where it is not known.
    progress: called now and then with the bytes done and the total.

    Raises `VerificationFailed` naming the first damaged member, after all has been read and all damage is quarantined;
    `NotFound`, and what `progress` raises.
    """
    manifest, digest = manifests.read(layout, snapshot)
    if expected and digest != expected:
        what = f"it is not the one that was recorded ({expected[:16]}…)"
        raise VerificationFailed(what, where=f"manifest {snapshot}")
    quarantine.release_proved(layout)
    index = indexes.load_from_packs(layout)
    contents = Contents(layout, index)
    entries = files = size = 0
    done = _ReadProgress(sum(tree.size for tree in manifest.trees), progress)
    found: list[VerificationFailed] = []
    try:
        for tree in manifest.trees:
            try:
                listed = checked_entries(contents, tree)
                contents.check_spares(contents.entries(tree)[1])
                found += read_all(contents, tree, listed, done.count)
            except VerificationFailed as error:
                found.append(error)
                with suppress(VerificationFailed):  # read the rest too, so that all damage is found
                    found += read_all(contents, tree, assess(contents, tree).entries, done.count)
                continue
            entries += len(listed)
            files += sum(entry.kind == FILE for entry in listed)
            size += tree.size
    finally:
        contents.close()
    found += [error for error in contents.damage_met if not any(error.where in each.what for each in found)]
    if found or index.mended:
        raise _failure(layout, manifest, found, index.mended)
    return Verified(snapshot, digest, entries, files, size)


def prove(opened: Reading, snapshot: str, name: str) -> Listing:
    """Read a tree completely, along the same path as a restore; what it holds. The caller holds `layout.shared()`.

    Raises `VerificationFailed` naming the first member that a restore would fail on, `NotFound`.
    """
    tree, contents = opened.tree(snapshot, name), opened.contents
    entries = checked_entries(contents, tree)
    found = read_all(contents, tree, entries, lambda _: None)
    if found:
        raise found[0]
    return Listing(entries, tree.left_out)


def _failure(
    layout: Layout, manifest: Manifest, found: list[VerificationFailed], mended: set[str]
) -> VerificationFailed:
    """The error for the damage that was found: how many files are lost now that all intact chunks are salvaged."""
    contents = Contents(layout, indexes.load(layout))
    lost: list[Lost] = []
    try:
        for tree in manifest.trees:
            try:
                lost += assess(contents, tree).lost
            except VerificationFailed as error:
                lost.append(Lost(tree.name, "", error.what))
    finally:
        contents.close()
    if lost:
        quarantine.add_missing(layout)
        where = f"{lost[0].tree}/{lost[0].path}" if lost[0].path else lost[0].tree
        why = next((error.what for error in found if error.where == where), lost[0].why)
        more = f" (and {len(lost) - 1:,} more)" if len(lost) > 1 else ""
        return VerificationFailed(f"{why}{more}", where, LOST_MEND)
    if found:
        return VerificationFailed(f"{found[0].what}; {SAVED}", found[0].where, "verify it again")
    return VerificationFailed(f"its directory was damaged; {SAVED}", f"pack {min(mended)}.pack", "verify it again")


def checked_entries(contents: Contents, tree: Tree) -> list[Entry]:
    """The entries of a tree, after a check that they are safe to restore and match the manifest's counts."""
    entries, _ = contents.entries(tree)
    check(tree.name, entries)
    size = sum(entry.size for entry in entries if entry.kind == FILE)
    if len(entries) != tree.entries or size != tree.size:
        raise VerificationFailed("its listing does not add up to what the manifest says", where=tree.name)
    return entries


class _ReadProgress:
    """The bytes read so far, counted by all threads without a lock: an approximate number suffices."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress = total, progress
        self._bytes = 0
        self._thread = threading.get_ident()

    def count(self, size: int) -> None:
        """Add to the bytes read; only the thread that made this object reports progress."""
        self._bytes += size
        if self._progress is not None and threading.get_ident() == self._thread:
            self._progress(min(self._bytes, self._total), self._total)
