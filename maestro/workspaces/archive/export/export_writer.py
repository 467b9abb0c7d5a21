"""Writes a snapshot to one tar.gz that `tar` and `sha256sum` understand, and that Maestro can verify completely."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from maestro import files
from maestro.durable import remove_unlocked, sync_folder, try_lock
from maestro.model.errors import Invalid, Refused, VerificationFailed
from maestro.workspaces.archive.export import outline
from maestro.workspaces.archive.export.gzip_members import GzipWriter
from maestro.workspaces.archive.export.tar_headers import Member, header, padded, padding
from maestro.workspaces.archive.format import index as indexes, manifests
from maestro.workspaces.archive.format.entries import FILE, FORMAT, Entry, are_tree_names
from maestro.workspaces.archive.format.layout import Layout, disk_refusal
from maestro.workspaces.archive.read.contents import Contents, naming
from maestro.workspaces.archive.read.verification import checked_entries

_COPY_BYTES = 1 << 20
_ZEROS = bytes(1 << 20)

Source = bytes | Path
Progress = Callable[[int, int], None]


class Exported(msgspec.Struct, frozen=True):
    """An export that was written. sha256, bytes: of the whole file."""

    path: str
    snapshot: str
    sha256: str
    bytes: int


def export(
    layout: Layout, snapshot: str, out: Path, extras: Sequence[tuple[str, Source]], progress: Progress | None = None
) -> Exported:
    """Write a snapshot to `out`. The caller holds `layout.shared()`. See `library.Archive.export`."""
    manifest, digest = manifests.read(layout, snapshot)
    names = [*(tree.name for tree in manifest.trees), *(name for name, _ in extras), outline.MANIFEST, outline.SUMS]
    if not are_tree_names(names):
        raise Invalid(f"these names cannot be together in an export: {sorted(names)}")
    contents = Contents(layout, indexes.load(layout))
    try:
        trees = [checked_entries(contents, tree) for tree in manifest.trees]
        branches = [
            outline.Branch(
                tree.name,
                outline.quoted(tree.source),
                tree.entries,
                tree.size,
                [outline.quoted(path) for path in tree.left_out],
                [outline.quoted(path) for path in tree.torn],
            )
            for tree in manifest.trees
        ]
        measured = [_measured(name, source) for name, source in extras]
        head = outline.Head(FORMAT, snapshot, digest, manifest.taken_at, manifest.meta, branches, measured)
        total = sum(branch.size for branch in branches)
        with _Output(out) as output:

            def write(data: bytes) -> None:
                output.write(data)
                if progress is not None:
                    progress(min(writer.bytes, total), total)

            writer = GzipWriter(write)
            try:
                _write(writer, head, trees, [source for _, source in extras], contents)
            finally:
                writer.close()
            output.place()
        return Exported(str(out), snapshot, output.digest.hexdigest(), output.size)
    finally:
        contents.close()


def _write(
    writer: GzipWriter,
    head: outline.Head,
    trees: Sequence[Sequence[Entry]],
    extras: Sequence[Source],
    contents: Contents,
) -> None:
    seconds = head.taken_at // 1_000_000_000 * 1_000_000_000
    manifest = outline.encode(head, trees)
    for name, content in ((outline.MANIFEST, manifest), (outline.SUMS, outline.sums(head, trees, manifest))):
        writer.write(header(Member(name.encode(), mtime=seconds, size=len(content))) + padded(content))
        writer.cut()
    for extra, source in zip(head.extras, extras, strict=True):
        writer.write(header(Member(extra.name.encode(), mtime=seconds, size=extra.size)))
        _copy(writer.write, extra, source)
        writer.write(padding(extra.size))
    writer.cut()
    for branch, entries in zip(head.trees, trees, strict=True):
        for entry in entries:
            writer.write(header(outline.member(branch.name, entry)))
            if entry.kind == FILE and entry.size:
                with naming(branch.name, entry):
                    _write_file(writer, contents, entry)
    writer.finish()


def _write_file(writer: GzipWriter, contents: Contents, entry: Entry) -> None:
    whole = hashlib.sha256()
    for piece in entry.parts():
        if piece.digest:
            data = contents.chunk(piece.digest)
            whole.update(data)
            writer.write(data)
            continue
        for at in range(0, piece.length, len(_ZEROS)):
            zeros = memoryview(_ZEROS)[: piece.length - at]
            whole.update(zeros)
            writer.write(zeros)
    if whole.digest() != entry.digest:
        raise VerificationFailed("the member is not what its digest says")
    writer.write(padding(entry.size))


def sweep(out: Path) -> None:
    """Remove the temporary files beside `out` of exports that were killed. Raises `OSError`."""
    prefix = _prefix(out)
    for path in out.parent.iterdir():
        if path.name.startswith(prefix):
            remove_unlocked(path)


def _prefix(out: Path) -> str:
    return f".{out.name[:80]}.maestro-"


class _Output:
    """The file at `out`, as a context: written under a temporary name, which `place` renames to `out`.

    Temporary files of exports to `out` that were killed are removed first.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self.digest = hashlib.sha256()
        self.size = 0
        if out.is_dir() or not out.name:
            raise Invalid(f"{str(out)!r} is a folder", where="--output", mend="name a file in it")
        try:
            sweep(out)
            self._path = out.with_name(f"{_prefix(out)}{secrets.token_hex(6)}")
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try_lock(self._handle)  # nobody else has it: it was made just now
        except OSError as error:
            raise Refused(f"{str(out)!r} cannot be written: {error.strerror}", where="--output") from None

    def write(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            raise disk_refusal(error, self._out) from None

    def place(self) -> None:
        try:
            os.fsync(self._handle)
            self._path.rename(self._out)
            sync_folder(self._out.parent)
        except OSError as error:
            raise disk_refusal(error, self._out) from None

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._handle)


def _measured(name: str, source: Source) -> outline.Extra:
    """The size and digest of an extra file, which the manifest needs before the file is copied."""
    digest = hashlib.sha256()
    size = 0
    for part in _parts(name, source):
        digest.update(part)
        size += len(part)
    return outline.Extra(name, size, digest.hexdigest())


def _copy(write: Callable[[bytes], None], extra: outline.Extra, source: Source) -> None:
    """Copy an extra file into the export; refuse one that changed since it was measured."""
    digest = hashlib.sha256()
    for part in _parts(extra.name, source):
        digest.update(part)
        write(part)
    if digest.hexdigest() != extra.sha256:
        raise Refused("it changed while it was read", where=extra.name, mend="try again")


def _parts(name: str, source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with files.opened(source) as file:
            while part := file.read(_COPY_BYTES):
                yield part
    except OSError as error:
        raise Refused(f"{str(source)!r} cannot be read: {error.strerror}", where=name) from None
