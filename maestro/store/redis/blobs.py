"""Texts too large for the log, on a server: zstd frames with a checksum, named by the SHA-256 of their content."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import zstandard

from maestro.model.errors import VerificationFailed
from maestro.store.keys import Keys
from maestro.store.redis.connection import WrongType
from maestro.store.redis.pool import ConnectionPool, Script
from maestro.store.sealed import Sealed

BLOB = Script("blob.lua")
CHUNK = 1000


def compress(data: bytes) -> bytes:
    """Compress data to one frame with a checksum: without it, most bit flips would go unnoticed until the SHA-256."""
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


def frame_size(frame: bytes) -> int:
    """The size in bytes of a frame's content by its header; -1 where the header is missing or does not say."""
    try:
        return int(zstandard.frame_content_size(frame))
    except zstandard.ZstdError:
        return -1


def decompress(name: str, frame: bytes) -> bytes:
    """The content of a frame, checked against its name. Raises `VerificationFailed`."""
    mend = "restore it from a snapshot that holds it"
    try:
        data = zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise VerificationFailed(f"the blob is damaged: {error}", name, mend) from error
    if sha256(data).hexdigest() != name:
        raise VerificationFailed("the blob is not what its name says", name, mend)
    return data


class RedisBlobs:
    """`BlobStore` on a server. sealed: where blobs that only sealed events name are read from."""

    sealed: Sealed | None = None

    def __init__(self, keys: Keys, pool: ConnectionPool) -> None:
        self._keys = keys
        self._pool = pool

    def put(self, data: bytes) -> str:
        """Store a blob (again); returns its SHA-256."""
        name = sha256(data).hexdigest()
        self._pool.script(BLOB, [self._keys.blobs, self._keys.blob(name)], [name, compress(data)])
        return name

    def get(self, sha256: str) -> bytes | None:
        """The content of a blob, None when there is none. Raises `VerificationFailed` for a damaged one."""
        try:
            frame: bytes | None = self._pool.call("GET", self._keys.blob(sha256))
        except WrongType:
            frame = None
        if frame is None:
            return None if self.sealed is None else self.sealed.blob(sha256)
        return decompress(sha256, frame)

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs that are not in `keep` and were last put longer ago; returns how many."""
        times, call = self._keys.blobs, self._pool.call
        names: Any = self._pool.with_type([times], b"zset", lambda: call("ZRANGE", times, 0, -1))
        dead = [name for name in (raw.decode() for raw in names) if name not in keep]
        deleted = 0
        for start in range(0, len(dead), CHUNK):
            some = dead[start : start + CHUNK]
            keys = [self._keys.blobs, *map(self._keys.blob, some)]
            deleted += self._pool.script(BLOB, keys, ["collect", older_than_ms, *some])
        return deleted
