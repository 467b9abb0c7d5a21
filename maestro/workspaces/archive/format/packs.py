"""Packs: immutable files of compressed blocks, each with a directory of these blocks at its end.

    MAESTROP | block | block | … | directory | length of the directory, its SHA-256 | PORTSEAM

A block is one zstd frame, with its checksum, of one or more chunks. The directory gives the place of each block, the
CRC of its stored bytes, and the SHA-256 and length of each chunk; so every byte of a pack is covered by a checksum. A
pack is written once and never changed: a collection writes a new one and removes the old one.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import zstandard

from maestro import files
from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format.layout import Fresh, Layout

PACK_BYTES = 64 << 20
FINISHING_MAX = 4
"""How many full packs may wait for their fsync: more would only queue up."""
BLOCK_BYTES_MAX = 16 << 20
_PART_BYTES = 4 << 10
_HEAD = b"MAESTROP"
_TAIL = b"PORTSEAM"
_FOOTER = struct.Struct("<Q32s8s")
_DIRECTORY_BYTES_MAX = 256 << 20
_DAMAGED = (
    "the next snapshot keeps anew what of it is still in a workspace, --skip-failed restores the rest,"
    " and `maestro state verify --all` proves a copy of the pack that was put back"
)


class Block(msgspec.Struct, array_like=True, gc=False):
    """One frame in a pack.

    offset, stored: where the frame begins, and its bytes as stored.
    crc: CRC-32 of the stored bytes.
    size: bytes of its content.
    digests: SHA-256 of each of its chunks, concatenated.
    lengths: bytes of each of its chunks.
    """

    offset: int
    stored: int
    crc: int
    size: int
    digests: bytes
    lengths: list[int]
    pack: str = ""

    def chunks(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield (digest, offset in the block's content, length) of each chunk."""
        offset = 0
        for number, length in enumerate(self.lengths):
            yield self.digests[32 * number : 32 * number + 32], offset, length
            offset += length


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Block])


