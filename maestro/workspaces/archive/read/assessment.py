"""Assesses which files of a snapshot are whole and which are damaged; all damage is reported, and callers raise it.

A damaged file is left out of a restore; a file is never restored shorter, or filled with zeros. Where a part of the
listing itself is lost, only the number of lost names is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import listing
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, Entry, Tree, check, located, shown
from maestro.workspaces.archive.format.packs import Block
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool
from maestro.workspaces.archive.read.contents import Contents, long_file, plan_reads, small_files

_LOST = "what it held is damaged, or gone"


class Lost(msgspec.Struct, frozen=True):
    """A file that cannot be restored whole.

    path: in its tree, printable; "" where the names themselves are lost.
    """

    tree: str
    path: str
    why: str


class Assessment(msgspec.Struct, frozen=True):
    """What is left of a tree. entries: those that can be restored, all folders included; lost: the others."""

    entries: list[Entry]
    lost: list[Lost]

    @property
    def has_content(self) -> bool:
        """Whether more than empty folders can be restored, or the tree never had more."""
        return not self.lost or any(entry.kind != FOLDER for entry in self.entries)


def assess(contents: Contents, tree: Tree) -> Assessment:
    """What can be restored of a tree according to the index; of its content, only the listing is read.

    Raises `VerificationFailed` where no part of the listing is left, or where it is not safe to restore.
    """
    entries, lost = _listed(contents, tree)
    kept = contents.index.blocks
    bad: dict[bytes, str] = {}
    for entry in entries:
        if entry.kind == FILE and any(piece.digest and piece.digest not in kept for piece in entry.parts()):
            bad[entry.path] = _LOST
    for entry in entries:
        if entry.kind == HARDLINK and entry.target in bad:
            bad[entry.path] = f"it is a link to {shown(entry.target)}, which is lost"
    lost += [Lost(tree.name, shown(path), why) for path, why in sorted(bad.items())]
    whole = [entry for entry in entries if entry.path not in bad]
    return Assessment(whole, lost)


def read_all(
    contents: Contents, tree: Tree, entries: Sequence[Entry], count: Callable[[int], None]
) -> list[VerificationFailed]:
    """Read all of these files that are in the index; the damage that was found, which is in quarantine afterwards.

    count: called in any thread with the bytes that were read; it may raise to end the reading.
    """
    found: list[VerificationFailed] = []
    kept = contents.index.blocks
    there = []
    for entry in entries:
        if all(not part.digest or part.digest in kept for part in entry.parts()):
            there.append(entry)
        else:
            found.append(VerificationFailed(_LOST, located(tree.name, entry.path)))
    plan = plan_reads(tree.name, there, contents.index)
    with ThreadPool[None](lambda: None, tick=lambda: count(0)) as pool:

        def tell(data: bytes) -> None:
            count(len(data))
            pool.raise_failure()

        def look(read: Callable[[], None], _: None) -> None:
            try:
                read()
            except VerificationFailed as error:
                found.append(error)

        for entry in plan.long:
            pool.submit(partial(look, partial(long_file, contents, tree.name, entry, tell)))
        for block, some in plan.blocks:
            pool.submit(partial(look, partial(_small, contents, tree.name, (block, some), tell)))
        pool.wait()
    return found


def _small(contents: Contents, tree: str, part: tuple[Block, Sequence[Entry]], tell: Callable[[bytes], None]) -> None:
    for _, content in small_files(contents, tree, *part):
        tell(content)


def _listed(contents: Contents, tree: Tree) -> tuple[list[Entry], list[Lost]]:
    """The entries of a tree as far as its listing is readable, each below a folder, and what is lost of the listing."""
    try:
        entries, _ = contents.entries(tree)
    except VerificationFailed:
        entries = []
    else:
        check(tree.name, entries)
        return entries, []

    def fetch(digests: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {}
        for digest in digests:
            with suppress(VerificationFailed):
                found[digest] = contents.chunk(digest)
        return found

    entries = listing.read_left(tree.root, tree.depth, fetch)
    if not entries:
        raise VerificationFailed("nothing of its listing is left", where=tree.name)
    why = f"{tree.entries - len(entries):,} names in it are lost with a part of its listing"
    entries = _with_folders(entries)
    check(tree.name, entries)
    return entries, [Lost(tree.name, "", why)]


def _with_folders(entries: list[Entry]) -> list[Entry]:
    """These entries and the folders above them that are missing, readable for their owner only.

    Hard links whose target is missing are dropped.
    """
    by_path = {entry.path: entry for entry in entries}
    for entry in entries:
        path = entry.path
        while path and (path := path.rpartition(b"/")[0]) not in by_path:  # what is there has its own turn
            by_path[path] = Entry(path, FOLDER, 0o700, entry.uid, entry.gid, entry.mtime)
    entries = [by_path[path] for path in sorted(by_path)]
    files = {entry.path for entry in entries if entry.kind == FILE}
    return [entry for entry in entries if entry.kind != HARDLINK or entry.target in files]
