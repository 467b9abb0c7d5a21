"""Where a large file is cut: at places that its content decides, so that an insertion moves no later cut.

A candidate is a byte of a kind that nearly every file has many of (found at the speed of memchr); it is a cut where
the CRC of the bytes before it has eleven zero bits. About 1 MiB a chunk, between 512 KiB and 4 MiB. Fixed cuts cost
nothing but keep nothing of what follows an insertion; the figures are in the README's design notes.
"""

from __future__ import annotations

from zlib import crc32

WHOLE_BYTES_MAX = 1 << 20
CHUNK_BYTES_MAX = 4 << 20
_CHUNK_BYTES_MIN = 512 << 10
_SEPARATORS = (b"\n", b"\0", b" ", b"A")
_WINDOW = 32
_MASK = (1 << 11) - 1
_CANDIDATES_MAX = 1 << 14


def cut(data: bytes, start: int) -> int:
    """The end of the chunk of `data` that begins at `start`. Give at least `CHUNK_BYTES_MAX` from there, or all."""
    limit = min(len(data), start + CHUNK_BYTES_MAX)
    if limit - start <= _CHUNK_BYTES_MIN:
        return limit
    for separator in _SEPARATORS:
        at = start + _CHUNK_BYTES_MIN
        for _ in range(_CANDIDATES_MAX):  # a run of one byte must not cost a look at each
            at = data.find(separator, at, limit) + 1
            if not at:
                break
            if not crc32(data[at - _WINDOW : at]) & _MASK:
                return at
    return limit
