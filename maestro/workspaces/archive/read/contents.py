"""Reads chunks of an archive by digest, each checked whenever it is read.

Files to read are grouped by block (`ReadPlan`), so that each block is read and unpacked once, however many files lie in
it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from maestro import files
from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import listing, quarantine
from maestro.workspaces.archive.format.entries import FILE, Entry, Tree, located
from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import Block, damaged, read_block, read_proved_block

_HANDLES_MAX = 64
_KEPT_MAX, _KEPT_BYTES_MAX = 8, 32 << 20
_ZEROS = bytes(1 << 20)


class _Unpacked(NamedTuple):
    """A block that was read and checked. places: offset and length of each of its chunks."""

    content: bytes
    places: dict[bytes, tuple[int, int]]


class Contents:
    """A thread-safe reader of blocks and chunks, which must be closed.

    Raises `VerificationFailed` naming the damaged pack.

    A block that is found damaged is quarantined: see `quarantine`. The last few blocks of many chunks are kept, as
    neighbours in a tree, and small trees one after the other, tend to lie in one block.
    """

    def __init__(self, layout: Layout, index: Index) -> None:
        self.index = index
        self._layout = layout
        self._lock = threading.Lock()
        self._handles: OrderedDict[str, int] = OrderedDict()
        self._kept: OrderedDict[tuple[str, int], _Unpacked] = OrderedDict()
        self._damaged: dict[tuple[str, int], VerificationFailed] = {}
        self.damage_met: list[VerificationFailed] = []
        """All damage that was found, including chunks that a spare block still had."""

    def block(self, block: Block) -> bytes:
        """The content of a block, checked as a whole; `pick` checks each chunk of it."""
        path = self._layout.packs / f"{block.pack}.pack"
        with self._lock:
            if known := self._damaged.get((block.pack, block.offset)):
                raise known  # a damaged block is read only once
            handle = self._handles.pop(block.pack, -1)
        if handle < 0:
            try:
                handle = files.handle(path)
            except OSError as error:
                raise damaged(path, f"cannot be read: {error.strerror}") from None
        try:
            return read_block(handle, block, path)
        except VerificationFailed:
            return self._read_again(handle, block, path)
        finally:
            self._give_back(block.pack, handle)

    def _read_again(self, handle: int, block: Block, path: Path) -> bytes:
        """Read a block past the page cache: data that is damaged in memory may be whole on the disk.

        Else quarantine it.
        """
        try:
            return read_proved_block(handle, block, path)
        except VerificationFailed as error:
            self._quarantine(block, error)
            raise

    def _quarantine(self, block: Block, error: VerificationFailed) -> None:
        with self._lock:
            self._kept.pop((block.pack, block.offset), None)
            self._damaged[block.pack, block.offset] = error
            self.damage_met.append(error)
            self.index.exclude(block)
        quarantine.add_block(self._layout, block, error.what)

    def fetch(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """The chunks of these digests, checked; each block is read once."""
        wanted: dict[tuple[str, int], tuple[Block, set[bytes]]] = {}
        for digest in digests:
            block = self.index.find(digest)
            wanted.setdefault((block.pack, block.offset), (block, set()))[1].add(digest)
        found: dict[bytes, bytes] = {}
        for block, of_block in wanted.values():
            try:
                found |= self.pick(block, of_block)
            except VerificationFailed:
                if not of_block <= self.index.blocks.keys():
                    raise
                found |= self.fetch(sorted(of_block))  # the spare blocks have them
        return found

    def check_spares(self, digests: Sequence[bytes]) -> None:
        """Read the second copy of each of these chunks that has one; damage goes into `damage_met`."""
        wanted: dict[tuple[str, int], tuple[Block, set[bytes]]] = {}
        for digest in digests:
            if (block := self.index.spares.get(digest)) is not None:
                wanted.setdefault((block.pack, block.offset), (block, set()))[1].add(digest)
        for block, of_block in wanted.values():
            with suppress(VerificationFailed):
                self.pick(block, of_block)

    def chunk(self, digest: bytes) -> bytes:
        """One chunk, checked."""
        return self.pick(self.index.find(digest), (digest,))[digest]

    def pick(self, block: Block, wanted: Collection[bytes]) -> dict[bytes, bytes]:
        """The wanted chunks of a block, each checked against its digest."""
        unpacked = self._unpacked(block)
        found = {}
        for digest in wanted:
            offset, length = unpacked.places[digest]
            chunk = unpacked.content[offset : offset + length]
            if hashlib.sha256(chunk).digest() != digest:
                path = self._layout.packs / f"{block.pack}.pack"
                error = damaged(path, f"holds a chunk at byte {block.offset} that is not what it was")
                self._quarantine(block, error)
                raise error
            found[digest] = chunk
        return found

    def _unpacked(self, block: Block) -> _Unpacked:
        """A block, read and checked as a whole now, or a moment ago."""
        place = (block.pack, block.offset)
        with self._lock:
            if (kept := self._kept.get(place)) is not None:
                self._kept.move_to_end(place)
                return kept
        places = {digest: (offset, length) for digest, offset, length in block.chunks()}
        unpacked = _Unpacked(self.block(block), places)
        with self._lock:
            self._kept[place] = unpacked
            while len(self._kept) > _KEPT_MAX or sum(len(one.content) for one in self._kept.values()) > _KEPT_BYTES_MAX:
                self._kept.popitem(last=False)
        return unpacked

    def entries(self, tree: Tree) -> tuple[list[Entry], list[bytes]]:
        """The entries of a tree, and the digests of the chunks that list them."""
        try:
            return listing.read(tree.root, tree.depth, self.fetch)
        except VerificationFailed as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            raise VerificationFailed(f"its listing: {what}", where=tree.name, mend=error.mend) from None

    def _give_back(self, pack: str, handle: int) -> None:
        """Return a pack's descriptor to the cache of open packs, which closes the one least recently used."""
        with self._lock:
            surplus = self._handles.setdefault(pack, handle)
            if surplus == handle and len(self._handles) > _HANDLES_MAX:
                _, handle = self._handles.popitem(last=False)
            elif surplus == handle:
                return
        os.close(handle)

    def close(self) -> None:
        """Close all open packs."""
        with self._lock:
            while self._handles:
                os.close(self._handles.popitem()[1])


