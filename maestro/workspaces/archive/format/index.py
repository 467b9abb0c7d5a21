"""Which block holds a chunk: read from the packs' own directories, and kept in a cache so that it is quick.

The cache is never the truth: one that is damaged, lacks a pack, or has one of another size or time, is made again from
the packs. What is in quarantine is never in the index. A pack that is gone or cannot be read comes into quarantine
here, with what the cache knew of it, so that each snapshot, restore and proof finds it out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec

from maestro import files
from maestro.model.errors import MaestroError, VerificationFailed
from maestro.workspaces.archive.format import quarantine
from maestro.workspaces.archive.format.layout import Layout, put
from maestro.workspaces.archive.format.packs import Block, read_directory
from maestro.workspaces.archive.format.quarantine import WHOLE, Barred

_SEALED_BYTES_MAX = 1 << 32


class Known(msgspec.Struct, array_like=True):
    """A pack as it was when its directory was read. size, mtime (ns): of its file."""

    size: int
    mtime: int
    blocks: list[Block]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Known])


class Index:
    """Chunk digest → block, over all packs. packs: the blocks of each; barred: places that do not count.

    spares: a second block that holds a chunk, where there is one; unreadable: packs that are left out, and why; mended:
    of these, the ones of which all that could be proved was written to another pack just now; stats: size and mtime
    (ns) of the others when they were read.
    """

    def __init__(self, packs: dict[str, list[Block]], barred: Collection[Barred] = ()) -> None:
        self.packs = packs
        self.barred = barred
        self.blocks: dict[bytes, Block] = {}
        self.spares: dict[bytes, Block] = {}
        self.unreadable: dict[str, str] = {}
        self.mended: set[str] = set()
        self.stats: dict[str, tuple[int, int]] = {}
        for name, blocks in packs.items():
            for block in blocks:
                block.pack = name
                if barred and Barred(name, block.offset) in barred:
                    continue
                digests = block.digests
                for start in range(0, len(digests), 32):
                    digest = digests[start : start + 32]
                    if (before := self.blocks.get(digest)) is not None:
                        self.spares[digest] = before
                    self.blocks[digest] = block

    def find(self, digest: bytes) -> Block:
        """The block that holds a chunk. Raises `VerificationFailed` where none does."""
        block = self.blocks.get(digest)
        if block is None:
            what = f"no pack holds the chunk {digest.hex()[:16]}… any more"
            raise VerificationFailed(what, mend="--skip-failed restores what is whole")
        return block

    def bar(self, block: Block) -> None:
        """A block does not count any more: its chunks are found in a second one, or nowhere."""
        for digest, _, _ in block.chunks():
            if self.blocks.get(digest) is block:
                spare = self.spares.pop(digest, None)
                if spare is None or spare is block:
                    del self.blocks[digest]
                else:
                    self.blocks[digest] = spare
            elif self.spares.get(digest) is block:
                del self.spares[digest]


def load(layout: Layout) -> Index:
    """The index, from its cache where that has every pack as it is. A pack that cannot be read is left out of it."""
    return _load(layout, _cached(layout), {})


def load_from_packs(layout: Layout) -> Index:
    """The index, from the packs only, each directory read and checked; one that cannot be read is left out."""
    return _load(layout, {}, _cached(layout))


def _load(layout: Layout, cached: dict[str, Known], before: dict[str, Known], mended: Collection[str] = ()) -> Index:
    """cached: what need not be read; before: what is known besides of packs that cannot be."""
    barred = quarantine.listed(layout)
    known: dict[str, Known] = {}
    lost: dict[str, str] = {}
    is_new = False
    for path in sorted(layout.packs.glob("*.pack")):
        name, found = path.stem, path.lstat()
        one = cached.get(name)
        if one is None or (one.size, one.mtime) != (found.st_size, found.st_mtime_ns):
            is_new = True
            try:
                one = Known(found.st_size, found.st_mtime_ns, read_directory(path))
            except VerificationFailed as error:
                lost[name] = error.what
                continue
        known[name] = one
        if Barred(name, WHOLE) in barred:
            quarantine.release(layout, Barred(name, WHOLE))
    told = cached or before
    lost |= dict.fromkeys(told.keys() - known.keys() - lost.keys(), "is gone")
    fresh = [name for name in lost if name in told and Barred(name, WHOLE) not in barred]
    noted = [name for name in fresh if quarantine.bar_pack(layout, name, told[name].blocks, lost[name])]
    if noted:  # what could be proved of them lies in other packs now
        return _load(layout, cached, before, {*mended, *noted})
    index = Index({name: one.blocks for name, one in known.items()}, barred)
    index.unreadable, index.mended = lost, set(mended)
    index.stats = {name: (one.size, one.mtime) for name, one in known.items()}
    if is_new:
        save(layout, index)
    return index


def _cached(layout: Layout) -> dict[str, Known]:
    content = read_sealed(layout.caches / "index")
    try:
        return {} if content is None else _decoder.decode(content)
    except msgspec.MsgspecError:
        return {}


def save(layout: Layout, index: Index, more: Iterable[Block] = ()) -> None:
    """Put the index into its cache, with the blocks that were written since. A cache that cannot be kept is left."""
    packs = dict(index.packs)
    for block in more:
        packs.setdefault(block.pack, []).append(block)
    known = {}
    for name, blocks in packs.items():
        stats = index.stats.get(name) or _stats(layout.packs / f"{name}.pack")
        if stats is not None:
            known[name] = Known(*stats, blocks)
    write_sealed(layout, layout.caches / "index", _encoder.encode(known))


def _stats(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def write_sealed(layout: Layout, path: Path, content: bytes) -> None:
    """A cache with its digest; a disk that refuses costs time later, nothing else."""
    try:
        put(layout, path, hashlib.sha256(content).digest() + content, durable=False)
    except MaestroError:
        return


def read_sealed(path: Path) -> bytes | None:
    """A cache as it was written, None where it is absent or damaged."""
    try:
        found = files.content(path, _SEALED_BYTES_MAX)
    except OSError:
        return None
    content = found[32:]
    return content if hashlib.sha256(content).digest() == found[:32] else None
