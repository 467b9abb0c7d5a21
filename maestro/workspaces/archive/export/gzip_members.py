"""The gzip members of an export: each can be unpacked alone, and each holds the SHA-256 of the member before it.

A member holds at most 1 MiB. An extra field of its header, which other programs ignore, holds its length stored and
unpacked, and the SHA-256 of the previous member as stored; this hash chain covers the bits that gzip's own checksum
does not. The last member is the end of the tar, stored without compression, so that all of its bytes are known.

Members are therefore unpacked on all cores, none can grow beyond the size that it declares, and no byte can be changed,
cut off or added.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.parallel.thread_pool import threads

RAW_BYTES_MAX = 1 << 20
RATIO_MAX = 200  # zeros may exceed it: they are the content of holes
END_OF_TAR = bytes(1024)
_HEAD = struct.Struct("<4sIBBHccHII32s")
_MAGIC = b"\x1f\x8b\x08\x04"  # deflate, with an extra field
_EXTRA_BYTES = 44
_TRAILER = struct.Struct("<II")
_MEMBER_BYTES_MAX = RAW_BYTES_MAX + (RAW_BYTES_MAX >> 8) + 1024
_LEVEL = 3
_AHEAD = 4


class GzipWriter:
    """Writes a stream as gzip members, compressed on all cores. `finish` completes it.

    bytes: of the stream, written so far.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._parts: list[bytes] = []
        self._size = 0
        self._before = bytes(32)
        self._pool = ThreadPoolExecutor(threads())
        self._waiting: deque[tuple[bytes, Future[bytes]]] = deque()
        self.bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append to the stream."""
        view = memoryview(data)
        while view:
            part = bytes(view[: RAW_BYTES_MAX - self._size])
            view = view[len(part) :]
            self._parts.append(part)
            self._size += len(part)
            if self._size == RAW_BYTES_MAX:
                self.cut()

    def cut(self) -> None:
        """End the current member."""
        if self._size:
            raw = b"".join(self._parts)
            self._waiting.append((raw, self._pool.submit(_deflated, raw)))
            self._parts, self._size = [], 0
        while len(self._waiting) > _AHEAD * threads():
            self._put(*self._waiting.popleft())

    def finish(self) -> None:
        """Write all members that are pending, and the end of the tar."""
        self.cut()
        while self._waiting:
            self._put(*self._waiting.popleft())
        self._write(member(END_OF_TAR, stored(END_OF_TAR), self._before))
        self.close()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(cancel_futures=True)

    def _put(self, raw: bytes, deflated: Future[bytes]) -> None:
        whole = member(raw, deflated.result(), self._before)
        self._before = hashlib.sha256(whole).digest()
        self.bytes += len(raw)
        self._write(whole)


def member(raw: bytes, deflated: bytes, before: bytes) -> bytes:
    """One gzip member with its header and trailer.

    before: SHA-256 of the previous member, zeros for the first.
    """
    size = _HEAD.size + len(deflated) + _TRAILER.size
    head = _HEAD.pack(_MAGIC, 0, 0, 3, _EXTRA_BYTES, b"M", b"A", _EXTRA_BYTES - 4, size, len(raw), before)
    return head + deflated + _TRAILER.pack(zlib.crc32(raw), len(raw))


def stored(raw: bytes) -> bytes:
    """A deflate stream of one uncompressed block, whose every bit is known. raw: at most 65,535 bytes."""
    return b"\x01" + struct.pack("<HH", len(raw), len(raw) ^ 0xFFFF) + raw


def members(file: BinaryIO) -> Iterator[bytes]:
    """Yield the unpacked content of each member of an export from its start, checked; the last one is `END_OF_TAR`.

    Raises `VerificationFailed` at the first member that is damaged, or where the file ends early or goes on.
    """
    waiting: deque[Future[bytes]] = deque()
    pool = ThreadPoolExecutor(threads())
    failure: VerificationFailed | None = None
    try:
        try:
            for raw_size, whole in _split(file):
                waiting.append(pool.submit(_inflated, raw_size, whole))
                if len(waiting) > _AHEAD * threads():
                    yield waiting.popleft().result()
        except VerificationFailed as error:
            failure = error
        while len(waiting) > (failure is not None):  # the last member's digest was in the header that failed
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
    finally:
        pool.shutdown(cancel_futures=True)


def _split(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each member as stored, with its unpacked size, after checking its hash of the previous member.

    A failure is raised only after all members before it were yielded.
    """
    before = bytes(32)
    left = os.fstat(file.fileno()).st_size - file.tell()
    while True:
        head = file.read(_HEAD.size) if left >= _HEAD.size else b""
        if len(head) < _HEAD.size:
            raise _wrong("the archive ends early")
        magic, time, flags, system, extra, one, two, length, size, raw_size, proof = _HEAD.unpack(head)
        fixed = (magic, time, flags, system, extra, one + two, length)
        if fixed != (_MAGIC, 0, 0, 3, _EXTRA_BYTES, b"MA", _EXTRA_BYTES - 4):
            raise _wrong("this is no archive of Maestro, or its header is damaged")
        if not _HEAD.size + _TRAILER.size < size <= _MEMBER_BYTES_MAX or not 0 < raw_size <= RAW_BYTES_MAX:
            raise _wrong("a part has an impossible size")
        if size > left:
            raise _wrong("the archive ends early")
        if proof != before:
            raise _wrong("it, or what lies with it in one part, is damaged: the digest does not match")
        left -= size
        whole = head + file.read(size - _HEAD.size)
        before = hashlib.sha256(whole).digest()
        is_last = whole == member(END_OF_TAR, stored(END_OF_TAR), proof)
        if is_last and left:
            raise _wrong("the archive goes on after its end")
        yield raw_size, whole
        if is_last:
            return


def _deflated(raw: bytes) -> bytes:
    """Compress a member's content; where that exceeds `RATIO_MAX`, without back references, which limits the ratio."""
    deflated = _compressed(raw, zlib.Z_DEFAULT_STRATEGY)
    if len(raw) > RATIO_MAX * len(deflated) and raw.count(0) != len(raw):
        return _compressed(raw, zlib.Z_HUFFMAN_ONLY)
    return deflated


def _compressed(raw: bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9, strategy)
    return compressor.compress(raw) + compressor.flush()


def _inflated(raw_size: int, whole: bytes) -> bytes:
    """Unpack a member and check its size, its CRC and its ratio."""
    inflater = zlib.decompressobj(-15)
    try:
        raw = inflater.decompress(memoryview(whole)[_HEAD.size : -_TRAILER.size], raw_size + 1)
    except zlib.error as error:
        raise _wrong(f"the data is damaged: {error}") from None
    if not inflater.eof or inflater.unused_data or inflater.unconsumed_tail or len(raw) != raw_size:
        raise _wrong("the data is not as long as it says")
    if _TRAILER.unpack(whole[-_TRAILER.size :]) != (zlib.crc32(raw), raw_size):
        raise _wrong("the data does not match its checksum")
    if raw_size > RATIO_MAX * len(whole) and raw.count(0) != raw_size:
        raise _wrong(f"the data is packed more than {RATIO_MAX} times, as no archive of ours is")
    return raw


def _wrong(how: str) -> VerificationFailed:
    return VerificationFailed(how)
