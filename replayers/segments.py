"""A segment: a file with a range of the log as stored, and with the chain that proves it.

    magic         the line "maestro segment 1"
    header        length (4 bytes, little-endian), then a zstd frame of JSON: `Header`
    entries       one zstd frame of blocks: length (4 bytes), then msgpack of the entries, column by column

Both frames have checksums. The same range gives the same bytes, wherever and whenever it is written, so that storage by
content holds each segment once.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import zstandard

from maestro import files
from maestro.model.errors import Refused, VerificationFailed
from maestro.store.codec import chain_of
from maestro.store.contract import Entry
from replayers.blobs import NAME, named_by
from replayers.whole_file import placed

MAGIC = b"maestro segment 1\n"
SUFFIX = ".seg"
LEVEL = 6
BLOCK_ENTRIES = 200
BLOCK_BYTES = 1 << 18
BLOCK_BYTES_MAX = 1 << 25
HEADER_BYTES_MAX = 1 << 22
FILE_BYTES_MAX = 1 << 32
RATIO_MAX = 2000
"""The highest accepted compression ratio: reading a file with a higher one is stopped."""
MEND = "put it back from a snapshot or a copy"

_Texts = Annotated[list[bytes], msgspec.Meta(max_length=BLOCK_ENTRIES)]
_Numbers = Annotated[list[int], msgspec.Meta(max_length=BLOCK_ENTRIES)]
_Columns = tuple[_Texts, _Texts, _Numbers, _Texts, _Texts, _Numbers, _Texts, _Texts, bytes]
_columns = msgspec.msgpack.Decoder(_Columns)


class Segment(msgspec.Struct, frozen=True):
    """A segment file. chain: of the event at `last`; sha256: of the file."""

    first: int
    last: int
    chain: str
    sha256: str
    path: Path


class Header(msgspec.Struct, frozen=True):
    """The header of a segment.

    before: the chain value before `first`.
    starts: the first position of each block.
    blobs: SHA-256 of the texts that its events name.
    size: bytes of the frame of entries.
    """

    namespace: str
    first: int
    last: int
    before: str
    chain: str
    starts: list[int]
    blobs: list[str]
    size: int


def name_of(first: int, last: int, chain: str) -> str:
    """The name of a segment's file: its range, and the chain that tells which history it belongs to."""
    return f"{first:010d}-{last:010d}-{chain[:16]}{SUFFIX}"


def write(path: Path, namespace: str, entries: Iterable[Entry], before_chain: str, durable: bool = True) -> Segment:
    """Write consecutive entries to a segment file, which appears only when it is complete.

    path: of the file, or a folder in which it gets its standard name.
    before_chain: the chain value before the first entry.
    Raises VerificationFailed, naming the position, where the entries are not an unbroken part of a log, and Refused
    where the disk does not take the file.
    """
    packer = _Packer(before_chain)
    for entry in entries:
        packer.add(entry)
    body = packer.end()
    if packer.bytes > RATIO_MAX * len(body) + BLOCK_BYTES_MAX or len(body) > FILE_BYTES_MAX - HEADER_BYTES_MAX:
        raise Refused("its events are too large, or too much alike, for a segment", "log")  # readers would reject it
    span = (packer.first, packer.last, before_chain, packer.chain)
    header = Header(namespace, *span, packer.starts, sorted(packer.blobs), len(body))
    head = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compress(
        msgspec.json.encode(header, order="deterministic")
    )
    content = b"".join((MAGIC, len(head).to_bytes(4, "little"), head, body))
    if path.is_dir():
        path = path / name_of(header.first, header.last, header.chain)
    with placed(path, durable) as file:
        file.write(content)
    return Segment(header.first, header.last, header.chain, hashlib.sha256(content).hexdigest(), path)


class _Packer:
    """Packs entries into blocks of a compressed frame; checks that each entry continues the one before it."""

    def __init__(self, before: str) -> None:
        self.first = self.last = 0
        self.chain = before
        self.starts: list[int] = []
        self.blobs: set[str] = set()
        self._compressor = zstandard.ZstdCompressor(LEVEL, write_checksum=True).compressobj()
        self._packed: list[bytes] = []
        self._block: list[Entry] = []
        self._bytes = 0
        self.bytes = 0

    def add(self, entry: Entry) -> None:
        if self.first and entry.seq != self.last + 1:
            raise VerificationFailed(f"events {self.last + 1} to {entry.seq - 1} are missing", "log")
        if chain_of(self.chain, entry) != entry.chain:
            raise VerificationFailed(f"event {entry.seq} does not continue the log: its chain differs", "log")
        self.first = self.first or entry.seq
        self.last, self.chain = entry.seq, entry.chain
        self.blobs.update(named_by(entry))
        if not self._block:
            self.starts.append(entry.seq)
        self._block.append(entry)
        self._bytes += len(entry.data)
        if len(self._block) == BLOCK_ENTRIES or self._bytes >= BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        block = self._block
        columns = [
            [entry.type for entry in block],
            [entry.subject for entry in block],
            [entry.at for entry in block],
            [entry.actor for entry in block],
            [entry.cause for entry in block],
            [entry.prev for entry in block],
            [entry.v for entry in block],
            [entry.data for entry in block],
            bytes.fromhex("".join(entry.chain for entry in block)),
        ]
        packed = msgspec.msgpack.encode(columns)
        self.bytes += len(packed)
        if len(packed) > BLOCK_BYTES_MAX:
            raise Refused(f"event {self.last} is too large for a segment", "log")
        self._packed.append(self._compressor.compress(len(packed).to_bytes(4, "little") + packed))
        self._block, self._bytes = [], 0

    def end(self) -> bytes:
        if not self.first:
            raise VerificationFailed("a segment without events", "log")
        if self._block:
            self._flush()
        return b"".join([*self._packed, self._compressor.flush()])


