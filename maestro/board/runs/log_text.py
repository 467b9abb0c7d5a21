"""The log of a run, any part of it by its place in all that the run has printed, without reading the rest.

A place stays what it is while the run prints, while the middle of its output is dropped, and when its pieces become one
file. Parts end at a line where they can, and never within a character. All calls block.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import msgspec

from maestro import files
from maestro.printable_text import plain
from maestro.runtime.supervision import capped_log

CHUNK_BYTES = 1 << 20
TRIES = 5
SEARCHED_BYTES_MAX = 32 << 20
"""So many bytes are searched at once; the answer says where to go on."""
FOUND_MAX = 100
AROUND_BYTES = 200
"""How much of a long line is shown on both sides of what was found in it."""
LOOK_BYTES = 4096
"""How far a line is followed, and a mark may reach."""
MARKS_MAX = 512
MARKED = re.compile(re.escape(capped_log.MARK).replace(b"%d", rb"(\d{1,19})"))


class Stretch(NamedTuple):
    """A part of the output that is kept, in a file. begin: its place in all of the output; at: in the file."""

    begin: int
    size: int
    path: str
    at: int

    @property
    def end(self) -> int:
        """The place behind it."""
        return self.begin + self.size


class Part(msgspec.Struct, frozen=True):
    """A part of a log. next: where the following one begins; size: the place behind the last byte of the log."""

    offset: int
    next: int
    size: int
    text: str


class Match(msgspec.Struct, frozen=True):
    """A line in which something was found. line: its number, from 1, among those that are kept."""

    offset: int
    line: int
    text: str


class Marks:
    """Where the logs that were read have their marks. Each byte is looked at once, as logs only grow."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[tuple[str, int], tuple[int, tuple[int, int, int] | None]] = OrderedDict()

    def of(self, path: str) -> tuple[int, int, int] | None:
        """The place of the mark in a log, its length, and how many bytes it stands for; None where there is none."""
        handle = files.handle(path)
        try:
            found = os.fstat(handle)
            key = path, found.st_ino
            with self._lock:
                looked, mark = self._known.get(key, (0, None))
            if found.st_size < looked:
                looked, mark = 0, None
            if mark is None and found.st_size > looked:
                looked, mark = _mark_behind(handle, looked, found.st_size)
            with self._lock:
                self._known[key] = looked, mark
                self._known.move_to_end(key)
                while len(self._known) > MARKS_MAX:
                    self._known.popitem(last=False)
        finally:
            os.close(handle)
        return mark


def _mark_behind(handle: int, begin: int, size: int) -> tuple[int, tuple[int, int, int] | None]:
    """How far a log was looked through, and its mark: one that says truly where it stands."""
    while begin < size:
        data = os.pread(handle, CHUNK_BYTES + LOOK_BYTES, begin)
        for match in MARKED.finditer(data):
            if int(match[2]) == begin + match.start():
                return begin + match.start(), (begin + match.start(), len(match[0]), int(match[1]))
        if len(data) <= CHUNK_BYTES:
            return max(begin, begin + len(data) - LOOK_BYTES), None
        begin += CHUNK_BYTES
    return begin, None


_MARKS = Marks()


