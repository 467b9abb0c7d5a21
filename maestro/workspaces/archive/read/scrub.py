"""The scrub: every byte of an archive is read again and proved, a few packs at a time, so that nothing rots unseen.

When each pack was last read to its end is on the disk, so that whoever goes on knows where. A pack that has never been
read since it was written, or that has changed, comes first; then the one that was read longest ago. What is damaged
comes into quarantine; what is there again after it had been damaged is released.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from maestro import files
from maestro.model.errors import MaestroError, VerificationFailed
from maestro.workspaces.archive.format import index as indexes
from maestro.workspaces.archive.format import quarantine
from maestro.workspaces.archive.format.layout import Layout, put
from maestro.workspaces.archive.format.packs import Block, proved_block, read_directory
from maestro.workspaces.archive.format.quarantine import WHOLE, Barred

AGE_S_MAX = 7 * 86_400.0
"""Every byte has been read within this time."""
DUE_S = 4 * 86_400.0
"""How old a proof is before it is made again: the rest of the time is for making it, and for days without a daemon."""
SPREAD_S = 86_400.0
RATE_MIN = 1 << 20
"""Bytes a second at least, so that a small archive is done soon; else all of it in `SPREAD_S`."""
_BYTES_MAX = 256 << 20


class Read(msgspec.Struct, array_like=True, frozen=True):
    """A pack as it was when it was read to its end. mtime in ns; at: Unix time in s."""

    size: int
    mtime: int
    at: float


class Scrubbed(msgspec.Struct):
    """What was read. damaged: places that were found so now; released: that prove again."""

    packs: int = 0
    bytes: int = 0
    damaged: int = 0
    released: int = 0


class Age(msgspec.Struct, frozen=True):
    """How far the scrub is. oldest_s: since the pack that was read (or else written) longest ago was; never: packs that
    have not been read since they were written."""

    packs: int
    bytes: int
    oldest_s: float
    never: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Read])


def due(layout: Layout, now: float) -> list[str]:
    """The packs that are to be read now, in order. Unix time in s."""
    known = _known(layout)
    order = sorted((known[name].at if name in known else 0.0, name) for name in _there(layout))
    return [name for at, name in order if now - at >= DUE_S or at > now]


def in_turn(layout: Layout, bytes_max: int | None, now: float) -> list[str]:
    """The packs to read next, about so many bytes of those that are due, one at least; None: all that there are."""
    there = _there(layout)
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
    """How many bytes a second are to be read, so that all are in time."""
    return max(RATE_MIN, sum(size for size, _ in _there(layout).values()) / SPREAD_S)


def scrub(layout: Layout, names: list[str], pause: Callable[[int], None] | None = None) -> Scrubbed:
    """Read these packs. Hold `layout.shared()`. pause: called after each block with its bytes as stored; what it raises
    ends the scrub at that pack, which is read from its start the next time."""
    done = Scrubbed()
    before = quarantine.listed(layout)
    known = indexes.load(layout).packs
    for name in names:
        done.bytes += _pack(layout, name, known.get(name, []), pause or (lambda _: None))
        done.packs += 1
        _note(layout, name)
    done.released = quarantine.look_again(layout)
    done.damaged = len(quarantine.listed(layout) - before)
    return done


def age(layout: Layout, now: float) -> Age:
    """How long ago all of it was read. Unix time in s."""
    known, there = _known(layout), _there(layout)
    read = {name: known[name].at if name in known else mtime / 1e9 for name, (_, mtime) in there.items()}
    never = sum(name not in known for name in there)
    size = sum(size for size, _ in there.values())
    return Age(len(there), size, max((now - at for at in read.values()), default=0.0), never)


def _pack(layout: Layout, name: str, known: list[Block], pause: Callable[[int], None]) -> int:
    """Read a pack; how many bytes. What is damaged comes into quarantine."""
    path = layout.packs / f"{name}.pack"
    total = 0
    barred = quarantine.listed(layout)
    try:
        blocks = read_directory(path)
    except VerificationFailed as error:
        if Barred(name, WHOLE) not in barred:
            quarantine.bar_pack(layout, name, known, error.what)
        return total
    with files.opened(path) as pack:
        for block in blocks:
            if Barred(name, block.offset) in barred:
                continue
            try:
                proved_block(pack.fileno(), block, path)
            except VerificationFailed as error:
                quarantine.bar_block(layout, block, error.what)
            total += block.stored
            pause(block.stored)
    return total


def _there(layout: Layout) -> dict[str, tuple[int, int]]:
    found = {}
    for path in layout.packs.glob("*.pack"):
        status = path.lstat()
        found[path.stem] = (status.st_size, status.st_mtime_ns)
    return found


def _known(layout: Layout) -> dict[str, Read]:
    """When the packs that are there, as they are, were read."""
    try:
        read = _decoder.decode(files.content(layout.root / "scrub", _BYTES_MAX))
    except (OSError, msgspec.MsgspecError):
        return {}
    there = _there(layout)
    return {name: one for name, one in read.items() if there.get(name) == (one.size, one.mtime)}


def _note(layout: Layout, name: str) -> None:
    """This pack has been read; a disk that cannot take that note costs a second reading."""
    stats = _there(layout).get(name)
    if stats is None:
        return
    known = _known(layout) | {name: Read(*stats, time.time())}
    try:
        put(layout, layout.root / "scrub", _encoder.encode(known))
    except MaestroError:
        return
