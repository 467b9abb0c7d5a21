"""Keeping chunks: each once, small ones together in blocks, compressed on all threads."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence

from maestro.workspaces.archive.format.index import Index
from maestro.workspaces.archive.format.packs import PackWriter, compressed
from maestro.workspaces.archive.parallel.thread_pool import Crew

_GROUP_BYTES = 2 << 20
_ALONE_BYTES = 128 << 10


class Chunks:
    """What is new among the chunks of one snapshot, and where it goes. For all threads."""

    def __init__(self, index: Index, writer: PackWriter) -> None:
        self.writer = writer
        self.crew: Crew[Hand] | None = None
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


class Hand:
    """One thread's share: it groups small chunks into blocks of its own."""

    def __init__(self, chunks: Chunks) -> None:
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
            self._hand_on([digest], [data])
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
            digests, parts = self._digests, self._parts
            self._digests, self._parts, self._size = [], [], 0
            self._hand_on(digests, parts)

    def _hand_on(self, digests: list[bytes], parts: Sequence[bytes | memoryview]) -> None:
        crew = self._chunks.crew
        if crew is None or not crew.offer(lambda hand: hand.pack(digests, parts)):
            self.pack(digests, parts)

    def pack(self, digests: list[bytes], parts: Sequence[bytes | memoryview]) -> None:
        """Write a block of these chunks."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._chunks.writer.add(compressed(data), digests, [len(part) for part in parts])
