"""Content-defined chunking: cuts a large file where its bytes say so, so that an insertion moves no later cut.

Two searches for a cut, the cheaper first. The first looks for a pair of bytes that only chance produces, as in
compressed data. The second looks for bytes that structured data has (`_SIGNS`), beginning with line ends and zeros.
Such a byte is a cut where the CRC of the bytes before it ends with enough zero bits; otherwise the same CRC says how
far to leap before the next look, so that frequent bytes cost no more looks than rare ones, and two versions of a file
that diverged soon meet on the same bytes again.

Chunks have 550 to 700 KiB on average, and between 512 KiB and 4 MiB each.
"""

from __future__ import annotations

import re
from zlib import crc32

WHOLE_BYTES_MAX = 1 << 20
CHUNK_BYTES_MAX = 4 << 20
_CHUNK_BYTES_MIN = 512 << 10
_STEP = 512 << 10
_SAMPLE = 4 << 10
_WINDOW = 32
# `re` finds two bytes at twice the speed of `bytes.find`.
_PAIR, _PAIR_MASK = re.compile(rb"\xc9n"), 3
_SIGNS = (b"\n", b"\0", b" ", b'"', b",", b"0", b"e", b"A")
_SIGN_MASK = 511
_LEAP = 1024
_LOOKS_MAX = 4096  # a long run of one byte must not cost a look at each byte


def cut(data: bytes, start: int, is_all: bool) -> int:
    """The end of the chunk of `data` that begins at `start`; 0 where more data is needed to find it.

    data: bytes of a file, from any place in it.
    start: offset in `data` where the chunk begins.
    is_all: `data` reaches to the end of the file, so that 0 is never the answer.
    """
    limit = start + CHUNK_BYTES_MAX
    for begin in range(start + _CHUNK_BYTES_MIN, limit, _STEP):
        end = begin + _STEP
        if end > len(data):
            if not is_all:
                return 0
            end = len(data)
        at = _pair(data, begin, end) or _sign(data, begin, end)
        if at or end == len(data):
            return at or end
    return limit


def _pair(data: bytes, begin: int, end: int) -> int:
    """The end of the first random pair of bytes from `begin` to `end` that is a cut, else 0."""
    if data[begin : begin + _SAMPLE].isascii():
        return 0  # text has no random pairs
    for found in _PAIR.finditer(data, begin, end):
        if not crc32(data[found.end() - _WINDOW : found.end()]) & _PAIR_MASK:
            return found.end()
    return 0


def _sign(data: bytes, begin: int, end: int) -> int:
    """The end of the first byte of `_SIGNS` from `begin` to `end` that is a cut, else 0."""
    for sign in _SIGNS:
        at = begin
        for _ in range(_LOOKS_MAX):
            at = data.find(sign, at, end) + 1
            if not at:
                break
            crc = crc32(data[at - _WINDOW : at])
            if not crc & _SIGN_MASK:
                return at
            at += crc >> 16 & _LEAP - 1
    return 0
