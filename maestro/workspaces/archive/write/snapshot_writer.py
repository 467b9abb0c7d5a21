"""Takes a snapshot: scan the trees, read changed files, store each chunk once, write the manifest last.

This order is crash-safe at any instant: the packs are on the disk before the manifest that names them is renamed into
place. Until then the snapshot does not exist, and what was written is swept or collected.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from maestro.model.errors import Conflict, Invalid, Refused
from maestro.workspaces.archive.format import index as indexes, listing, manifests, quarantine, stat_cache
from maestro.workspaces.archive.format.entries import (
    BYTES_MAX,
    ENTRIES_MAX,
    FILE,
    FORMAT,
    Manifest,
    Tree,
    TreeNames,
    located,
)
from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import PackWriter, compressed
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool
from maestro.workspaces.archive.write.chunk_writer import ChunkWriter, Deduplicator
from maestro.workspaces.archive.write.readers import Readers
from maestro.workspaces.archive.write.scan import ReadBackends, Scan
from maestro.workspaces.mappings import Mappings

_SPARES, _SPARE_BYTES = 1000, 1 << 20
_SWITCH_S = 0.0005
_TELL_S = 0.02


class Saved(msgspec.Struct, frozen=True):
    """A snapshot that was taken. Lists are of `tree/path`.

    manifest: SHA-256 of its manifest, by which it can be verified later.
    bytes: of all files.
    added_bytes: what the archive grew by.
    files_read: files that had changed since the last snapshot.
    torn: files that changed while they were read.
    left_out: sockets, pipes, devices.
    not_held: mount points, which are never entered, and what could not be read, where that was allowed.
    """

    snapshot: str
    manifest: str
    entries: int
    bytes: int
    added_bytes: int
    files_read: int
    torn: list[str]
    left_out: list[str]
    not_held: list[str]


class Source(NamedTuple):
    """A folder to read. name: of its tree; place: the path where it belongs, which differs where it was moved aside."""

    name: str
    path: str
    place: str


def resolved(name: str, path: str, place: str = "") -> Source:
    """A source with real paths."""
    return Source(name, os.path.realpath(path), os.path.realpath(place or path))


class Allowed(msgspec.Struct, frozen=True):
    """What a snapshot may lack: torn or unread files, as in `Saved`."""

    torn: bool = False
    unread: bool = False


class Unread(Refused):
    """Raised where something in a workspace could not be read or stored. files: why, by tree/path."""

    def __init__(self, files: dict[str, str]) -> None:
        more = f", and {len(files) - 3} more" if len(files) > 3 else ""
        named = ", ".join(f"{name} ({why})" for name, why in list(files.items())[:3])
        mend = "mend or remove it, or leave its workspace out with --workspace"
        super().__init__(f"cannot be read and kept: {named}{more}", "snapshot", mend)
        self.files = files


class Torn(Refused):
    """Raised where files changed each time they were read, and torn files are not allowed. files: as tree/path."""

    code = "torn"

    def __init__(self, files: list[str]) -> None:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        what = f"changed while they were read: {', '.join(files[:3])}{more}"
        super().__init__(what, "snapshot", "stop what writes them, or allow torn files")
        self.files = files


Progress = Callable[[int, int, int], None]
"""Called with entries found, bytes read, bytes to read; the last number grows until all folders are scanned."""


def save(
    layout: Layout,
    trees: Iterable[Source],
    snapshot: str,
    meta: dict[str, object],
    allowed: Allowed | None = None,
    progress: Progress | None = None,
) -> Saved:
    """Take a snapshot of these folders. The caller holds `layout.shared()`. See `library.Archive.save`."""
    if manifests.path_of(layout, snapshot).exists():
        raise Conflict(f"there is a snapshot {snapshot!r} already", where=str(layout.root))
    index = indexes.load(layout)
    writer = PackWriter(layout)
    was_enabled, switch_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()  # it would traverse a hundred thousand live entries again and again
    sys.setswitchinterval(min(switch_s, _SWITCH_S))  # hashing threads must not wait long for the walk
    try:
        return _save(layout, trees, (snapshot, meta, allowed or Allowed(), progress), index, writer)
    finally:
        writer.drop()
        sys.setswitchinterval(switch_s)
        if was_enabled:
            gc.enable()


def _save(
    layout: Layout,
    trees: Iterable[Source],
    wanted: tuple[str, dict[str, object], Allowed, Progress | None],
    index: Index,
    writer: PackWriter,
) -> Saved:
    snapshot, meta, allowed, progress = wanted
    taken_at = time.time_ns()
    deduplicator = Deduplicator(index, writer)
    chunk_writer = ChunkWriter(deduplicator)
    with Readers(layout.root, chunk_writer.keep) as readers:
        scans = _scan(layout, trees, deduplicator, readers, progress)
        torn = [located(name, path) for name, scan in scans for path in scan.torn]
        not_held = [located(name, path) for name, scan in scans for path in scan.not_held]
        unread = {located(name, path): why for name, scan in scans for path, why in sorted(scan.unread.items())}
        if unread and not allowed.unread:
            raise Unread(unread)
        not_held += unread
        if torn and not allowed.torn:
            raise Torn(torn)
        _check_amount(scans)
        readers.finish()
        chunk_writer.flush()  # listings go into blocks of their own: damage to files then spares their names
        lists: dict[bytes, bytes] = {}
        listed = [_listed(name, scan, chunk_writer, lists) for name, scan in scans]
        chunk_writer.flush()
        _put_spares(writer, [content for digest, content in lists.items() if digest not in index.blocks])
        writer.finish()
        for written in readers.written():
            writer.blocks += written.blocks
            writer.bytes += written.bytes
    meta |= {"not_held": not_held} if not_held else {}
    _check_sound(layout, index, [scan for _, scan in scans], lists)
    digest, manifest_bytes = manifests.write(layout, Manifest(FORMAT, snapshot, taken_at, meta, listed))
    for _, scan in scans:
        stat_cache.save(layout, scan.place, scan.known)
    if writer.blocks:
        indexes.save(layout, index, writer.blocks)
    return Saved(
        snapshot,
        digest,
        entries=sum(tree.entries for tree in listed),
        bytes=sum(tree.size for tree in listed),
        added_bytes=writer.bytes + manifest_bytes,
        files_read=sum(scan.files_read for _, scan in scans),
        torn=torn,
        left_out=[located(name, path) for name, scan in scans for path in scan.left_out],
        not_held=not_held,
    )


def _check_amount(scans: Sequence[tuple[str, Scan]]) -> None:
    """Check that the trees together are within the limits of any reader. Raises `Refused`."""
    entries = sum(len(scan.entries) for _, scan in scans)
    size = sum(entry.size for _, scan in scans for entry in scan.entries if entry.kind == FILE)
    for found, most, what in ((entries, ENTRIES_MAX, "entries"), (size, BYTES_MAX, "bytes")):
        if found > most:
            mend = "take it of fewer workspaces at a time, with --workspace"
            raise Refused(f"it would hold {found:,} {what}, more than {most:,}", "snapshot", mend)


def _listed(name: str, scan: Scan, chunk_writer: ChunkWriter, lists: dict[bytes, bytes]) -> Tree:
    def put(content: bytes) -> bytes:
        digest = chunk_writer.put(content)
        lists[digest] = content
        return digest

    root, depth = listing.write(scan.entries, put)
    size = sum(entry.size for entry in scan.entries if entry.kind == FILE)
    return Tree(name, os.fsencode(scan.place), root, depth, len(scan.entries), size, scan.left_out, scan.torn)


def _put_spares(writer: PackWriter, lists: list[bytes]) -> None:
    """Store these chunks of listings a second time, in blocks of their own: without listings, files have no names."""
    some: list[bytes] = []
    for number, content in enumerate(lists, 1):
        some.append(content)
        if (
            number == len(lists) or len(some) == _SPARES or sum(map(len, some)) >= _SPARE_BYTES
        ):  # long paths make large chunks
            digests = [hashlib.sha256(each).digest() for each in some]
            writer.add(compressed(b"".join(some)), digests, [len(each) for each in some])
            some = []


def _check_sound(layout: Layout, index: Index, scans: list[Scan], lists: Iterable[bytes]) -> None:
    """Check that no chunk shared with earlier snapshots was quarantined since this one began. Raises `Refused`."""
    if quarantine.listed(layout) <= set(index.quarantined):
        return
    kept = indexes.load(layout).blocks
    needed = {piece.digest for scan in scans for entry in scan.entries for piece in entry.parts() if piece.digest}
    if not needed.union(lists) <= kept.keys():
        what = "what it shares with earlier snapshots was found damaged while it was taken"
        raise Refused(what, "snapshot store", "take it again: that is read anew then")


def _scan(
    layout: Layout, trees: Iterable[Source], deduplicator: Deduplicator, readers: Readers, progress: Progress | None
) -> list[tuple[str, Scan]]:
    """Scan the trees one after the other: each is read, and looked at again, before the next one is asked for."""
    scans: list[tuple[str, Scan]] = []
    names = TreeNames()
    told_at = 0.0

    def tell(last: bool = False) -> None:
        nonlocal told_at
        pool.raise_failure()
        if progress is None or ((now := time.monotonic()) - told_at < _TELL_S and not last):
            return
        told_at = now
        done = deduplicator.read_bytes + readers.read_bytes
        progress(sum(scan.found for _, scan in scans), done, sum(scan.wanted_bytes for _, scan in scans))

    with ThreadPool(lambda: ChunkWriter(deduplicator), ChunkWriter.flush, tell) as pool:
        deduplicator.thread_pool = pool
        backends = ReadBackends(
            lambda job: pool.submit(lambda chunk_writer: job(chunk_writer.keep)), readers, Mappings()
        )
        for name, source, place in trees:
            scan = Scan(source, stat_cache.load(layout, place), deduplicator.is_kept, backends)
            scan.place = place
            scans.append((name, scan))
            if not names.add(name):
                raise Invalid(f"these names of trees cannot be: {[name for name, _ in scans]}")
            scan.walk(tell)
            scan.gather(readers.wait(tell))
            pool.wait()
            scan.finish()
        tell(last=True)  # so that whoever watches sees the whole amount, however quick it was
    deduplicator.thread_pool = None
    return scans
