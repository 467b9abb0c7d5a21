"""Reads a file that may be written meanwhile: the result is its content at one moment, or the file is reported as torn.

A file's status is compared before and after its bytes are read, and the file is read again where the two differ. A
kernel stamps changes with the time of its last tick, so a file that was touched just now is left to settle first: a
later change then shows.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from maestro.workspaces.archive.format.chunking import WHOLE_BYTES_MAX, cut
from maestro.workspaces.archive.format.entries import FILE, GONE, MOUNT, UNREAD, Entry, Piece
from maestro.workspaces.mounts import open_within

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ATTEMPTS = 3
_SETTLE_S = 0.02
_READ_BYTES = 4 << 20
_ZEROS = bytes(1 << 20)
_LARGE_BYTES = 16 << 20
_AHEAD = 4

Keep = Callable[[bytes, bytes | memoryview], None]


def read_file(
    folder: int, name: bytes, entry: Entry, keep: Keep, before: Sequence[Piece] | None = None
) -> os.stat_result | None:
    """Read a file, give its chunks to `keep` (digest, bytes) and fill in its entry.

    before: its pieces when it was last read; a piece that is still there is not searched for a cut.

    Returns the file's status when it was read, or None. None means that the file changed during each attempt, or is no
    longer a file: it is torn, and the entry holds what was read last. A file that is a mount point, or that the system
    refuses to read, gets the kind MOUNT or UNREAD, and the cause as its target.
    """
    for _ in range(_ATTEMPTS):
        try:
            handle = open_within(name, _FLAGS, folder)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV):
                entry.kind = GONE  # no longer a file: left out, and reported as torn
                continue
            _refuse(entry, error)
            return None
        try:
            found, is_calm = settled(handle)
            entry.kind = FILE if stat.S_ISREG(found.st_mode) else GONE
            if not entry.kind:
                continue
            entry.mode, entry.uid, entry.gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
            entry.mtime = found.st_mtime_ns
            entry.xattrs = xattrs(handle)
            read_content(handle, found, entry, keep, by_place(before))
            if is_calm and entry.size == found.st_size and _is_untouched(folder, name, found):
                return found
        except OSError as error:
            _refuse(entry, error)
            return None
        finally:
            os.close(handle)
    return None


def xattrs(target: int | str, *, follow: bool = True) -> dict[bytes, bytes] | None:
    """The extended attributes of an open file or a path; None where it has none."""
    if not hasattr(os, "listxattr"):
        return None
    try:
        names = os.listxattr(target, follow_symlinks=follow)
        if not names:
            return None
        found = {os.fsencode(name): os.getxattr(target, name, follow_symlinks=follow) for name in sorted(names)}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENODATA):
            return None
        raise
    return found


def settled(handle: int) -> tuple[os.stat_result, bool]:
    """The status of an open file, and whether any later change would show in its ctime.

    That is so once nobody has touched the file for a while. A file that is changed continually never settles.
    """
    found = os.fstat(handle)
    for _ in range(_ATTEMPTS):
        age = time.time() - found.st_ctime_ns / 1e9
        if not -1 < age < _SETTLE_S:
            return found, True
        time.sleep(_SETTLE_S - max(age, 0))
        found = os.fstat(handle)
    return found, not -1 < time.time() - found.st_ctime_ns / 1e9 < _SETTLE_S


def _is_untouched(folder: int, name: bytes, before: os.stat_result) -> bool:
    try:
        after = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (after.st_ino, after.st_dev, after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_dev,
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


def by_place(pieces: Sequence[Piece] | None) -> dict[int, Piece]:
    """Pieces by the offset where they begin, without holes."""
    found, at = {}, 0
    for piece in pieces or ():
        if piece.digest:
            found[at] = piece
        at += piece.length
    return found


def read_content(handle: int, found: os.stat_result, entry: Entry, keep: Keep, before: dict[int, Piece]) -> None:
    """Read an open file from its beginning, and fill in the size, digest and pieces of its entry.

    found: the file's status.
    before: pieces of the last time, as `by_place` gives them.
    """
    is_sparse = found.st_blocks * 512 < found.st_size
    if found.st_size <= WHOLE_BYTES_MAX and not is_sparse:
        content = os.read(handle, found.st_size + 1)
        while len(content) < found.st_size and (more := os.read(handle, found.st_size + 1 - len(content))):
            content += more
        digest = hashlib.sha256(content).digest()
        if content:
            keep(digest, content)
        _fill(entry, digest, len(content), None)
        return
    pieces: list[Piece] = []
    with _FileDigest(found.st_size) as whole:
        reading = _OpenFile(handle, pieces, whole.update, keep, before)
        for start, end, is_hole in _extents(handle, found.st_size) if is_sparse else [(0, -1, False)]:
            if is_hole:
                pieces.append(Piece(b"", end - start))
                for at in range(start, end, len(_ZEROS)):
                    whole.update(_ZEROS[: end - at] if end - at < len(_ZEROS) else _ZEROS)
            else:
                _read_chunks(reading, start, end if end >= 0 else None)
    size = sum(piece.length for piece in pieces)
    if len(pieces) == 1 and pieces[0].digest:
        _fill(entry, pieces[0].digest, size, None)
    else:
        _fill(entry, whole.digest(), size, pieces or None)


class _FileDigest:
    """The digest of a whole file; for a large file computed in a thread of its own, beside its chunks' digests."""

    def __init__(self, size: int) -> None:
        self._digest = hashlib.sha256()
        self._parts: queue.Queue[bytes | memoryview | None] = queue.Queue(_AHEAD)
        self._thread: threading.Thread | None = None
        if size >= _LARGE_BYTES:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self.update: Callable[[bytes | memoryview], None] = self._parts.put if self._thread else self._digest.update

    def _work(self) -> None:
        while (part := self._parts.get()) is not None:
            self._digest.update(part)

    def digest(self) -> bytes:
        """The digest of all bytes that were given, once the context has ended."""
        return self._digest.digest()

    def __enter__(self) -> _FileDigest:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._parts.put(None)
            self._thread.join()


