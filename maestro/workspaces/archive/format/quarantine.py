"""The quarantine of an archive: which blocks, and which whole packs, are not what was written.

    <root>/quarantine/<pack>-<offset>   a block of that pack is damaged
                     /<pack>            its directory is, or it is gone
                     /missing           there are chunks in no pack, and nobody knows where they were

Chunks that lie there count as not kept: the next snapshot reads what they held from the workspace again, also where the
stat cache says that nothing has changed, and when the same content has been written again, the snapshots that need it
are whole again. What of a damaged block can still be proved, chunk by chunk, is written to another pack first, so that
no more is lost than what is. An entry is a file of its own, put in its place durably: any number of processes may add
some at once, and an index that is built anew sees them. It goes when its place proves again (a pack that was put back
from a copy), or with its pack.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from maestro import files
from maestro.durable import sync_folder
from maestro.model.errors import MaestroError, VerificationFailed
from maestro.workspaces.archive.format.layout import Layout, put
from maestro.workspaces.archive.format.packs import (
    Block,
    PackWriter,
    compressed,
    proved_block,
    read_directory,
    salvaged,
)

FOLDER = "quarantine"
WHOLE = -1
"""The offset that stands for all of a pack."""


class Barred(msgspec.Struct, frozen=True):
    """A place that is not read. offset: of the block, `WHOLE` for all of the pack."""

    pack: str
    offset: int

    @property
    def name(self) -> str:
        """Of its file."""
        return self.pack if self.offset == WHOLE else f"{self.pack}-{self.offset}"


_MISSED = Barred("missing", WHOLE)


def listed(layout: Layout) -> frozenset[Barred]:
    """All that is in quarantine."""
    found = set()
    for path in layout.quarantine.iterdir():
        pack, dash, offset = path.name.partition("-")
        if not dash or offset.isdecimal():
            found.add(Barred(pack, int(offset) if dash else WHOLE))
    return frozenset(found)


def bar_block(layout: Layout, block: Block, why: str) -> None:
    """Set a block aside; what of it can be proved is kept elsewhere first. A full disk leaves it for another time."""
    _bar(layout, Barred(block.pack, block.offset), [block], why)


def bar_pack(layout: Layout, pack: str, known: Sequence[Block], why: str) -> bool:
    """Set a pack aside that is gone, or whose directory cannot be read; whether that could be noted.

    known: its blocks as the index had them; what of them still proves is kept elsewhere first.
    """
    return _bar(layout, Barred(pack, WHOLE), known, why)


def miss(layout: Layout) -> None:
    """Remember that chunks are needed which no pack has, though nobody knows which pack had them."""
    _bar(layout, _MISSED, [], "chunks that are needed are in no pack")


def _bar(layout: Layout, place: Barred, blocks: Sequence[Block], why: str) -> bool:
    path = layout.quarantine / place.name
    if path.exists():
        return True
    try:
        _rescue(layout, place.pack, blocks)
        put(layout, path, f"{why}\n".encode())
    except MaestroError:
        return False
    return True


def _rescue(layout: Layout, pack: str, blocks: Sequence[Block]) -> None:
    """Write what can be proved of these blocks to packs of its own. Raises `Refused` where the disk is full."""
    try:
        handle = files.handle(layout.packs / f"{pack}.pack")
    except OSError:
        return  # it is gone
    writer = PackWriter(layout)
    try:
        for block in blocks:
            chunks = salvaged(handle, block)
            if chunks:
                writer.add(
                    compressed(b"".join(chunk for _, chunk in chunks)),
                    [digest for digest, _ in chunks],
                    [len(chunk) for _, chunk in chunks],
                )
        writer.finish()
    finally:
        os.close(handle)
        writer.drop()


def release(layout: Layout, barred: Barred) -> None:
    """A place proves again, or is gone with its pack."""
    (layout.quarantine / barred.name).unlink(missing_ok=True)
    sync_folder(layout.quarantine)


def look_again(layout: Layout) -> int:
    """Release the blocks that prove now: their pack was put back from a copy. How many."""
    released = 0
    for barred in listed(layout):
        path = layout.packs / f"{barred.pack}.pack"
        if barred.offset == WHOLE or not path.exists():
            continue  # a whole pack is released by the index, as soon as its directory can be read
        try:
            for block in read_directory(path):
                if block.offset == barred.offset:
                    prove(path, block)
                    release(layout, barred)
                    released += 1
        except (VerificationFailed, OSError):
            continue
    return released


def prove(path: Path, block: Block) -> None:
    """Read a block from the disk, and check all of it. Raises `VerificationFailed`, `OSError`."""
    handle = files.handle(path)
    try:
        proved_block(handle, block, path)
    finally:
        os.close(handle)
