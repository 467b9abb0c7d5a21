"""Garbage collection of an archive: mark the chunks that the kept snapshots name, sweep the packs.

A pack without a needed chunk is removed at once. Packs with much waste, and small packs, are compacted: rewritten
together, about one pack at a time, so that the disk need hold no more than that. A new pack is on the disk before the
packs that it replaces are removed: whenever a collection is interrupted, every needed chunk is there, some of them
twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from maestro import files
from maestro.durable import sync_folder
from maestro.model.errors import NotFound, VerificationFailed
from maestro.workspaces.archive.format import index as indexes, manifests, quarantine, stat_cache
from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import PACK_BYTES, Block, PackWriter, compressed, read_proved_block
from maestro.workspaces.archive.read.contents import Contents

_WASTE_MAX = 0.25
_SMALL_BYTES = 4 << 20
_SMALL_PACKS_MAX = 16


class Collected(msgspec.Struct, frozen=True):
    """The result of a collection.

    freed_bytes: on the disk.
    moved_bytes: that were rewritten for it.
    """

    snapshots: list[str]
    freed_bytes: int
    moved_bytes: int


def collect(layout: Layout, keep: Iterable[str]) -> Collected:
    """Remove all snapshots except `keep`, and the chunks that only they needed. The caller holds `layout.exclusive()`.

    Files of kept snapshots that are already lost do not prevent a collection; the packs that held them stay.

    Raises `NotFound` or `VerificationFailed` where a snapshot to keep is missing, or its manifest or listing is
    damaged: then nothing is removed. Raises `Refused` where the disk is too full even to move one pack: what was
    removed before that stays removed.
    """
    layout.sweep()
    before = _disk_bytes(layout)
    kept, there = sorted(set(keep)), manifests.listed(layout)
    if lost := [snapshot for snapshot in kept if snapshot not in there]:
        raise NotFound(f"there is no snapshot {lost[0]!r} to keep", where=str(layout.root))
    index = indexes.load_from_packs(layout)
    needed, sources = _marked(layout, index, kept)
    gone = [snapshot for snapshot in there if snapshot not in kept]
    for snapshot in gone:
        (layout.manifests / snapshot).unlink()
    sync_folder(layout.manifests)
    # The index cache goes first: after an interruption, packs that it names and that are gone would count as lost.
    (layout.caches / "index").unlink(missing_ok=True)
    sync_folder(layout.caches)
    moved = _sweep(layout, index, needed)
    for path in layout.caches.glob("stat-*"):
        if path not in {stat_cache.path_of(layout, source) for source in sources}:
            path.unlink()
    indexes.load(layout)
    return Collected(gone, before - _disk_bytes(layout), moved)


def _marked(layout: Layout, index: Index, kept: list[str]) -> tuple[set[bytes], set[str]]:
    """The chunks that the kept snapshots need, and the folders that these snapshots were made of."""
    needed: set[bytes] = set()
    listing: set[bytes] = set()
    sources: set[str] = set()
    roots: set[bytes] = set()
    contents = Contents(layout, index)
    try:
        for snapshot in kept:
            for tree in manifests.read(layout, snapshot)[0].trees:
                sources.add(os.fsdecode(tree.source))
                if tree.root in roots:
                    continue
                roots.add(tree.root)
                entries, lists = contents.entries(tree)
                listing.update(lists)
                needed.update(piece.digest for entry in entries for piece in entry.parts() if piece.digest)
    finally:
        contents.close()
    index.spares = {digest: block for digest, block in index.spares.items() if digest in listing}
    return needed | listing, sources


def _sweep(layout: Layout, index: Index, needed: set[bytes]) -> int:
    """Remove and compact packs; the bytes that were written for it."""
    wasteful: list[str] = []
    small: list[str] = []
    lost = needed - index.blocks.keys()
    for name, blocks in index.packs.items():
        stored = sum(block.stored for block in blocks)
        live = sum(block.stored * len(_live(index, block, needed)) / len(block.lengths) for block in blocks)
        if lost and any(digest in lost for block in blocks for digest, _, _ in block.chunks()):
            continue  # the pack is damaged, and may still be put back from a copy
        if not live:
            (layout.packs / f"{name}.pack").unlink()
        elif live < stored * (1 - _WASTE_MAX):
            wasteful.append(name)
        elif stored < _SMALL_BYTES:
            small.append(name)
    if not lost:
        for name in index.unreadable:  # all needed chunks are in other packs
            (layout.packs / f"{name}.pack").unlink(missing_ok=True)
    sync_folder(layout.packs)
    if len(small) > _SMALL_PACKS_MAX:
        wasteful += small
    written = 0
    while wasteful:
        batch: list[str] = []
        size = 0
        while wasteful and size < PACK_BYTES:
            batch.append(wasteful.pop())
            size += sum(block.stored for block in index.packs[batch[-1]])
        written += _rewrite(layout, index, needed, batch)
    if not lost:
        _release(layout)
    return written


def _release(layout: Layout) -> None:
    """Release the quarantine entries of packs that were removed."""
    for quarantined in quarantine.listed(layout):
        if not (layout.packs / f"{quarantined.pack}.pack").exists():
            quarantine.release(layout, quarantined)


def _rewrite(layout: Layout, index: Index, needed: set[bytes], names: list[str]) -> int:
    """Copy the needed chunks of these packs to new packs, then remove them; the bytes that were written."""
    writer = PackWriter(layout)
    damaged: set[str] = set()
    try:
        for name in names:
            path = layout.packs / f"{name}.pack"
            with files.opened(path) as pack:
                for block in index.packs[name]:
                    live = _live(index, block, needed)
                    if not live:
                        continue
                    try:
                        _copy(writer, pack.fileno(), block, live, path)
                    except VerificationFailed as error:
                        damaged.add(name)
                        quarantine.add_block(layout, block, error.what)
        writer.finish()
    finally:
        writer.drop()
    for name in names:
        if name not in damaged and name not in {block.pack for block in writer.blocks}:
            (layout.packs / f"{name}.pack").unlink()
    sync_folder(layout.packs)
    return writer.bytes


def _copy(writer: PackWriter, handle: int, block: Block, live: set[bytes], path: Path) -> None:
    """Copy the needed chunks of a block: the stored block itself where all its chunks are needed."""
    content = read_proved_block(handle, block, path)
    if len(live) == len(block.lengths):
        stored = os.pread(handle, block.stored, block.offset)
        writer.add(stored, [digest for digest, _, _ in block.chunks()], block.lengths)
        return
    chunks = [(digest, content[at : at + length]) for digest, at, length in block.chunks() if digest in live]
    writer.add(
        compressed(b"".join(chunk for _, chunk in chunks)),
        [digest for digest, _ in chunks],
        [len(chunk) for _, chunk in chunks],
    )


def _live(index: Index, block: Block, needed: set[bytes]) -> set[bytes]:
    """The needed chunks of a block that no other block provides; of lists, both copies count as needed."""
    held = {digest for digest, _, _ in block.chunks() if digest in needed}
    return {digest for digest in held if index.blocks.get(digest) is block or index.spares.get(digest) is block}


def _disk_bytes(layout: Layout) -> int:
    return sum(path.stat().st_size for folder in (layout.packs, layout.manifests) for path in folder.iterdir())
