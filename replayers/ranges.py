"""The ranges of the log that are kept as segment files: the same ranges everywhere, so that files match."""

from __future__ import annotations

from collections.abc import Iterator

from maestro.model.errors import VerificationFailed
from maestro.store.contract import Entry, Store
from replayers import segments
from replayers.sealed import Segments

LARGE, SMALL = 10_000, 1_000
"""Events in a segment. Small ones are for the end of a checkpoint: the next one shares all but the last of them."""

CHUNK = 1000


def spans(first: int, position: int) -> Iterator[tuple[int, int]]:
    """The ranges of the segments that hold events first..position: large ones, then small ones, then the rest.

    first: where a large range begins.
    """
    for size in (LARGE, SMALL):
        while first + size - 1 <= position:
            yield first, first + size - 1
            first += size
    if first <= position:
        yield first, position


def whole(store: Store, sealed: Segments, span: tuple[int, int, str]) -> segments.Segment:
    """The segment of a range in the folder of sealed segments: the existing file if it is sound, else a new one.

    span: first and last position, and the chain value before them. Raises VerificationFailed where events are missing.
    """
    first, last, before = span
    end = entry_at(store, last)
    if end is None:
        raise VerificationFailed(f"event {last} is missing", "log")
    try:
        found = sealed.find(last, end.chain)
        if found is not None and (found[1].first, found[1].before) == (first, before):
            for _ in segments.blocks(found[0]):
                pass
            return segments.Segment(first, last, end.chain, segments.digest(found[0]), found[0])
    except VerificationFailed:
        if store.log.first() > first:
            raise
    return sealed.put(between(store, first, last), before)


def between(store: Store, first: int, last: int) -> Iterator[Entry]:
    """The entries first..last of the log, one by one."""
    while first <= last:
        entries = store.log.entries(first - 1, min(CHUNK, last - first + 1))
        yield from entries
        first += CHUNK


def entry_at(store: Store, position: int) -> Entry | None:
    """The entry at a position of the log, None where there is none."""
    found = store.log.entries(position - 1, 1) if position > 0 else []
    return found[0] if found and found[0].seq == position else None
