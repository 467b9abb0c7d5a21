"""The output file `agent.log` of a run, with a cap: the beginning of the output and its end, and a mark between them.

The mark says how much is left out.

`agent.log` gets the beginning. What comes after it goes into pieces beside it, of which the last two stay, and whose
names say where in all of the output they begin: `agent.log.<beginning>.<begin>`. So the log can be read at any time,
whatever was killed meanwhile, and takes no more room than its cap. `settle` makes one file of all. Stdlib only.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from maestro.runtime.supervision.mended_file import OutFile

MARK = b"\n[maestro: %d bytes are left out here, above the cap of a log; its first %d and its last %d bytes are kept]\n"
CHUNK_BYTES = 1024 * 1024
_MARKED = re.compile(rb"\n\[maestro: (\d+) bytes are left out here[^\n]*\]\n")
_MARK_BYTES_MAX = 256
_NAME = re.compile(r"\.(\d+)\.(\d+)")
_PIECES = 2
_TRIES = 5


class Piece(NamedTuple):
    """A file of the output behind the beginning. head: bytes of the beginning; begin: where it begins in all of it."""

    begin: int
    head: int
    path: str
    size: int


class CappedLog:
    """The output file `agent.log` of one run, being written. It is no part of the event log.

    A full disk loses output, not the run. error: why the rest is lost.
    """

    def __init__(self, path: str, bytes_max: int) -> None:
        """Raises OSError where the file cannot be opened."""
        self._path = path
        self._piece_bytes = max(1, bytes_max // 4)
        self._file = self._first = OutFile(path, append=True)
        self._room = max(1, bytes_max - _PIECES * self._piece_bytes)
        self._at = self._first.size  # what verifies a run goes on with its log
        self._head = self._at + self._room
        self._pieces: list[tuple[int, OutFile]] = []
        self.error: str | None = None

    @property
    def left_out(self) -> int:
        """How many bytes of the middle are not kept."""
        return self._pieces[0][0] - self._head if self._pieces else 0

    @property
    def truncated(self) -> bool:
        """Whether the log lacks some of the output."""
        return bool(self.left_out or self.error)

    def write(self, text: bytes) -> None:
        """Add the next of the output."""
        try:
            while text and self.error is None:
                if not self._room:
                    self._begin_piece()
                written = self._file.write(text[: self._room])
                self._room -= written
                self._at += written
                text = text[written:]
        except OSError as error:
            self.error = error.strerror

    def _begin_piece(self) -> None:
        if self._file is not self._first:
            self._file.close()
        self._file = OutFile(f"{self._path}.{self._head}.{self._at}")
        self._room = self._piece_bytes
        self._pieces.append((self._at, self._file))
        if len(self._pieces) > _PIECES:
            self._pieces.pop(0)[1].remove()

    def mend(self) -> None:
        """Make the files again, whole, that somebody removed while they were written."""
        with suppress(OSError):
            for file in {self._first, self._file}:
                file.mend()

    def close(self) -> None:
        """Make one file of the log: no output comes any more."""
        self.mend()
        self._first.close()
        self._file.close()
        settle(self._path)


def pieces(path: str) -> list[Piece]:
    """The pieces beside a log, in order and without a gap between them; none where they have become part of it."""
    found = sorted(_all_pieces(path))
    for index in range(len(found) - 1, 0, -1):
        if found[index - 1].begin + found[index - 1].size != found[index].begin:
            found = found[index:]
            break
    return found if found and _size(path) <= found[0].head else []


def settle(path: str) -> None:
    """Make one file of a log and its pieces, atomically; may be called again after a crash at any instant.

    Where the disk has no room for that the pieces stay, and are read where they are.
    """
    found = pieces(path)
    whole = f"{path}.whole"
    if found:
        try:
            _put_together(path, found, whole)
        except OSError:
            with suppress(OSError):
                Path(whole).unlink()
            return
    for piece in _all_pieces(path):
        with suppress(OSError):
            Path(piece.path).unlink()


def _put_together(path: str, found: list[Piece], whole: str) -> None:
    target = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with suppress(FileNotFoundError):
            _copy(path, target)
        _write(target, mark(found))
        for piece in found:
            _copy(piece.path, target)
    finally:
        os.close(target)
    Path(whole).rename(path)


def mark(found: list[Piece]) -> bytes:
    """The mark between the beginning and these pieces; b"" where nothing is left out."""
    left_out = found[0].begin - found[0].head
    return MARK % (left_out, found[0].head, sum(piece.size for piece in found)) if left_out else b""


def _all_pieces(path: str) -> list[Piece]:
    log, found = Path(path), []
    with suppress(OSError), os.scandir(log.parent) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name, len(log.name)) if entry.name.startswith(log.name) else None
            if match is not None:
                with suppress(OSError):
                    size = entry.stat(follow_symlinks=False).st_size
                    found.append(Piece(int(match[2]), int(match[1]), entry.path, size))
    return found


class CappedLogReader:
    """A reader of an `agent.log` from its beginning, also while it is written, and while its pieces become part of it.

    Positions: `_at` in agent.log, or where `_beyond` is set, in all of the output, behind a beginning of that size.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._at = 0
        self._beyond: int | None = None

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; b"" where there are none yet."""
        for _ in range(_TRIES):
            try:
                return self._read(size)
            except FileNotFoundError:  # a piece has gone since they were listed, or there is no log
                continue
        return b""

    def _read(self, size: int) -> bytes:
        found = pieces(self._path)
        if not found:
            return self._settled(self._beyond) or self._advance(_part(self._path, self._at, size))
        head = found[0].head
        if self._beyond is None and self._at < head:
            text = self._advance(_part(self._path, self._at, min(size, head - self._at)))
            if text:
                return text
            self._at = head  # somebody has removed it
        self._beyond, self._at = head, max(head, self._at)
        if self._at < found[0].begin:
            gone, self._at = found[0].begin - self._at, found[0].begin
            return MARK % (gone, head, sum(piece.size for piece in found))
        for piece in found:
            if piece.begin <= self._at < piece.begin + piece.size:
                return self._advance(_part(piece.path, self._at - piece.begin, size))
        return b""

    def _advance(self, text: bytes) -> bytes:
        self._at += len(text)
        return text

    def _settled(self, head: int | None) -> bytes:
        """The pieces, should they have been read, are part of agent.log now: go on there, behind a mark where some of
        what comes next is left out.
        """
        if head is None:
            return b""
        self._beyond = None
        match = _MARKED.match(_part(self._path, head, _MARK_BYTES_MAX))
        if match is None:
            return b""
        behind = self._at - head - int(match[1])
        self._at = head + match.end() + max(0, behind)
        kept = _size(self._path) - head - match.end()
        return MARK % (-behind, head, kept) if behind < 0 else b""

    def to_end(self, size: int) -> None:
        """Go to where the last `size` bytes begin, or the last piece, where that is smaller."""
        found = pieces(self._path)
        begin, held = (found[-1].begin, found[-1].size) if found else (0, _size(self._path))
        self._beyond, self._at = found[0].head if found else None, begin + max(0, held - size)

    def to_last(self, lines: int) -> None:
        """Go to the beginning of the last `lines` lines."""
        for _ in range(_TRIES):
            try:
                return self._to_last(lines)
            except FileNotFoundError:
                continue

    def _to_last(self, lines: int) -> None:
        found = pieces(self._path)
        head = min(_size(self._path), found[0].head) if found else _size(self._path)
        parts = [(piece.path, piece.begin, piece.size) for piece in reversed(found)]
        last = True
        for path, begin, size in [*parts, (self._path, 0, head)]:
            at, lines = _line_start(path, size, lines, last)
            last = last and not size
            if at is not None:
                self._beyond = found[0].head if found and path != self._path else None
                self._at = begin + at
                return
        self._at, self._beyond = 0, None


def _line_start(path: str, size: int, lines: int, last: bool) -> tuple[int | None, int]:
    """Where in a file the last lines begin, None where that is before it; how many of them are not found yet. last: it
    is the end of the log, so that a newline at its very end begins no line.
    """
    if lines <= 0:
        return size, 0
    position = size
    while position > 0:
        begin = max(0, position - CHUNK_BYTES)
        chunk = _part(path, begin, position - begin)
        at = len(chunk)
        while (at := chunk.rfind(b"\n", 0, at)) >= 0:
            if last and begin + at + 1 == size:
                continue
            lines -= 1
            if lines == 0:
                return begin + at + 1, 0
        position = begin
    return None, lines


def _part(path: str, begin: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, begin)
    finally:
        os.close(descriptor)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _copy(path: str, target: int) -> None:
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while chunk := os.read(source, CHUNK_BYTES):
            _write(target, chunk)
    finally:
        os.close(source)


def _write(target: int, text: bytes) -> None:
    while text:
        text = text[os.write(target, text) :]
