"""What of a snapshot is whole, file by file, and what is not: damage is told, all of it, and raised by who asks.

A file that cannot be had whole is left out of what is restored; never is one put in its place that is shorter, or
filled with zeros. What is lost of the listing itself is known by number only: the names went with it.
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
from maestro.workspaces.archive.parallel.thread_pool import Crew
from maestro.workspaces.archive.read.contents import Contents, LastBlocks, long_file, planned, small_files

_LOST = "what it held is damaged, or gone"


class Lost(msgspec.Struct, frozen=True):
    """A file that cannot be had whole. path: in its tree, as it can be printed; "" where names are lost themselves."""

    tree: str
    path: str
    why: str


class Left(msgspec.Struct, frozen=True):
    """What is left of a tree. entries: that can be put back, with every folder; lost: the others."""

    entries: list[Entry]
    lost: list[Lost]

    @property
    def is_worth_it(self) -> bool:
        """Whether anything but empty folders can be put back, or there never was more."""
        return not self.lost or any(entry.kind != FOLDER for entry in self.entries)


def left(contents: Contents, tree: Tree) -> Left:
    """What the index says is left of a tree: only its listing is read.

    Raises `VerificationFailed` where not even a part of that is left, or where it is not to be trusted.
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
    return Left(whole, lost)


def survey(
    contents: Contents, tree: Tree, entries: Sequence[Entry], count: Callable[[int], None]
) -> list[VerificationFailed]:
    """Read all of these files that can be read; what was found to be damaged, which is in quarantine now.

    count: called with how much was read, in any thread. Raises what it raises in this one.
    """
    found: list[VerificationFailed] = []
    kept = contents.index.blocks
    there = []
    for entry in entries:
        if all(not part.digest or part.digest in kept for part in entry.parts()):
            there.append(entry)
        else:
            found.append(VerificationFailed(_LOST, located(tree.name, entry.path)))
    plan = planned(tree.name, there, contents.index)
    with Crew[None](lambda: None, tick=lambda: count(0)) as crew:

        def tell(data: bytes) -> None:
            count(len(data))
            crew.go_on()

        def look(read: Callable[[], None], _: None) -> None:
            try:
                read()
            except VerificationFailed as error:
                found.append(error)

        for entry in plan.long:
            crew.submit(partial(look, partial(long_file, contents, tree.name, entry, tell)))
        for block, some in plan.blocks:
            crew.submit(partial(look, partial(_small, contents, tree.name, (block, some), tell)))
        crew.wait()
    return found


def _small(contents: Contents, tree: str, part: tuple[Block, Sequence[Entry]], tell: Callable[[bytes], None]) -> None:
    for _, content in small_files(contents, tree, *part):
        tell(content)


def _listed(contents: Contents, tree: Tree) -> tuple[list[Entry], list[Lost]]:
    """The entries of a tree as far as its listing is left, each in a folder."""
    try:
        entries, _ = contents.entries(tree)
    except VerificationFailed:
        entries = []
    else:
        check(tree.name, entries)
        return entries, []
    blocks = LastBlocks(contents)

    def fetch(digests: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {}
        for digest in digests:
            with suppress(VerificationFailed):
                found[digest] = blocks.chunk(digest)
        return found

    entries = listing.read_left(tree.root, tree.depth, fetch)
    if not entries:
        raise VerificationFailed("nothing of its listing is left", where=tree.name)
    why = f"{tree.entries - len(entries):,} names in it are lost with a part of its listing"
    entries = _with_folders(entries)
    check(tree.name, entries)
    return entries, [Lost(tree.name, "", why)]


def _with_folders(entries: list[Entry]) -> list[Entry]:
    """These, and the folders above them that are missing: for their owner only."""
    by_path = {entry.path: entry for entry in entries}
    for entry in entries:
        path = entry.path
        while path:
            path = path.rpartition(b"/")[0]
            if path not in by_path:
                by_path[path] = Entry(path, FOLDER, 0o700, entry.uid, entry.gid, entry.mtime)
    entries = [by_path[path] for path in sorted(by_path)]
    files = {entry.path for entry in entries if entry.kind == FILE}
    return [entry for entry in entries if entry.kind != HARDLINK or entry.target in files]
