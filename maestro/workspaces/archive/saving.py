"""Taking a snapshot: walk, read what changed, keep each chunk once, then say so.

The order makes it safe against a crash at any instant: packs are on the disk before the manifest that names them is
renamed into its place. Before that there is no snapshot, and what was written is swept or collected.
"""

from __future__ import annotations

import gc
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from maestro.model.errors import Conflict, Invalid, Refused
from maestro.workspaces.archive import index as indexes
from maestro.workspaces.archive import listing, manifests, statcache
from maestro.workspaces.archive.crew import Crew
from maestro.workspaces.archive.entries import FILE, FORMAT, Manifest, Tree, are_tree_names, located
from maestro.workspaces.archive.index import Index
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.packs import PackWriter, compressed
from maestro.workspaces.archive.scan import Job, Scan

_GROUP_BYTES = 2 << 20
_ALONE_BYTES = 128 << 10
_SWITCH_S = 0.0005


class Saved(msgspec.Struct, frozen=True):
    """A snapshot taken. manifest: SHA-256 of its manifest, which is its proof; bytes: of all files; added_bytes: what
    the archive grew by; files_read: those that had changed since the last time.

    torn: files that changed while they were read; left_out: sockets, pipes, devices, other file systems; as tree/path.
    """

    snapshot: str
    manifest: str
    entries: int
    bytes: int
    added_bytes: int
    files_read: int
    torn: list[str]
    left_out: list[str]


class Torn(Refused):
    """Files changed each time they were read, and a torn snapshot was not asked for. files: as tree/path."""

    code = "torn"

    def __init__(self, files: list[str]) -> None:
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        what = f"changed while they were read: {', '.join(files[:3])}{more}"
        super().__init__(what, "snapshot", "stop what writes them, or allow torn files")
        self.files = files


Progress = Callable[[int, int, int], None]
"""Entries found, bytes read, bytes to read: the last one grows until all folders have been looked at."""


class _Chunks:
    """What is new among the chunks of one snapshot, and where it goes. For all threads."""

    def __init__(self, index: Index, writer: PackWriter) -> None:
        self.writer = writer
        self.crew: Crew[_Hand] | None = None
        self.read_bytes = 0
        self._kept = index.blocks
        self.is_kept: Callable[[bytes], bool] = index.blocks.__contains__  # before this snapshot
        self._new: set[bytes] = set()
        self._lock = threading.Lock()

    def is_new(self, digest: bytes) -> bool:
        """True once for each chunk that is not kept yet."""
        if digest in self._kept:
            return False
        with self._lock:
            if digest in self._new:
                return False
            self._new.add(digest)
            return True


class _Hand:
    """One thread's share: it groups small chunks into blocks of its own."""

    def __init__(self, chunks: _Chunks) -> None:
        self._chunks = chunks
        self._digests: list[bytes] = []
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def keep(self, digest: bytes, data: bytes | memoryview) -> None:
        """Keep a chunk if it is new."""
        if self._chunks.crew is not None:
            self._chunks.crew.go_on()
        self._chunks.read_bytes += len(data)
        if not self._chunks.is_new(digest):
            return
        if len(data) >= _ALONE_BYTES:
            crew = self._chunks.crew
            if crew is None or not crew.offer(lambda hand: hand.pack([digest], [data])):
                self.pack([digest], [data])
            return
        self._digests.append(digest)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _GROUP_BYTES:
            self.flush()

    def put(self, content: bytes) -> bytes:
        """Keep a chunk of a listing; its digest."""
        digest = hashlib.sha256(content).digest()
        self.keep(digest, content)
        return digest

    def flush(self) -> None:
        """Write the group that is not full yet."""
        if self._digests:
            self.pack(self._digests, self._parts)
            self._digests, self._parts, self._size = [], [], 0

    def pack(self, digests: list[bytes], parts: Sequence[bytes | memoryview]) -> None:
        """Write a block of these chunks."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._chunks.writer.add(compressed(data), digests, [len(part) for part in parts])


def save(
    layout: Layout,
    trees: Iterable[tuple[str, str]],
    snapshot: str,
    meta: dict[str, object],
    allow_torn: bool = False,
    progress: Progress | None = None,
) -> Saved:
    """Take a snapshot of these (name, folder). Hold `layout.shared()`. See `library.Archive.save`."""
    if manifests.path_of(layout, snapshot).exists():
        raise Conflict(f"there is a snapshot {snapshot!r} already", where=str(layout.root))
    index = indexes.load(layout)
    writer = PackWriter(layout)
    was_enabled, switch_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()  # a hundred thousand live entries would be looked through again and again
    sys.setswitchinterval(min(switch_s, _SWITCH_S))  # who has hashed a chunk does not wait long for the walk
    try:
        return _save(layout, trees, (snapshot, meta, allow_torn, progress), index, writer)
    finally:
        writer.drop()
        sys.setswitchinterval(switch_s)
        if was_enabled:
            gc.enable()


def _save(
    layout: Layout,
    trees: Iterable[tuple[str, str]],
    wanted: tuple[str, dict[str, object], bool, Progress | None],
    index: Index,
    writer: PackWriter,
) -> Saved:
    snapshot, meta, allow_torn, progress = wanted
    taken_at = time.time_ns()
    chunks = _Chunks(index, writer)
    scans = _scan(layout, trees, chunks, progress)
    torn = [located(name, path) for name, scan in scans for path in scan.torn]
    if torn and not allow_torn:
        raise Torn(torn)
    hand = _Hand(chunks)
    listed = []
    for name, scan in scans:
        root, depth = listing.write(scan.entries, hand.put)
        size = sum(entry.size for entry in scan.entries if entry.kind == FILE)
        source = os.fsencode(scan.source)
        listed.append(Tree(name, source, root, depth, len(scan.entries), size, scan.left_out, scan.torn))
    hand.flush()
    writer.finish()
    digest, manifest_bytes = manifests.write(layout, Manifest(FORMAT, snapshot, taken_at, meta, listed))
    for _, scan in scans:
        statcache.save(layout, scan.source, scan.known)
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
    )


def _scan(
    layout: Layout, trees: Iterable[tuple[str, str]], chunks: _Chunks, progress: Progress | None
) -> list[tuple[str, Scan]]:
    """Read the trees one after the other: all of one is read, and looked at again, before the next is asked for."""
    scans: list[tuple[str, Scan]] = []
    with Crew(lambda: _Hand(chunks), _Hand.flush) as crew:
        chunks.crew = crew

        def tell() -> None:
            if progress is not None:
                found = sum(len(scan.entries) for _, scan in scans)
                progress(found, chunks.read_bytes, sum(scan.wanted_bytes for _, scan in scans))

        def submit(job: Job) -> None:
            crew.submit(lambda hand: job(hand.keep))
            tell()

        for name, source in trees:
            scan = Scan(source, statcache.load(layout, source), chunks.is_kept, submit)
            scans.append((name, scan))
            if not are_tree_names([name for name, _ in scans]):
                raise Invalid(f"these names of trees cannot be: {[name for name, _ in scans]}")
            scan.walk()
            crew.wait(tell)
            scan.finish()
    chunks.crew = None
    return scans
