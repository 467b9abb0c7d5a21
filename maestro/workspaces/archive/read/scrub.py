"""The scrub: reads and checks every byte of an archive again, a few packs at a time, so that no damage stays unseen.

The time when each pack was last read to its end is on the disk, so that the next process continues there. A pack that
was never read since it was written, or that has changed, comes first; then the pack that was read longest ago. Damaged
blocks are quarantined; blocks that are whole again are released.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from maestro import files
from maestro.model.errors import MaestroError, VerificationFailed
from maestro.workspaces.archive.format import index as indexes, quarantine
from maestro.workspaces.archive.format.layout import Layout, put
from maestro.workspaces.archive.format.packs import Block, read_directory, read_proved_block
from maestro.workspaces.archive.format.quarantine import WHOLE, Quarantined

AGE_S_MAX = 7 * 86_400.0
"""Every byte is read at least once within this time."""
DUE_S = 4 * 86_400.0
"""The age at which a pack is due again: the rest of `AGE_S_MAX` is for reading, and for days without a daemon."""
SPREAD_S = 86_400.0
RATE_MIN = 1 << 20
"""The lowest rate, in bytes a second, so that a small archive is done soon; a large one is read in `SPREAD_S`."""
_BYTES_MAX = 256 << 20


class LastRead(msgspec.Struct, array_like=True, frozen=True):
    """A pack as it was when it was last read to its end. mtime in ns; at: Unix time in s."""

    size: int
    mtime: int
    at: float


class Scrubbed(msgspec.Struct):
    """The result of a scrub. damaged: places that it found and quarantined; released: places that are whole again."""

    packs: int = 0
    bytes: int = 0
    damaged: int = 0
    released: int = 0


class Age(msgspec.Struct, frozen=True):
    """How long ago the packs of an archive were scrubbed.

    oldest_s: seconds since the longest unread pack was read, or written where it never was.
    never: packs that have not been read since they were written.
    """

    packs: int
    bytes: int
    oldest_s: float
    never: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, LastRead])


def due(layout: Layout, now: float) -> list[str]:
    """The packs to be read now, in order. now: Unix time in s."""
    known = _last_reads(layout)
    order = sorted((known[name].at if name in known else 0.0, name) for name in _packs_on_disk(layout))
    return [name for at, name in order if now - at >= DUE_S or at > now]


def next_packs(layout: Layout, bytes_max: int | None, now: float) -> list[str]:
    """The packs to read next: about `bytes_max` bytes of those that are due, but at least one; None: all packs."""
    there = _packs_on_disk(layout)
    if bytes_max is None:
        return sorted(there)
    names: list[str] = []
    for name in due(layout, now):
        if bytes_max <= 0:
            break
        names.append(name)
        bytes_max -= there[name][0]
    return names


def rate(layout: Layout) -> float:
    """How many bytes a second must be read for all packs to be scrubbed in time."""
    return max(RATE_MIN, sum(size for size, _ in _packs_on_disk(layout).values()) / SPREAD_S)


def scrub(layout: Layout, names: list[str], pause: Callable[[int], None] | None = None) -> Scrubbed:
    """Read and check these packs. The caller holds `layout.shared()`.

    pause: called after each block with its stored bytes. What it raises ends the scrub at that pack, which is read from
        its start the next time.
    """
    done = Scrubbed()
    before = quarantine.listed(layout)
    known = indexes.load(layout).packs
    for name in names:
        done.bytes += _read_pack(layout, name, known.get(name, []), pause or (lambda _: None))
        done.packs += 1
        _record_read(layout, name)
    done.released = quarantine.release_proved(layout)
    done.damaged = len(quarantine.listed(layout) - before)
    return done


def age(layout: Layout, now: float) -> Age:
    """How long ago the packs were read. now: Unix time in s."""
    known, there = _last_reads(layout), _packs_on_disk(layout)
    read = {name: known[name].at if name in known else mtime / 1e9 for name, (_, mtime) in there.items()}
    never = sum(name not in known for name in there)
    size = sum(size for size, _ in there.values())
    return Age(len(there), size, max((now - at for at in read.values()), default=0.0), never)


def _read_pack(layout: Layout, name: str, known: list[Block], pause: Callable[[int], None]) -> int:
    """Read a pack and quarantine its damaged blocks; how many bytes were read."""
    path = layout.packs / f"{name}.pack"
    total = 0
    quarantined = quarantine.listed(layout)
    try:
        blocks = read_directory(path)
    except VerificationFailed as error:
        if Quarantined(name, WHOLE) not in quarantined:
            quarantine.add_pack(layout, name, known, error.what)
        return total
    with files.opened(path) as pack:
        for block in blocks:
            if Quarantined(name, block.offset) in quarantined:
                continue
            try:
                read_proved_block(pack.fileno(), block, path)
            except VerificationFailed as error:
                quarantine.add_block(layout, block, error.what)
            total += block.stored
            pause(block.stored)
    return total


def _packs_on_disk(layout: Layout) -> dict[str, tuple[int, int]]:
    found = {}
    for path in layout.packs.glob("*.pack"):
        status = path.lstat()
        found[path.stem] = (status.st_size, status.st_mtime_ns)
    return found


def _last_reads(layout: Layout) -> dict[str, LastRead]:
    """The last read of each pack that is still there, unchanged."""
    try:
        read = _decoder.decode(files.content(layout.root / "scrub", _BYTES_MAX))
    except (OSError, msgspec.MsgspecError):
        return {}
    there = _packs_on_disk(layout)
    return {name: one for name, one in read.items() if there.get(name) == (one.size, one.mtime)}


def _record_read(layout: Layout, name: str) -> None:
    """Record that a pack was read now. A disk that refuses is ignored: the pack is read once more."""
    stats = _packs_on_disk(layout).get(name)
    if stats is None:
        return
    known = _last_reads(layout) | {name: LastRead(*stats, time.time())}
    try:
        put(layout, layout.root / "scrub", _encoder.encode(known))
    except MaestroError:
        return
