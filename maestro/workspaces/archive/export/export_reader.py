"""Reads an export that may come from anyone: every byte of it is checked while it is read, and nothing is trusted.

The manifest, which comes first and is checked first, determines every byte of every tar header after it. The reader
therefore parses no tar: it makes each header itself and compares. Anything else is refused, with the name of the member
where it was found.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec

from maestro import files
from maestro.model.errors import Invalid, NotFound, Refused, VerificationFailed
from maestro.workspaces.archive.export import gzip_members, outline
from maestro.workspaces.archive.export.outline import Limits
from maestro.workspaces.archive.export.tar_headers import BLOCK, Member, header, padding
from maestro.workspaces.archive.format.entries import FILE, HARDLINK, LONG_PATHS_BYTES_MAX, Entry, Piece, located
from maestro.workspaces.archive.read.stage import Stage, write_all
from maestro.workspaces.descent import Descent

_MANIFEST_BYTES = 8 << 20
_MANIFEST_RATIO = 16
_LONG_PATHS_RATIO = gzip_members.RATIO_MAX
_HOLES_RATIO = 1100  # deflate cannot pack more than 1032 to one

Progress = Callable[[int, int], None]


class Proved(msgspec.Struct, frozen=True):
    """An export that was read to its end. manifest: SHA-256 of its first member, which determines all others."""

    snapshot: str
    manifest: str
    entries: int
    bytes: int


class Export:
    """An open export, as a context. `head` is its checked first line; nothing after the manifest has been read yet.

    Raises `VerificationFailed` naming the member, `Invalid` for another version, `NotFound`.
    """

    def __init__(self, path: str | Path, limits: Limits) -> None:
        self.path = Path(path)
        self._limits = limits
        self._progress: Progress | None = None
        self._file = _opened(self.path)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            with self._naming(str(self.path), outline.MANIFEST):
                content = self._manifest(self._stream())
                self.head, self._trees = outline.decode(content, limits)
                total = sum(branch.size for branch in self.head.trees)
                if total > _HOLES_RATIO * self._size:
                    raise VerificationFailed(f"it cannot hold the {total:,} bytes that it names")
            self.manifest = hashlib.sha256(content).hexdigest()
            self._expected = outline.sums(self.head, self._trees, content)
        except BaseException:
            self._file.close()
            raise

    def entries(self, tree: str) -> list[Entry]:
        """The entries of a tree. Raises `NotFound`."""
        for branch, entries in zip(self.head.trees, self._trees, strict=True):
            if branch.name == tree:
                return entries
        raise NotFound(f"it holds no tree {tree!r}", where=str(self.path))

    def verify(self, progress: Progress | None = None) -> Proved:
        """Read and check the whole export. Raises `VerificationFailed` naming the first member that is wrong."""
        return self.restore({}, progress)

    def read(self, name: str, bytes_max: int = 64 << 20) -> bytes:
        """The checked content of one of the extra files.

        Raises `NotFound`, `VerificationFailed`, `Refused` where it is larger than `bytes_max`.
        """
        found = {extra.name: extra.size for extra in self.head.extras}
        if name not in found:
            raise NotFound(f"it holds no file {name!r}", where=str(self.path))
        if found[name] > bytes_max:
            raise Refused(f"it has {found[name]:,} bytes", where=name)
        parts: list[bytes] = []
        self._check_front(self._stream_after_manifest(), {name: parts.append})
        return b"".join(parts)

    def beginning(self, tree: str, path: bytes, bytes_max: int) -> bytes:
        """The first bytes of a file of a tree. All up to the end of that file is read and checked for them.

        Raises `NotFound` where the tree has no such file, `VerificationFailed`.
        """
        found = {entry.path: entry for entry in self.entries(tree)}
        entry = found.get(path)
        if entry is not None and entry.kind == HARDLINK:
            entry = found.get(entry.target)
        if entry is None or entry.kind != FILE:
            raise NotFound("it holds no such file", located(tree, path))
        data = bytearray()
        stream = self._stream_after_manifest()
        self._check_front(stream, {})
        for branch, entries in zip(self.head.trees, self._trees, strict=True):
            before = entries[: entries.index(entry)] if branch.name == tree else entries
            self._tree(stream, branch.name, before, None)
            if branch.name == tree:
                break
        with self._naming(located(tree, entry.path)):
            stream.expect(header(outline.member(tree, entry)))
            self._content(stream, entry, None, lambda part: data.extend(part[: max(0, bytes_max - len(data))]))
        return bytes(data)

    def restore(self, stages: Mapping[str, str | Path], progress: Progress | None = None) -> Proved:
        """Restore trees into stages, folders that must not exist yet; all else is read and checked in the same pass.

        stages: the folder for each tree to restore, by the tree's name.
        progress: called now and then with the bytes of the file that have been read, and its size.

        Raises what `progress` raises, and as `Archive.restore`; then there are no stages.
        """
        self._progress = progress
        unknown = set(stages) - {branch.name for branch in self.head.trees}
        if unknown:
            raise NotFound(f"it holds no tree {min(unknown)!r}", where=str(self.path))
        made: list[Stage] = []
        with ExitStack() as opened:
            try:
                stream = self._stream_after_manifest()
                self._check_front(stream, {})
                for branch, entries in zip(self.head.trees, self._trees, strict=True):
                    stage = None
                    if branch.name in stages:
                        stage = Stage(Path(stages[branch.name]), branch.name)
                        opened.callback(stage.close)
                        made.append(stage)
                        stage.check_room(entries)
                        stage.make_folders(entries)
                    self._tree(stream, branch.name, entries, stage)
                    if stage is not None:
                        stage.finish(entries)
                with self._naming(outline.MANIFEST, "the end of the archive"):
                    stream.end()
            except BaseException:
                for stage in made:
                    stage.drop()
                raise
        count = sum(branch.entries for branch in self.head.trees)
        size = sum(branch.size for branch in self.head.trees)
        return Proved(self.head.snapshot, self.manifest, count, size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Export:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _stream(self) -> _Stream:
        self._file.seek(0)
        return _Stream(gzip_members.members(self._file))

    def _stream_after_manifest(self) -> _Stream:
        """A new stream, read past the manifest, which must be the same that `head` was read from."""
        stream = self._stream()
        with self._naming(str(self.path), outline.MANIFEST):
            if hashlib.sha256(self._manifest(stream)).hexdigest() != self.manifest:
                raise VerificationFailed("it was changed while it was read")
        return stream

    def _manifest(self, stream: _Stream) -> bytes | bytearray:
        first = stream.read(BLOCK)
        try:
            size, mtime = int(first[124:135], 8), int(first[136:147], 8)
        except ValueError:
            raise VerificationFailed("the first member is not the manifest") from None
        if header(Member(outline.MANIFEST.encode(), mtime=mtime * 1_000_000_000, size=size)) != first:
            raise VerificationFailed("the first member is not the manifest")
        long_paths = min(
            _LONG_PATHS_RATIO * self._size, 3 * LONG_PATHS_BYTES_MAX
        )  # a quoted byte takes three characters
        if size > _MANIFEST_BYTES + _MANIFEST_RATIO * self._size + long_paths:
            raise VerificationFailed(f"the manifest says that it has {size:,} bytes, too many for this archive")
        content = stream.read(size)
        stream.expect(padding(size))
        return content

    def _check_front(self, stream: _Stream, wanted: Mapping[str, Callable[[bytes], None]]) -> None:
        """Check SHA256SUMS and the extra files; the parts of extra files in `wanted` are handed to its functions."""
        mtime = self.head.taken_at // 1_000_000_000 * 1_000_000_000
        with self._naming(outline.SUMS):
            stream.expect(header(Member(outline.SUMS.encode(), mtime=mtime, size=len(self._expected))))
            stream.expect(self._expected)
            stream.expect(padding(len(self._expected)))
        for extra in self.head.extras:
            with self._naming(extra.name):
                stream.expect(header(Member(extra.name.encode(), mtime=mtime, size=extra.size)))
                digest = hashlib.sha256()
                for part in stream.parts(extra.size):
                    digest.update(part)
                    if extra.name in wanted:
                        wanted[extra.name](bytes(part))
                if digest.hexdigest() != extra.sha256:
                    raise VerificationFailed("the member is not what its digest says")
                stream.expect(padding(extra.size))

    def _tree(self, stream: _Stream, tree: str, entries: Sequence[Entry], stage: Stage | None) -> None:
        with Descent(stage.handle if stage is not None else -1) as descent:
            for entry in entries:
                with self._naming(located(tree, entry.path)):
                    stream.expect(header(outline.member(tree, entry)))
                    if entry.kind != FILE:
                        continue
                    if stage is None:
                        self._content(stream, entry, None)
                    else:
                        with stage.file(entry, descent) as handle:
                            self._content(stream, entry, handle)
                    stream.expect(padding(entry.size))
                if self._progress is not None:
                    self._progress(self._file.tell(), self._size)

    def _content(
        self, stream: _Stream, entry: Entry, handle: int | None, take: Callable[[memoryview], None] | None = None
    ) -> None:
        digest = hashlib.sha256()
        for piece in entry.pieces if entry.pieces is not None else [Piece(b"\0", entry.size)]:
            for part in stream.parts(piece.length):
                digest.update(part)
                if take is not None:
                    take(part)
                if not piece.digest and bytes(part).count(0) != len(part):
                    raise VerificationFailed("the member has data where it says that there is none")
                if handle is not None and piece.digest:
                    write_all(handle, part)
            if handle is not None and not piece.digest:
                os.lseek(handle, piece.length, os.SEEK_CUR)
        if digest.digest() != entry.digest:
            raise VerificationFailed("the member is not what its digest says")
        if handle is not None:
            os.ftruncate(handle, entry.size)

    @contextmanager
    def _naming(self, member: str, also: str = "") -> Iterator[None]:
        try:
            yield
        except VerificationFailed as error:
            if error.where:
                raise
            what = f"{also}: {error.what}" if also else error.what
            raise VerificationFailed(what, member, "do not trust this archive; fetch it again") from None


class _Stream:
    """A reader of any number of bytes from the unpacked tar."""

    def __init__(self, members: Iterator[bytes]) -> None:
        self._members = members
        self._data = memoryview(b"")

    def parts(self, size: int) -> Iterator[memoryview]:
        """Yield the next `size` bytes in parts. Raises `VerificationFailed` where they are missing or damaged."""
        while size:
            if not self._data:
                self._data = memoryview(self._more())
            part = self._data[:size]
            self._data = self._data[len(part) :]
            size -= len(part)
            yield part

    def read(self, size: int) -> bytes | bytearray:
        """The next `size` bytes at once."""
        content = bytearray()
        for part in self.parts(size):
            content += part
        return bytes(content) if size < 1 << 20 else content  # a large result is not copied

    def expect(self, content: bytes) -> None:
        """Check that the next bytes are `content`."""
        if content and self.read(len(content)) != content:
            raise VerificationFailed("the member is not as the manifest says")

    def end(self) -> None:
        """Check that the stream ends here, with the end-of-tar member."""
        if self._data or next(self._members, b"") != gzip_members.END_OF_TAR or next(self._members, None) is not None:
            raise VerificationFailed("the archive goes on after its last member")

    def _more(self) -> bytes:
        member = next(self._members, None)
        if member is None:
            raise VerificationFailed("the archive ends early")
        return member


def open_export(path: str | Path, limits: Limits | None = None) -> Export:
    """Open an export and check its manifest; a context. Raises as `Export` does."""
    return Export(path, limits or Limits())


def _opened(path: Path) -> BinaryIO:
    try:
        return files.opened(path, follow=True)
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(path)!r}") from None
    except files.NoFile as error:
        mend = "name the tar.gz that `maestro state snapshot --output` wrote"
        raise Invalid(f"{str(path)!r} is no export: {error.strerror}", mend=mend) from None
    except OSError as error:
        raise Refused(f"{str(path)!r} cannot be read: {error.strerror}") from None
