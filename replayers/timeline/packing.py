"""Packs rows of views: zstd, with rows like them as dictionary, so that a row takes a fifth of its size."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import cache

import zstandard

LEVEL = 3
GROWTH = 8
"""A new dictionary is made when there are so many times as many versions as when the last one was."""
FIRST = 200
SAMPLE_BYTES = 32 * 1024
SAMPLE_ROWS = 24
"""Rows of one view in a dictionary, at most."""

TABLE = "CREATE TABLE IF NOT EXISTS dictionaries(number INTEGER PRIMARY KEY, versions INTEGER, data BLOB);"


class Damaged(Exception):
    """The file is no sound database, or a row in it is not what was packed."""


class Packing:
    """Packs and unpacks rows by the dictionaries in a database; number 0 is none. Not thread-safe."""

    def __init__(self) -> None:
        self._unpackers: dict[int, zstandard.ZstdDecompressor] = {}
        self._number = -1
        self._packer = _packer(None)

    def pack(self, data: bytes) -> tuple[int, bytes]:
        """A row packed, and the number of its dictionary."""
        return max(0, self._number), self._packer.compress(data)

    def unpack(self, base: sqlite3.Connection, number: int, data: bytes) -> bytes:
        """A row as it was packed."""
        unpacker = self._unpackers.get(number)
        if unpacker is None:
            found = base.execute("SELECT data FROM dictionaries WHERE number = ?", (number,)).fetchone()
            words = _dictionary(bytes(found[0])) if found else None
            unpacker = self._unpackers[number] = zstandard.ZstdDecompressor(dict_data=words)
        try:
            return unpacker.decompress(data)
        except zstandard.ZstdError as error:
            raise Damaged from error

    def learn(self, base: sqlite3.Connection, versions: int, rows: Iterable[tuple[str, bytes]]) -> None:
        """Take the newest dictionary, and make one of these rows (view and data) where it is time for another.

        versions: how many rows were packed so far.
        """
        found = base.execute("SELECT number, versions, data FROM dictionaries ORDER BY number DESC").fetchone()
        number, at, words = found or (0, 0, b"")
        if number != self._number:
            self._use(number, bytes(words))
        if versions < (at * GROWTH if at else FIRST):
            return
        words = _sample(rows)
        base.execute("INSERT INTO dictionaries VALUES(?, ?, ?)", (number + 1, max(versions, FIRST), words))
        self._use(number + 1, words)

    def _use(self, number: int, words: bytes) -> None:
        self._number = number
        self._packer = _packer(words or None)


@cache
def _dictionary(words: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(words, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _packer(words: bytes | None) -> zstandard.ZstdCompressor:
    dictionary = None if words is None else _dictionary(words)
    return zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary, write_checksum=True)


def _sample(rows: Iterable[tuple[str, bytes]]) -> bytes:
    """Rows of each view, in one piece of SAMPLE_BYTES at most."""
    taken: dict[str, int] = {}
    words = b""
    for view, data in rows:
        taken[view] = taken.get(view, 0) + 1
        if taken[view] <= SAMPLE_ROWS and len(words) + len(data) <= SAMPLE_BYTES:
            words += data
    return words
