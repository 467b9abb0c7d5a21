"""Which block holds a chunk: read from the packs' own directories, and kept in a cache so that it is quick.

The cache is never the truth: one that is damaged, or lacks a pack, is made again from the packs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from maestro.model.errors import MaestroError, VerificationFailed
from maestro.workspaces.archive.layout import Layout, put
from maestro.workspaces.archive.packs import Block, read_directory

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, list[Block]])


class Index:
    """Chunk digest → block, over all packs. packs: the blocks of each."""

    def __init__(self, packs: dict[str, list[Block]]) -> None:
        self.packs = packs
        self.blocks: dict[bytes, Block] = {}
        for name, blocks in packs.items():
            for block in blocks:
                block.pack = name
                digests = block.digests
                for start in range(0, len(digests), 32):
                    self.blocks[digests[start : start + 32]] = block

    def find(self, digest: bytes) -> Block:
        """The block that holds a chunk. Raises `VerificationFailed` where none does."""
        block = self.blocks.get(digest)
        if block is None:
            raise VerificationFailed(f"no pack holds the chunk {digest.hex()[:16]}…")
        return block


def load(layout: Layout) -> Index:
    """The index, from its cache where that holds every pack. A pack that cannot be read is left out of it."""
    present = {path.stem for path in layout.packs.glob("*.pack")}
    cached = read_sealed(layout.caches / "index")
    try:
        packs = _decoder.decode(cached) if cached is not None else {}
    except msgspec.MsgspecError:
        packs = {}
    missing = present - set(packs)
    packs = {name: blocks for name, blocks in packs.items() if name in present}
    for name in missing:
        try:
            packs[name] = read_directory(layout.packs / f"{name}.pack")
        except VerificationFailed:
            continue
    index = Index(packs)
    if missing:
        save(layout, index)
    return index


def load_from_packs(layout: Layout) -> Index:
    """The index, from the packs only, each directory checked. Raises `VerificationFailed` naming a damaged pack."""
    return Index({path.stem: read_directory(path) for path in sorted(layout.packs.glob("*.pack"))})


def save(layout: Layout, index: Index, more: Iterable[Block] = ()) -> None:
    """Put the index into its cache, with the blocks that were written since. A cache that cannot be kept is left."""
    packs = dict(index.packs)
    for block in more:
        packs.setdefault(block.pack, []).append(block)
    write_sealed(layout, layout.caches / "index", _encoder.encode(packs))


def write_sealed(layout: Layout, path: Path, content: bytes) -> None:
    """A cache with its digest; a disk that refuses costs time later, nothing else."""
    try:
        put(layout, path, hashlib.sha256(content).digest() + content, durable=False)
    except MaestroError:
        return


def read_sealed(path: Path) -> bytes | None:
    """A cache as it was written, None where it is absent or damaged."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    content = found[32:]
    return content if hashlib.sha256(content).digest() == found[:32] else None
