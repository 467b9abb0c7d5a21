"""Texts too large for the log, on a server: zstd frames with a checksum, named by the SHA-256 of what is in them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import zstandard

from maestro.model.errors import VerificationFailed
from maestro.store.keys import Keys
from maestro.store.redis.connection import WrongType
from maestro.store.redis.pool import Links, Script
from maestro.store.sealed import Sealed

BLOB = Script("blob.lua")
CHUNK = 1000


def compress(data: bytes) -> bytes:
    """One frame. The checksum is asked for: without it, most bit flips would go unnoticed until the digest."""
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


def frame_size(frame: bytes) -> int:
    """How many bytes a frame says that it opens to; -1 where it does not say, or is none."""
    try:
        return int(zstandard.frame_content_size(frame))
    except zstandard.ZstdError:
        return -1


def opened(name: str, frame: bytes) -> bytes:
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

    def __init__(self, keys: Keys, links: Links) -> None:
        self._keys = keys
        self._links = links

    def put(self, data: bytes) -> str:
        """Store (again); returns the name."""
        name = sha256(data).hexdigest()
        self._links.script(BLOB, [self._keys.blobs, self._keys.blob(name)], [name, compress(data)])
        return name

    def get(self, sha256: str) -> bytes | None:
        """The content, None when there is none. Raises `VerificationFailed` for a damaged one."""
        try:
            frame: bytes | None = self._links.call("GET", self._keys.blob(sha256))
        except WrongType:
            frame = None
        if frame is None:
            return None if self.sealed is None else self.sealed.blob(sha256)
        return opened(sha256, frame)

    def collect(self, keep: frozenset[str], older_than_ms: int) -> int:
        """Delete blobs not in `keep` that were last put longer ago."""
        times, call = self._keys.blobs, self._links.call
        names: Any = self._links.in_place([times], b"zset", lambda: call("ZRANGE", times, 0, -1))
        dead = [name for name in (raw.decode() for raw in names) if name not in keep]
        deleted = 0
        for start in range(0, len(dead), CHUNK):
            some = dead[start : start + CHUNK]
            keys = [self._keys.blobs, *map(self._keys.blob, some)]
            deleted += self._links.script(BLOB, keys, ["collect", older_than_ms, *some])
        return deleted
