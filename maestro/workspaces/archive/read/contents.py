"""The content of an archive: chunks by digest, each checked whenever it is read.

What is to be read is put together by block (`Plan`), so that each block is read and unpacked once however many files
lie in it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from maestro import files
from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import listing, quarantine
from maestro.workspaces.archive.format.entries import FILE, Entry, Tree, located
from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import Block, damaged, proved_block, read_block

_HANDLES_MAX = 64
_BLOCKS_KEPT = 8
_ZEROS = bytes(1 << 20)


class Contents:
    """Reads blocks and chunks; for all threads. Close it. Raises `VerificationFailed` naming the damaged pack.

    What is damaged comes into quarantine, whoever meets it: see `quarantine`.
    """

    def __init__(self, layout: Layout, index: Index) -> None:
        self.index = index
        self._layout = layout
        self._lock = threading.Lock()
        self._handles: OrderedDict[str, int] = OrderedDict()
        self._barred: dict[tuple[str, int], VerificationFailed] = {}
        self.met: list[VerificationFailed] = []
        """What was found to be damaged, also where a second block had it."""

    def block(self, block: Block) -> bytes:
        """The content of a block, checked as a whole; a chunk in it is checked by who takes it."""
        path = self._layout.packs / f"{block.pack}.pack"
        with self._lock:
            if known := self._barred.get((block.pack, block.offset)):
                raise known  # it is not read again and again
            handle = self._handles.pop(block.pack, -1)
        if handle < 0:
            try:
                handle = files.handle(path)
            except OSError as error:
                raise damaged(path, f"cannot be read: {error.strerror}") from None
        try:
            return read_block(handle, block, path)
        except VerificationFailed:
            return self._look_again(handle, block, path)
        finally:
            self._give_back(block.pack, handle)

    def _look_again(self, handle: int, block: Block, path: Path) -> bytes:
        """What is damaged in memory only may be whole on the disk; else it comes into quarantine."""
        try:
            return proved_block(handle, block, path)
        except VerificationFailed as error:
            self._bar(block, error)
            raise

    def _bar(self, block: Block, error: VerificationFailed) -> None:
        with self._lock:
            self._barred[block.pack, block.offset] = error
            self.met.append(error)
            self.index.bar(block)
        quarantine.bar_block(self._layout, block, error.what)

    def fetch(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """These chunks, checked; each block that holds one is read once."""
        wanted: dict[tuple[str, int], tuple[Block, set[bytes]]] = {}
        for digest in digests:
            block = self.index.find(digest)
            wanted.setdefault((block.pack, block.offset), (block, set()))[1].add(digest)
        found: dict[bytes, bytes] = {}
        for block, of_block in wanted.values():
            try:
                found |= self.pick(block, self.block(block), of_block)
            except VerificationFailed:
                if not of_block <= self.index.blocks.keys():
                    raise
                found |= self.fetch(sorted(of_block))  # a second block has them
        return found

    def check_spares(self, digests: Sequence[bytes]) -> None:
        """What there is twice of these chunks is whole both times; else it is among `met`."""
        wanted: dict[tuple[str, int], tuple[Block, set[bytes]]] = {}
        for digest in digests:
            if (block := self.index.spares.get(digest)) is not None:
                wanted.setdefault((block.pack, block.offset), (block, set()))[1].add(digest)
        for block, of_block in wanted.values():
            with suppress(VerificationFailed):
                self.pick(block, self.block(block), of_block)

    def pick(self, block: Block, content: bytes, wanted: set[bytes]) -> dict[bytes, bytes]:
        """The wanted chunks of a block that was read, checked."""
        found = {}
        for digest, offset, length in block.chunks():
            if digest in wanted:
                chunk = content[offset : offset + length] if len(block.lengths) > 1 else content
                if hashlib.sha256(chunk).digest() != digest:
                    path = self._layout.packs / f"{block.pack}.pack"
                    error = damaged(path, f"holds a chunk at byte {block.offset} that is not what it was")
                    self._bar(block, error)
                    raise error
                found[digest] = chunk
        return found

    def entries(self, tree: Tree) -> tuple[list[Entry], list[bytes]]:
        """The entries of a tree, and the chunks that list them."""
        try:
            return listing.read(tree.root, tree.depth, self.fetch)
        except VerificationFailed as error:
            what = f"{error.where}: {error.what}" if error.where else error.what
            raise VerificationFailed(f"its listing: {what}", where=tree.name, mend=error.mend) from None

    def _give_back(self, pack: str, handle: int) -> None:
        with self._lock:
            surplus = self._handles.setdefault(pack, handle)
            if surplus == handle and len(self._handles) > _HANDLES_MAX:
                _, handle = self._handles.popitem(last=False)
            elif surplus == handle:
                return
        os.close(handle)

    def close(self) -> None:
        """Close the packs."""
        with self._lock:
            while self._handles:
                os.close(self._handles.popitem()[1])


class LastBlocks:
    """Chunks one by one, from blocks of which the last few are kept: neighbours in a tree are neighbours in blocks."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def chunk(self, digest: bytes) -> bytes:
        """One chunk, checked."""
        block = self._contents.index.find(digest)
        place = (block.pack, block.offset)
        content = self._kept.pop(place, None)
        if content is None:
            content = self._contents.block(block)
        self._kept[place] = content
        if len(self._kept) > _BLOCKS_KEPT:
            self._kept.popitem(last=False)
        return self._contents.pick(block, content, {digest})[digest]


class Plan(msgspec.Struct):
    """Files of a tree by what has to be read. blocks: files of one piece, by the block it is in; long: the others."""

    blocks: list[tuple[Block, list[Entry]]]
    long: list[Entry]
    empty: list[Entry]


def planned(tree: str, entries: Sequence[Entry], index: Index) -> Plan:
    """What has to be read for these files. Raises `VerificationFailed` naming a file whose content is not kept."""
    by_block: dict[tuple[str, int], tuple[Block, list[Entry]]] = {}
    plan = Plan([], [], [])
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
    """The files of one piece in a block, each with its bytes, checked."""
    with naming(tree, entries[0]):
        found = contents.pick(block, contents.block(block), {entry.digest for entry in entries})
    for entry in entries:
        content = found[entry.digest]
        if len(content) != entry.size:
            raise VerificationFailed("the size of the member is wrong", where=located(tree, entry.path))
        yield entry, content


def long_file(contents: Contents, tree: str, entry: Entry, write: Callable[[bytes], None] | None = None) -> None:
    """Go through a file of several pieces, checked by piece and as a whole. A hole is given as no bytes, b""."""
    whole = hashlib.sha256()
    blocks = LastBlocks(contents)
    for piece in entry.parts():
        if not piece.digest:
            for at in range(0, piece.length, len(_ZEROS)):
                whole.update(memoryview(_ZEROS)[: piece.length - at])
            data = b""
        else:
            with naming(tree, entry):
                data = blocks.chunk(piece.digest)
            if len(data) != piece.length:
                raise VerificationFailed("a piece of the member has a wrong size", where=located(tree, entry.path))
            whole.update(data)
        if write is not None:
            write(data)
    if whole.digest() != entry.digest:
        raise VerificationFailed("the member is not what its digest says", where=located(tree, entry.path))


@contextmanager
def naming(tree: str, entry: Entry) -> Iterator[None]:
    """What is damaged inside is told with the name of the member that it belongs to."""
    try:
        yield
    except VerificationFailed as error:
        what = f"{error.where}: {error.what}" if error.where else error.what
        raise VerificationFailed(what, located(tree, entry.path), error.mend) from None