class PackWriter:
    """Writes blocks from any thread into new packs. A pack becomes visible when it is full, or with `finish`.

    A full pack is fsynced in a thread of its own, so that whoever fills the next one does not wait. Raises `Refused`
    when the disk refuses; for a full pack, in a later call.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._open: _OpenPack | None = None
        self._finisher = ThreadPoolExecutor(1, "maestro-packs")
        self._finishing: deque[Future[None]] = deque()
        self.blocks: list[Block] = []
        self.bytes = 0

    def add(self, stored: bytes, digests: Sequence[bytes], lengths: Sequence[int]) -> None:
        """Append a block. stored: its frame, as `compressed` made it; digests, lengths: of its chunks."""
        block = Block(0, len(stored), zlib.crc32(stored), sum(lengths), b"".join(digests), list(lengths))
        with self._lock:
            if self._open is None:
                self._open = _OpenPack(self._layout)
            pack = self._open
            pack.append(stored, block)
            self.bytes += len(stored)
            if pack.end < PACK_BYTES:
                return
            self._open = None
            self._finishing.append(self._finisher.submit(self._finish, pack))
            late = self._finishing.popleft() if len(self._finishing) > FINISHING_MAX else None
        if late is not None:
            late.result()

    def finish(self) -> None:
        """Bring everything that was added to the disk, the last pack too."""
        with self._lock:
            pack, self._open = self._open, None
        if pack is not None:
            self._finishing.append(self._finisher.submit(self._finish, pack))
        while self._finishing:
            self._finishing.popleft().result()

    def drop(self) -> None:
        """Discard the unfinished pack. The writer cannot be used afterwards."""
        self._finisher.shutdown(cancel_futures=False)
        with self._lock:
            if self._open is not None:
                self._open.fresh.drop()
                self._open = None

    def _finish(self, pack: _OpenPack) -> None:
        try:
            blocks = pack.finish(self._layout)
        finally:
            pack.fresh.drop()
        with self._lock:
            self.blocks.extend(blocks)
            self.bytes += pack.extra


class _OpenPack:
    """A pack that is being written under a temporary name. end: its size so far; extra: bytes besides its blocks."""

    def __init__(self, layout: Layout) -> None:
        self.fresh = Fresh(layout)
        self.fresh.write(_HEAD)
        self.end = len(_HEAD)
        self.extra = len(_HEAD)
        self._blocks: list[Block] = []

    def append(self, stored: bytes, block: Block) -> None:
        block.offset = self.end
        self.fresh.write(stored)
        self.end += len(stored)
        self._blocks.append(block)

    def finish(self, layout: Layout) -> list[Block]:
        directory = compressed(_encoder.encode(self._blocks))
        digest = hashlib.sha256(directory).digest()
        self.fresh.write(directory + _FOOTER.pack(len(directory), digest, _TAIL))
        self.extra += len(directory) + _FOOTER.size
        name = digest.hex()
        self.fresh.place(layout.packs / f"{name}.pack")
        for block in self._blocks:
            block.pack = name
        return self._blocks


def read_directory(path: Path) -> list[Block]:
    """The blocks of a pack, after a check of all bytes of its directory.

    Raises `VerificationFailed` naming the pack.
    """
    try:
        with files.opened(path) as pack:
            size = os.fstat(pack.fileno()).st_size
            head = pack.read(len(_HEAD))
            pack.seek(max(0, size - _FOOTER.size))
            footer = pack.read()
            if head != _HEAD or len(footer) != _FOOTER.size:
                raise damaged(path, "does not begin or end as a pack")
            length, digest, tail = _FOOTER.unpack(footer)
            start = size - _FOOTER.size - length
            if tail != _TAIL or start < len(_HEAD) or length > _DIRECTORY_BYTES_MAX:
                raise damaged(path, "does not end as a pack")
            pack.seek(start)
            directory = pack.read(length)
    except OSError as error:
        raise damaged(path, f"cannot be read: {error.strerror}") from None
    if hashlib.sha256(directory).digest() != digest or digest.hex() != path.stem:
        raise damaged(path, "has a directory that does not match its digest")
    try:
        blocks = _decoder.decode(decompressed(directory, _DIRECTORY_BYTES_MAX))
    except (msgspec.MsgspecError, zstandard.ZstdError) as error:
        raise damaged(path, f"has a directory that cannot be read: {error}") from None
    _check_tiling(path, blocks, start)
    return blocks


def _check_tiling(path: Path, blocks: list[Block], end: int) -> None:
    """Check that the blocks fill a pack from its head to its directory, which begins at `end`, without a gap."""
    at = len(_HEAD)
    for block in blocks:
        fits = len(block.digests) == 32 * len(block.lengths) and sum(block.lengths) == block.size <= BLOCK_BYTES_MAX
        if block.offset != at or block.stored <= 0 or not fits:
            raise damaged(path, "has a directory that contradicts itself")
        block.pack = path.stem
        at += block.stored
    if at != end:
        raise damaged(path, "has bytes that its directory does not name")


def read_block(handle: int, block: Block, path: Path) -> bytes:
    """The content of a block, checked against its CRC and its zstd checksum; the caller checks the chunks' digests.

    handle: the open pack. path: its path, for errors. Raises `VerificationFailed` naming the pack.
    """
    try:
        stored = os.pread(handle, block.stored, block.offset)
    except OSError as error:
        raise damaged(path, f"cannot be read at byte {block.offset}: {error.strerror}") from None
    if len(stored) != block.stored or zlib.crc32(stored) != block.crc:
        raise damaged(path, f"is damaged at byte {block.offset}")
    try:
        content = decompressed(stored, block.size)
    except zstandard.ZstdError as error:
        raise damaged(path, f"is damaged at byte {block.offset}: {error}") from None
    if len(content) != block.size:
        raise damaged(path, f"is damaged at byte {block.offset}: its size is wrong")
    return content


def read_proved_block(handle: int, block: Block, path: Path) -> bytes:
    """The content of a block, read from the disk past the page cache, with the digest of each chunk checked.

    Raises `VerificationFailed` naming the pack.
    """
    _forget(handle, block)
    content = read_block(handle, block, path)
    for digest, offset, length in block.chunks():
        if hashlib.sha256(memoryview(content)[offset : offset + length]).digest() != digest:
            raise damaged(path, f"holds a chunk at byte {block.offset} that is not what it was")
    _forget(handle, block)
    return content


def _forget(handle: int, block: Block) -> None:
    """Drop a block's bytes from the page cache."""
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(handle, block.offset, block.stored, os.POSIX_FADV_DONTNEED)


def salvage(handle: int, block: Block) -> list[tuple[bytes, bytes]]:
    """The chunks of a damaged block that still match their digest, as (digest, content)."""
    content = bytearray()
    try:
        stored = os.pread(handle, block.stored, block.offset)
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored)) as reader:
            while len(content) < block.size and (part := reader.read(min(_PART_BYTES, block.size - len(content)))):
                content += part
    except (OSError, zstandard.ZstdError):
        pass  # chunks before the damage may be whole
    found = []
    for digest, offset, length in block.chunks():
        chunk = bytes(content[offset : offset + length])
        if len(chunk) == length and hashlib.sha256(chunk).digest() == digest:
            found.append((digest, chunk))
    return found


_of_thread = threading.local()


def compressed(data: bytes | memoryview) -> bytes:
    """One zstd frame at level 1, with its checksum (which the library leaves out by default)."""
    compressor = getattr(_of_thread, "compressor", None)
    if compressor is None:
        compressor = _of_thread.compressor = zstandard.ZstdCompressor(level=1, write_checksum=True)
    result: bytes = compressor.compress(data)
    return result


def decompressed(frame: bytes, size_max: int) -> bytes:
    """The content of one frame.

    Raises `ZstdError` for a damaged frame, or one that declares more than `size_max` bytes.
    """
    if not 0 <= zstandard.frame_content_size(frame) <= size_max:
        raise zstandard.ZstdError("its size is not what it must be")
    decompressor = getattr(_of_thread, "decompressor", None)
    if decompressor is None:
        decompressor = _of_thread.decompressor = zstandard.ZstdDecompressor()
    result: bytes = decompressor.decompress(frame, max_output_size=size_max, allow_extra_data=False)
    return result


def damaged(path: Path, how: str) -> VerificationFailed:
    """The error for a damaged pack, with its name and the remedies."""
    return VerificationFailed(how, where=f"pack {path.name}", mend=_DAMAGED)