class ReadPlan(msgspec.Struct):
    """The files of a tree by how they are read.

    blocks: files of one chunk, by the block that holds it.
    long: files of several pieces.
    empty: files without content.
    """

    blocks: list[tuple[Block, list[Entry]]]
    long: list[Entry]
    empty: list[Entry]


def plan_reads(tree: str, entries: Sequence[Entry], index: Index) -> ReadPlan:
    """Group files by the blocks to read. Raises `VerificationFailed` naming a file whose content is in no block."""
    by_block: dict[tuple[str, int], tuple[Block, list[Entry]]] = {}
    plan = ReadPlan([], [], [])
    for entry in entries:
        if entry.kind != FILE:
            continue
        if entry.pieces is not None:
            plan.long.append(entry)
        elif not entry.size:
            plan.empty.append(entry)
        else:
            with naming(tree, entry):
                block = index.find(entry.digest)
            by_block.setdefault((block.pack, block.offset), (block, []))[1].append(entry)
    plan.blocks = [by_block[place] for place in sorted(by_block)]
    return plan


def small_files(contents: Contents, tree: str, block: Block, entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes]]:
    """Yield files of one chunk that lie in one block, each with its checked bytes."""
    with naming(tree, entries[0]):
        found = contents.pick(block, {entry.digest for entry in entries})
    for entry in entries:
        content = found[entry.digest]
        if len(content) != entry.size:
            raise VerificationFailed("the size of the member is wrong", where=located(tree, entry.path))
        yield entry, content


def long_file(contents: Contents, tree: str, entry: Entry, write: Callable[[bytes], None] | None = None) -> None:
    """Read a file of several pieces, checked piece by piece and as a whole.

    write: called with the bytes of each piece, b"" for a hole.
    """
    whole = hashlib.sha256()
    for piece in entry.parts():
        if not piece.digest:
            for at in range(0, piece.length, len(_ZEROS)):
                whole.update(memoryview(_ZEROS)[: piece.length - at])
            data = b""
        else:
            with naming(tree, entry):
                data = contents.chunk(piece.digest)
            if len(data) != piece.length:
                raise VerificationFailed("a piece of the member has a wrong size", where=located(tree, entry.path))
            whole.update(data)
        if write is not None:
            write(data)
    if whole.digest() != entry.digest:
        raise VerificationFailed("the member is not what its digest says", where=located(tree, entry.path))


@contextmanager
def naming(tree: str, entry: Entry) -> Iterator[None]:
    """Raise a `VerificationFailed` from inside the block again, with the name of the member that it belongs to."""
    try:
        yield
    except VerificationFailed as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise VerificationFailed(what, located(tree, entry.path), error.mend) from None