class LogText:
    """The log of one run, by the path of its `agent.log`."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def is_there(self) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self._path) or bool(capped_log.pieces(self._path))

    def stretches(self) -> list[Stretch]:
        """What is kept of the output, in order. Raises OSError where it cannot be read."""
        pieces = capped_log.pieces(self._path)
        size = _size(self._path)
        if pieces:
            found = [Stretch(0, min(size, pieces[0].head), self._path, 0)]
            return found + [Stretch(piece.begin, piece.size, piece.path, 0) for piece in pieces]
        mark = _MARKS.of(self._path) if size else None
        if mark is None:
            return [Stretch(0, size, self._path, 0)]
        at, length, left_out = mark
        behind = at + length
        return [Stretch(0, at, self._path, 0), Stretch(at + left_out, size - behind, self._path, behind)]

    def bytes_at(self, offset: int, size: int = CHUNK_BYTES) -> bytes:
        """The bytes from a place on, up to the next gap; none where there is no log."""
        try:
            return _read(self.stretches(), offset, size)
        except OSError:
            return b""

    def part(self, offset: int, limit: int, ended: bool) -> Part:
        """The part of the log from a place on, of about `limit` bytes at most; a negative one counts from the end.

        ended: no more will come, so that what is there is all.
        """
        for _ in range(TRIES):
            with suppress(FileNotFoundError):  # its pieces become one file at this very moment
                return self._part(offset, limit, ended)
        return Part(0, 0, 0, "")

    def _part(self, offset: int, limit: int, ended: bool) -> Part:
        kept = self.stretches()
        size = kept[-1].end
        begin = min(offset, size) if offset >= 0 else max(0, size + offset)
        gap = next((one for before, one in pairwise(kept) if before.end <= begin < one.begin), None)
        if gap is not None:
            tail = sum(one.size for one in kept[1:])
            mark = capped_log.MARK % (gap.begin - begin, kept[0].size, tail)
            return Part(begin, gap.begin, size, mark.decode())
        data = _read(kept, begin, limit)
        if offset < 0 and begin:
            skipped = _line_begin(data)
            begin, data = begin + skipped, data[skipped:]
        more = begin + len(data) < size
        if len(data) >= limit and more:
            data = data[: data.rfind(b"\n") + 1] or data
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(data)
        left = len(decoder.getstate()[0])
        following = begin + len(data)
        at_gap = any(one.begin > following >= before.end for before, one in pairwise(kept))
        if left and (at_gap or (ended and not more)):
            text, left = text + decoder.decode(b"", final=True), 0
        return Part(begin, following - left, size, plain(text))

    def found(self, text: str, begin: int) -> tuple[list[Match], int | None]:
        """The lines from a place on in which a text is found, upper and lower case alike in ASCII; where to go on, None
        at the end.
        """
        for _ in range(TRIES):
            with suppress(FileNotFoundError):
                return self._found(re.compile(re.escape(text.encode("utf-8", "replace")), re.IGNORECASE), begin)
        return [], None

    def _found(self, pattern: re.Pattern[bytes], begin: int) -> tuple[list[Match], int | None]:
        kept = self.stretches()
        found: list[Match] = []
        line, left, skip_to = 1 + _lines_before(kept, begin), SEARCHED_BYTES_MAX, begin
        for base, before, window, size in _windows(kept, begin):
            if left <= 0:
                return found, max(base, skip_to)
            left -= size
            at = before
            for match in pattern.finditer(window, before):
                if match.start() >= before + size or base + match.start() - before < skip_to:
                    continue
                line += window.count(b"\n", at, match.start())
                at = match.start()
                found.append(Match(base + at - before, line, _line_around(window, match)))
                end = window.find(b"\n", match.end())
                skip_to = base - before + (len(window) if end < 0 else end + 1)
                if len(found) == FOUND_MAX:
                    return found, skip_to
            line += window.count(b"\n", at, before + size)
        return found, None


def _windows(kept: list[Stretch], begin: int) -> Iterator[tuple[int, int, bytes, int]]:
    """The log in pieces, with what is before and behind each: (its place, bytes before it, all bytes, its size)."""
    for stretch in kept:
        place = max(begin, stretch.begin)
        while place < stretch.end:
            size = min(CHUNK_BYTES, stretch.end - place)
            first = max(stretch.begin, place - AROUND_BYTES)
            window = _read([stretch], first, place - first + size + LOOK_BYTES)
            yield place, place - first, window, size
            place += size


def _lines_before(kept: list[Stretch], place: int) -> int:
    """How many line ends are kept before a place."""
    count = 0
    for stretch in kept:
        at = stretch.begin
        while at < min(place, stretch.end):
            data = _read([stretch], at, min(CHUNK_BYTES, place - at))
            if not data:
                break
            count += data.count(b"\n")
            at += len(data)
    return count


def _line_around(window: bytes, match: re.Match[bytes]) -> str:
    first = window.rfind(b"\n", 0, match.start()) + 1
    last = window.find(b"\n", match.end())
    last = len(window) if last < 0 else last
    begin, end = max(first, match.start() - AROUND_BYTES), min(last, match.end() + AROUND_BYTES)
    text = plain(window[begin:end].decode("utf-8", "replace").strip("\r\n\ufffd"))
    return ("…" if begin > first else "") + text + ("…" if end < last else "")


def _line_begin(data: bytes) -> int:
    """Where in a part that begins anywhere the first line begins; where there is none, the first character."""
    at = data.find(b"\n") + 1
    if 0 < at < len(data):
        return at
    return next((index for index, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)


def _read(kept: list[Stretch], begin: int, size: int) -> bytes:
    """The bytes from a place on, up to the next gap."""
    data = bytearray()
    for stretch in kept:
        place = begin + len(data)
        if stretch.begin <= place < stretch.end and len(data) < size:
            handle = files.handle(stretch.path)
            try:
                wanted = min(size - len(data), stretch.end - place)
                data += os.pread(handle, wanted, stretch.at + place - stretch.begin)
            finally:
                os.close(handle)
    return bytes(data)


def _size(path: str) -> int:
    """The size of a file, 0 for none. Raises OSError for what is no regular file."""
    try:
        handle = files.handle(path)
    except FileNotFoundError:
        return 0
    try:
        return os.fstat(handle).st_size
    finally:
        os.close(handle)
