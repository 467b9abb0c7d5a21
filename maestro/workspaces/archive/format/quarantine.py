"""The quarantine of an archive: a record of each block, and each whole pack, that is known to be damaged.

    <root>/quarantine/<pack>-<offset>   a block of that pack is damaged
                     /<pack>            the pack is missing, or its directory is damaged
                     /missing           needed chunks are in no pack, and it is unknown which pack had them

Quarantined chunks count as not stored. The next snapshot reads their content from the workspace again, even where the
stat cache says that nothing changed; once the same content is stored again, the snapshots that need it are whole again.
Before a block is quarantined, each of its chunks that still matches its digest is copied to another pack, so that no
more is lost than the damage itself.

Each entry is a file of its own, written durably: any number of processes may add entries at once, and an index that is
rebuilt sees them. An entry is removed when its place verifies again (a pack was put back from a copy), or together with
its pack.
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
    read_directory,
    read_proved_block,
    salvage,
)

FOLDER = "quarantine"
WHOLE = -1
"""The offset that stands for a whole pack."""


class Quarantined(msgspec.Struct, frozen=True):
    """A damaged place that is not read. offset: of the block in its pack, or `WHOLE`."""

    pack: str
    offset: int

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.pack if self.offset == WHOLE else f"{self.pack}-{self.offset}"


_MISSING = Quarantined("missing", WHOLE)


def listed(layout: Layout) -> frozenset[Quarantined]:
    """All entries of the quarantine."""
    found = set()
    for path in layout.quarantine.iterdir():
        pack, dash, offset = path.name.partition("-")
        if not dash or offset.isdecimal():
            found.add(Quarantined(pack, int(offset) if dash else WHOLE))
    return frozenset(found)


def add_block(layout: Layout, block: Block, why: str) -> None:
    """Quarantine a block, after copying its intact chunks to another pack. Does nothing while the disk is full."""
    _add(layout, Quarantined(block.pack, block.offset), [block], why)


def add_pack(layout: Layout, pack: str, known: Sequence[Block], why: str) -> bool:
    """Quarantine a pack that is missing or has a damaged directory; whether the entry is on the disk.

    known: the blocks of the pack as the index had them; their intact chunks are copied to another pack first.
    """
    return _add(layout, Quarantined(pack, WHOLE), known, why)


def add_missing(layout: Layout) -> None:
    """Record that needed chunks are in no pack, where it is unknown which pack had them."""
    _add(layout, _MISSING, [], "chunks that are needed are in no pack")


def _add(layout: Layout, place: Quarantined, blocks: Sequence[Block], why: str) -> bool:
    path = layout.quarantine / place.name
    if path.exists():
        return True
    try:
        _salvage_blocks(layout, place.pack, blocks)
        put(layout, path, f"{why}\n".encode())
    except MaestroError:
        return False
    return True


def _salvage_blocks(layout: Layout, pack: str, blocks: Sequence[Block]) -> None:
    """Copy the intact chunks of these blocks to new packs. Raises `Refused` where the disk is full."""
    try:
        handle = files.handle(layout.packs / f"{pack}.pack")
    except OSError:
        return  # the pack is missing, or not a file: nothing can be copied
    writer = PackWriter(layout)
    try:
        for block in blocks:
            chunks = salvage(handle, block)
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


def release(layout: Layout, quarantined: Quarantined) -> None:
    """Remove an entry: its place verifies again, or its pack was removed."""
    (layout.quarantine / quarantined.name).unlink(missing_ok=True)
    sync_folder(layout.quarantine)


def release_proved(layout: Layout) -> int:
    """Release the quarantined blocks that verify again because their pack was put back from a copy; how many."""
    released = 0
    for quarantined in listed(layout):
        path = layout.packs / f"{quarantined.pack}.pack"
        if quarantined.offset == WHOLE or not path.exists():
            continue  # `index.load` releases a whole pack as soon as its directory can be read
        try:
            for block in read_directory(path):
                if block.offset == quarantined.offset:
                    check_block(path, block)
                    release(layout, quarantined)
                    released += 1
        except (VerificationFailed, OSError):
            continue
    return released


def check_block(path: Path, block: Block) -> None:
    """Read a block from the disk and check every chunk of it. Raises `VerificationFailed`, `OSError`."""
    handle = files.handle(path)
    try:
        read_proved_block(handle, block, path)
    finally:
        os.close(handle)
