"""Writes chunks into packs: each chunk once, small chunks grouped into blocks, compressed on all threads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.packs import PackWriter, compressed
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool

_GROUP_BYTES = 2 << 20
_ALONE_BYTES = 128 << 10


class Deduplicator:
    """The chunks that are new in one snapshot, and the pack writer that they go to. Thread-safe."""

    def __init__(self, index: Index, writer: PackWriter) -> None:
        self.writer = writer
        self.thread_pool: ThreadPool[ChunkWriter] | None = None
        self.read_bytes = 0
        self._kept = index.blocks
        self.is_kept: Callable[[bytes], bool] = index.blocks.__contains__  # whether an earlier snapshot has the chunk
        self._new: set[bytes] = set()
        self._lock = threading.Lock()

    def is_new(self, digest: bytes) -> bool:
        """True exactly once for each chunk that is not in the archive yet."""
        if digest in self._kept:
            return False
        with self._lock:
            if digest in self._new:
                return False
            self._new.add(digest)
            return True


class ChunkWriter:
    """The chunk writer of one thread: it groups small chunks into blocks of its own."""

    def __init__(self, chunks: Deduplicator) -> None:
        self._chunks = chunks
        self._digests: list[bytes] = []
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def keep(self, digest: bytes, data: bytes | memoryview) -> None:
        """Write a chunk if it is new."""
        if self._chunks.thread_pool is not None:
            self._chunks.thread_pool.raise_failure()
        self._chunks.read_bytes += len(data)
        if not self._chunks.is_new(digest):
            return
        if len(data) >= _ALONE_BYTES:
            self._write([digest], [data])
            return
        self._digests.append(digest)
        self._parts.append(data)
        self._size += len(data)
        if self._size >= _GROUP_BYTES:
            self.flush()

    def put(self, content: bytes) -> bytes:
        """Write a chunk of a listing if it is new; its digest."""
        digest = hashlib.sha256(content).digest()
        self.keep(digest, content)
        return digest

    def flush(self) -> None:
        """Write the group of small chunks that is not full yet."""
        if self._digests:
            digests, parts = self._digests, self._parts
            self._digests, self._parts, self._size = [], [], 0
            self._write(digests, parts)

    def _write(self, digests: list[bytes], parts: Sequence[bytes | memoryview]) -> None:
        """Have another thread compress and write a block of these chunks; where all are busy, do it here."""
        pool = self._chunks.thread_pool
        if pool is None or not pool.offer(lambda chunk_writer: chunk_writer.pack(digests, parts)):
            self.pack(digests, parts)

    def pack(self, digests: list[bytes], parts: Sequence[bytes | memoryview]) -> None:
        """Compress and write a block of these chunks."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._chunks.writer.add(compressed(data), digests, [len(part) for part in parts])