class _OpenFile(NamedTuple):
    """A file being read. before: its pieces of the last time, by offset; each is tried once."""

    handle: int
    pieces: list[Piece]
    update: Callable[[bytes | memoryview], None]
    keep: Keep
    before: dict[int, Piece]


def _read_chunks(reading: _OpenFile, at: int, limit: int | None) -> None:
    """Read from `at` to `limit`, or to the end of the file, cut into chunks."""
    handle, pieces, update, keep, before = reading
    data, start, is_end = b"", 0, False  # bytes read ahead; data[start] is at offset `at` of the file
    while start < len(data) or not is_end:
        chunk, digest = _known_chunk(handle, at, limit, before.pop(at, None))
        if chunk:
            data, start, is_end = b"", 0, False
        elif end := cut(data, start, is_end):
            chunk = memoryview(data)[start:end]
            digest, start = hashlib.sha256(chunk).digest(), end
        else:
            place = at + len(data) - start
            more = os.pread(handle, _READ_BYTES if limit is None else min(_READ_BYTES, limit - place), place)
            data, start, is_end = data[start:] + more, 0, not more
            continue
        update(chunk)
        keep(digest, chunk)
        pieces.append(Piece(digest, len(chunk)))
        at += len(chunk)


def _known_chunk(handle: int, at: int, limit: int | None, known: Piece | None) -> tuple[bytes | memoryview, bytes]:
    """The piece that was at this offset the last time, and its digest, where it is unchanged; else empty bytes."""
    if known is None or (limit is not None and at + known.length > limit):
        return b"", b""
    chunk = os.pread(handle, known.length, at)
    digest = hashlib.sha256(chunk).digest()
    return (chunk, digest) if digest == known.digest else (b"", b"")


def _extents(handle: int, size: int) -> list[tuple[int, int, bool]]:
    """The (start, end, is hole) of each extent of a sparse file, from 0 to its size."""
    extents: list[tuple[int, int, bool]] = []
    at = 0
    while at < size:
        try:
            data = min(os.lseek(handle, at, os.SEEK_DATA), size)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            data = size  # no more data: a hole to the end
        if data > at:
            extents.append((at, data, True))
        if data < size:
            at = min(os.lseek(handle, data, os.SEEK_HOLE), size)
            extents.append((data, at, False))
        else:
            at = size
    return extents


def holes_of(folder: int, name: bytes) -> int:
    """Bytes of a file that are holes; 0 where that cannot be told."""
    try:
        handle = open_within(name, _FLAGS, folder)
    except OSError:
        return 0
    try:
        size = os.fstat(handle).st_size
        return sum(end - start for start, end, is_hole in _extents(handle, size) if is_hole)
    except OSError:
        return 0
    finally:
        os.close(handle)


def _fill(entry: Entry, digest: bytes, size: int, pieces: list[Piece] | None) -> None:
    entry.digest, entry.size, entry.pieces = digest, size, pieces


def _refuse(entry: Entry, error: OSError) -> None:
    """Record in an entry why its file could not be read."""
    entry.kind = MOUNT if error.errno == errno.EXDEV else UNREAD
    entry.target = (error.strerror or str(error)).encode()
