"""Proving a snapshot: every byte that it needs is read, unpacked and compared with what was written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive import index as indexes
from maestro.workspaces.archive import manifests
from maestro.workspaces.archive.contents import Contents, Plan, long_file, planned, small_files
from maestro.workspaces.archive.crew import Crew
from maestro.workspaces.archive.entries import FILE, Entry, Tree, check
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.packs import Block
from maestro.workspaces.purge import Listing


class Verified(msgspec.Struct, frozen=True):
    """What was proved: manifest is its SHA-256, bytes those of all files."""

    snapshot: str
    manifest: str
    entries: int
    files: int
    bytes: int


Progress = Callable[[int, int], None]


def verify(layout: Layout, snapshot: str, expected: str = "", progress: Progress | None = None) -> Verified:
    """Check a snapshot from the packs alone. Hold `layout.shared()`.

    expected: the manifest's id as it was recorded, "" where it is not known. progress: called now and then with the
    bytes done, and all. Raises `VerificationFailed` naming the first member that is damaged, `NotFound`, and what
    progress raises.
    """
    manifest, digest = manifests.read(layout, snapshot)
    if expected and digest != expected:
        what = f"it is not the one that was recorded ({expected[:16]}…)"
        raise VerificationFailed(what, where=f"manifest {snapshot}")
    contents = Contents(layout, indexes.load_from_packs(layout))
    entries = files = size = 0
    total, done = sum(tree.size for tree in manifest.trees), _Done()

    def tick() -> None:
        if progress is not None:
            progress(min(done.bytes, total), total)

    try:
        for tree in manifest.trees:
            listed = checked_entries(contents, tree)
            _read_all(contents, tree.name, planned(tree.name, listed, contents.index), (done, tick))
            entries += len(listed)
            files += sum(entry.kind == FILE for entry in listed)
            size += tree.size
    finally:
        contents.close()
    return Verified(snapshot, digest, entries, files, size)


def prove(layout: Layout, snapshot: str, name: str) -> Listing:
    """Read a tree to the last byte, by the same way that a restore takes; what it holds. Hold `layout.shared()`.

    Raises `VerificationFailed` naming what a restore would stumble over, `NotFound`.
    """
    tree = manifests.read(layout, snapshot)[0].tree(name)
    contents = Contents(layout, indexes.load(layout))
    try:
        entries = checked_entries(contents, tree)
        _read_all(contents, name, planned(name, entries, contents.index), (_Done(), lambda: None))
    finally:
        contents.close()
    return Listing(entries, tree.left_out)


def checked_entries(contents: Contents, tree: Tree) -> list[Entry]:
    """The entries of a tree, which are safe to restore and add up to what its manifest says."""
    entries, _ = contents.entries(tree)
    check(tree.name, entries)
    size = sum(entry.size for entry in entries if entry.kind == FILE)
    if len(entries) != tree.entries or size != tree.size:
        raise VerificationFailed("its listing does not add up to what the manifest says", where=tree.name)
    return entries


class _Done:
    """How much of it has been read, counted by all threads: about right is enough."""

    def __init__(self) -> None:
        self.bytes = 0


def _read_all(contents: Contents, tree: str, plan: Plan, watched: tuple[_Done, Callable[[], None]]) -> None:
    done, tick = watched
    with Crew[None](lambda: None, tick=tick) as crew:

        def count(data: bytes) -> None:
            done.bytes += len(data)
            crew.go_on()

        for entry in plan.long:
            crew.submit(partial(_check_long, contents, tree, entry, count))
            tick()
        for block, entries in plan.blocks:
            crew.submit(partial(_check_block, contents, tree, (block, entries), count))
            tick()
        crew.wait()


def _check_long(contents: Contents, tree: str, entry: Entry, count: Callable[[bytes], None], _: None) -> None:
    long_file(contents, tree, entry, count)


def _check_block(
    contents: Contents, tree: str, part: tuple[Block, Sequence[Entry]], count: Callable[[bytes], None], _: None
) -> None:
    for _entry, content in small_files(contents, tree, *part):
        count(content)