def header(path: Path) -> Header:
    """The header of a segment. Raises VerificationFailed for a missing or damaged one."""
    with _opened(path) as file:
        return _header(file, path)


def blocks(path: Path, first: int = 0) -> Iterator[tuple[int, list[Entry]]]:
    """The blocks from the one that holds position `first` on, with their numbers, their entries' chain unchecked.

    The checksum of the frame is checked once the last block has been read. Raises VerificationFailed.
    """
    with _opened(path) as file:
        head = _header(file, path)
        ends = [*head.starts[1:], head.last + 1]
        reader = zstandard.ZstdDecompressor().stream_reader(file)
        try:
            left = RATIO_MAX * head.size + BLOCK_BYTES_MAX
            for number, (start, end) in enumerate(zip(head.starts, ends, strict=True)):
                data = _block(reader)
                left -= len(data)
                if left < 0:
                    raise ValueError(f"it is packed more than {RATIO_MAX} times, as no segment is")
                if end > first:
                    yield number, _entries(data, start, end - start)
            if reader.read(1):
                raise ValueError("it goes on behind its last event")
        except (zstandard.ZstdError, msgspec.MsgspecError, ValueError) as error:
            raise damaged(path, str(error)) from error


def read(path: Path) -> Iterator[list[Entry]]:
    """The entries in lists, each entry checked to continue the one before it.

    Raises VerificationFailed, naming file and position, where the content does not match the header or the chain.
    """
    head = header(path)
    chain = head.before
    for _, entries in blocks(path):
        for entry in entries:
            if chain_of(chain, entry) != entry.chain:
                raise damaged(path, f"event {entry.seq} was altered: its chain differs")
            chain = entry.chain
        yield entries
    if chain != head.chain:
        raise damaged(path, f"it does not end with the chain that it says event {head.last} has")


def digest(path: Path) -> str:
    """SHA-256 of a file. Raises VerificationFailed for a missing one."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(path: Path, what: str) -> VerificationFailed:
    """The error for a damaged segment."""
    return VerificationFailed(f"the segment is damaged: {what}", str(path), MEND)


def _opened(path: Path) -> BufferedReader:
    try:
        file = files.opened(path)
    except FileNotFoundError:
        raise VerificationFailed("the segment is missing", str(path), MEND) from None
    except OSError as error:
        raise VerificationFailed(f"the segment cannot be read: {error.strerror}", str(path), MEND) from None
    if os.fstat(file.fileno()).st_size > FILE_BYTES_MAX:
        file.close()
        raise damaged(path, f"it is larger than {FILE_BYTES_MAX:,} bytes")
    return file


def _header(file: BufferedReader, path: Path) -> Header:
    try:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin as one")
        size = int.from_bytes(file.read(4), "little")
        frame = file.read(size) if size <= HEADER_BYTES_MAX else b""
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(frame)) as reader:
            text = reader.read(HEADER_BYTES_MAX)
            if reader.read(1):
                raise ValueError("its header is too long")
        found = msgspec.json.decode(text, type=Header)
    except (zstandard.ZstdError, msgspec.DecodeError, ValueError, OSError) as error:
        raise damaged(path, str(error)) from error
    if os.fstat(file.fileno()).st_size != file.tell() + found.size:
        raise damaged(path, "it is not as long as it says")
    whole = [*found.starts, found.last + 1]
    if found.first < 1 or whole[0] != found.first or any(a >= b for a, b in pairwise(whole)):
        raise damaged(path, "its header contradicts itself")
    if not all(NAME.fullmatch(blob) for blob in found.blobs):
        raise damaged(path, "its header names what is no blob")
    return found


def _block(reader: zstandard.ZstdDecompressionReader) -> bytes:
    size = int.from_bytes(_exactly(reader, 4), "little")
    if size > BLOCK_BYTES_MAX:
        raise ValueError("a block is too large")
    return _exactly(reader, size)


def _exactly(reader: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    parts: list[bytes] = []
    while size and (data := reader.read(size)):
        parts.append(data)
        size -= len(data)
    if size:
        raise ValueError("it ends too early")
    return b"".join(parts)


def _entries(data: bytes, first: int, count: int) -> list[Entry]:
    decoded: tuple[Any, ...] = _columns.decode(data)
    *columns, chains = decoded
    text = chains.hex()
    chain = [text[at : at + 40] for at in range(0, len(text), 40)]
    if len(chain) != count or any(len(column) != count for column in columns):
        raise ValueError(f"the block from event {first} on does not hold {count} events")
    return list(map(Entry, range(first, first + count), *columns, chain))
