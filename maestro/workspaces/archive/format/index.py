"""The index of an archive: which block of which pack holds a chunk, read from the packs and cached on the disk.

The packs are the truth, the cache is not: a cache that is damaged, lacks a pack, or knows one by another size or time
is rebuilt from the packs. Quarantined blocks are never in the index. `load` quarantines a pack that is missing or
unreadable, together with what the cache knew of its blocks, so that each snapshot, restore and verification notices the
loss.
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
from maestro.workspaces.archive.format.quarantine import WHOLE, Quarantined

_CACHE_BYTES_MAX = 1 << 32


class KnownPack(msgspec.Struct, array_like=True):
    """A pack as it was when its directory was read. size, mtime (ns): of its file."""

    size: int
    mtime: int
    blocks: list[Block]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, KnownPack])


class Index:
    """A map from chunk digest to block, over all packs.

    packs: the blocks of each pack, by its name.
    quarantined: packs and blocks that are not used.
    spares: a second block that holds the same chunk, where one exists.
    unreadable: packs that are missing or damaged, and why.
    mended: those of the unreadable packs whose provable chunks have just been copied to another pack.
    stats: size and mtime (ns) of each readable pack when it was read.
    """

    def __init__(self, packs: dict[str, list[Block]], quarantined: Collection[Quarantined] = ()) -> None:
        self.packs = packs
        self.quarantined = quarantined
        self.blocks: dict[bytes, Block] = {}
        self.spares: dict[bytes, Block] = {}
        self.unreadable: dict[str, str] = {}
        self.mended: set[str] = set()
        self.stats: dict[str, tuple[int, int]] = {}
        for name, blocks in packs.items():
            for block in blocks:
                block.pack = name
                if quarantined and Quarantined(name, block.offset) in quarantined:
                    continue
                digests = block.digests
                for start in range(0, len(digests), 32):
                    digest = digests[start : start + 32]
                    if (before := self.blocks.get(digest)) is not None:
                        self.spares[digest] = before
                    self.blocks[digest] = block

    def find(self, digest: bytes) -> Block:
        """The block that holds a chunk. Raises `VerificationFailed` where no block does."""
        block = self.blocks.get(digest)
        if block is None:
            what = f"no pack holds the chunk {digest.hex()[:16]}… any more"
            raise VerificationFailed(what, mend="--skip-failed restores what is whole")
        return block

    def exclude(self, block: Block) -> None:
        """Drop a damaged block: each of its chunks is found in its spare block from now on, or not at all."""
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
    """The index, from its cache for all packs that are unchanged. An unreadable pack is left out and quarantined."""
    return _load(layout, _cached(layout), {})


def load_from_packs(layout: Layout) -> Index:
    """The index from the packs alone: each directory is read and checked.

    An unreadable pack is left out and quarantined.
    """
    return _load(layout, {}, _cached(layout))


def _load(
    layout: Layout, cached: dict[str, KnownPack], before: dict[str, KnownPack], mended: Collection[str] = ()
) -> Index:
    """Build the index, and quarantine packs that are missing or unreadable.

    cached: packs that need not be read again while their file is unchanged.
    before: what an earlier cache knew, used for packs that cannot be read any more.
    mended: packs that an earlier pass of this function has salvaged.
    """
    quarantined = quarantine.listed(layout)
    known: dict[str, KnownPack] = {}
    lost: dict[str, str] = {}
    is_new = False
    for path in sorted(layout.packs.glob("*.pack")):
        name, found = path.stem, path.lstat()
        one = cached.get(name)
        if one is None or (one.size, one.mtime) != (found.st_size, found.st_mtime_ns):
            is_new = True
            try:
                one = KnownPack(found.st_size, found.st_mtime_ns, read_directory(path))
            except VerificationFailed as error:
                lost[name] = error.what
                continue
        known[name] = one
        if Quarantined(name, WHOLE) in quarantined:
            quarantine.release(layout, Quarantined(name, WHOLE))
    told = cached or before
    lost |= dict.fromkeys(told.keys() - known.keys() - lost.keys(), "is gone")
    fresh = [name for name in lost if name in told and Quarantined(name, WHOLE) not in quarantined]
    noted = [name for name in fresh if quarantine.add_pack(layout, name, told[name].blocks, lost[name])]
    if noted:  # their salvaged chunks lie in new packs now, which must be read too
        return _load(layout, cached, before, {*mended, *noted})
    index = Index({name: one.blocks for name, one in known.items()}, quarantined)
    index.unreadable, index.mended = lost, set(mended)
    index.stats = {name: (one.size, one.mtime) for name, one in known.items()}
    if is_new:
        save(layout, index)
    return index


def _cached(layout: Layout) -> dict[str, KnownPack]:
    content = read_checked(layout.caches / "index")
    try:
        return {} if content is None else _decoder.decode(content)
    except msgspec.MsgspecError:
        return {}


def save(layout: Layout, index: Index, more: Iterable[Block] = ()) -> None:
    """Write the index to its cache, together with the blocks that were written since.

    A disk that refuses is ignored.
    """
    packs = dict(index.packs)
    for block in more:
        packs.setdefault(block.pack, []).append(block)
    known = {}
    for name, blocks in packs.items():
        stats = index.stats.get(name) or _stats(layout.packs / f"{name}.pack")
        if stats is not None:
            known[name] = KnownPack(*stats, blocks)
    write_checked(layout, layout.caches / "index", _encoder.encode(known))


def _stats(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def write_checked(layout: Layout, path: Path, content: bytes) -> None:
    """Write a cache file behind its SHA-256. A disk that refuses is ignored: it costs time later, nothing else."""
    try:
        put(layout, path, hashlib.sha256(content).digest() + content, durable=False)
    except MaestroError:
        return


def read_checked(path: Path) -> bytes | None:
    """The content of a cache file; None where it is missing or its SHA-256 does not match."""
    try:
        found = files.content(path, _CACHE_BYTES_MAX)
    except OSError:
        return None
    content = found[32:]
    return content if hashlib.sha256(content).digest() == found[:32] else None
