"""Sealing: moves the oldest events from the store into segment files, which bounds the store's memory.

A range is written to a segment, with the blobs that it names, and read back; then `log.sealed` is appended; then the
store trims the range. Each step can be repeated, so it does not matter where the process is killed: what is trimmed has
been read back from the disk, and what is not trimmed is in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from maestro.model.errors import MaestroError, VerificationFailed
from maestro.model.events import LogSealed
from maestro.model.node import Node
from maestro.store.contract import Store
from replayers import ranges, segments
from replayers.ranges import entry_at, whole
from replayers.sealed import Segments
from replayers.whole_file import placed

SUBJECT = "log:segments"
NODES = "nodes"
GONE_MS = 7 * 86_400_000
"""A node that left so long ago (ms), and never reached the segments, is not waited for."""


def due(store: Store, events_max: int) -> list[tuple[int, int]]:
    """The ranges to seal and trim, oldest first; none while the store holds no more than `events_max` events.

    Then as many as leave half of that in the store, but none that the views have not folded yet.
    """
    first, head = store.log.first(), store.log.head().seq
    current = store.views.current()
    if head - first < events_max or current is None or (first - 1) % ranges.LARGE:
        return []
    upto = min(head - events_max // 2, store.views.checkpoint(current).seq)
    return [(start, start + ranges.LARGE - 1) for start in range(first, upto - ranges.LARGE + 2, ranges.LARGE)]


def seal(store: Store, sealed: Segments, span: tuple[int, int]) -> LogSealed:
    """Write a range, and the blobs that it names, to disk and read it back; returns the fact to append to the log.

    Raises VerificationFailed where the log is damaged there, Refused where the disk is full.
    """
    first, last = span
    before = entry_at(store, first - 1)
    if first > 1 and before is None:
        raise VerificationFailed(f"event {first - 1} is missing", "log")
    segment = whole(store, sealed, (first, last, before.chain if before else ""))
    for _ in segments.read(segment.path):
        pass
    header = segments.header(segment.path)
    end = entry_at(store, last)
    if end is None or (header.first, header.last, header.chain) != (first, last, end.chain):
        raise segments.damaged(segment.path, "it is not what the store holds")
    for name in header.blobs:
        _seal_blob(store, sealed, name)
    return LogSealed(first, last, segments.digest(segment.path), header.chain, segment.path.name)


def _seal_blob(store: Store, sealed: Segments, name: str) -> None:
    """Copy a blob to the segments. A blob that the store has lost stays lost."""
    with suppress(MaestroError):
        if sealed.blob(name) is not None:
            return
    data = store.blobs.get(name)
    if data is not None:
        sealed.put_blob(name, data)
        sealed.blob(name)


def recorded(store: Store, fact: LogSealed) -> bool:
    """Whether the log already holds this fact, since the last restore."""
    seq = store.log.version(SUBJECT)
    while seq > 0 and (event := store.log.event(seq)) is not None and isinstance(event.fact, LogSealed):
        if event.fact.last <= fact.last:
            return event.fact == fact
        seq = event.prev
    return False


def check(sealed: Segments, fact: LogSealed) -> str:
    """What is wrong with a segment that is named in the log, or ""."""
    path = sealed.folder / segments.name_of(fact.first, fact.last, fact.chain)
    try:
        if segments.digest(path) != fact.sha256:
            return f"{path}: the segment was altered: its SHA-256 differs"
    except VerificationFailed as failed:
        return failed.line()
    return ""


def note_reach(sealed: Segments, node: str, incarnation: str) -> None:
    """Mark in the segments' folder that this node reaches it. Raises Refused or Invalid where it does not."""
    mark = sealed.folder / NODES / node
    if mark.is_file() and mark.read_text() == incarnation:
        return
    (sealed.open() / NODES).mkdir(mode=0o700, exist_ok=True)
    with placed(mark, durable=False) as file:
        file.write(incarnation.encode())


def out_of_reach(sealed: Segments, nodes: Iterable[Node], now: int) -> list[str]:
    """The nodes that have not marked since their start that they reach the segments: they could not read them. One
    that was given up is not waited for.
    """
    missing = []
    for node in nodes:
        if node.forgotten:
            continue
        mark = sealed.folder / NODES / node.id
        shown = mark.read_text() if mark.is_file() else ""
        reaches = shown == node.incarnation if node.status == "up" else bool(shown)
        if not reaches and (node.status == "up" or now - node.changed_at < GONE_MS):
            missing.append(node.id)
    return missing
