"""A stage: the 0700 folder into which a tree is restored before it replaces another one.

Everything is created through descriptors of folders that the stage itself has made, without following a link and
without replacing an existing name. Links come last, so that nothing can be written through one. `entries.check` has
approved the entries before; the stage stays safe even where it has not.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, SYMLINK, Entry, located
from maestro.workspaces.archive.format.layout import disk_refusal
from maestro.workspaces.archive.format.packs import Block
from maestro.workspaces.archive.read.contents import Contents, small_files
from maestro.workspaces.cleaning import remove_tree
from maestro.workspaces.descent import FOLDER_FLAGS, Descent

_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PER_ENTRY_BYTES = 1024
_HOSTILE = (errno.EEXIST, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR, errno.EILSEQ)


class Stage:
    """A new folder at `path` for the tree called `name`. Raises `Refused` where it cannot be made.

    is_new: False opens a folder that another process has made.
    """

    def __init__(self, path: Path, name: str, *, is_new: bool = True) -> None:
        self.path, self.name = path, name
        self.is_root = os.geteuid() == 0
        try:
            if is_new:
                path.mkdir(mode=0o700)
            self.handle = os.open(path, FOLDER_FLAGS)
        except OSError as error:
            raise Refused(f"the stage {str(path)!r} cannot be made: {error.strerror}", where=name) from None

    def check_room(self, entries: Sequence[Entry]) -> None:
        """Check that the disk has room for these entries. Raises `Refused`."""
        needed = sum(_disk_bytes(entry) for entry in entries)
        found = os.statvfs(self.path)
        free = found.f_bavail * found.f_frsize
        if needed > free:
            what = f"{needed:,} bytes are needed and {free:,} are free"
            raise Refused(what, where=str(self.path.parent), mend="make room, then try again")

    def make_folders(self, entries: Sequence[Entry]) -> None:
        """Make every folder of the tree, with mode 0700 until `finish`."""
        with Descent(self.handle) as descent:
            for entry in entries:
                if entry.kind == FOLDER and entry.path:
                    above, _, name = entry.path.rpartition(b"/")
                    with self.naming(entry):
                        os.mkdir(name, 0o700, dir_fd=descent.folder(above))

    def finish(self, entries: Sequence[Entry]) -> None:
        """After all files: make hard links, then symlinks, then set the metadata of folders, the deepest first."""
        with Descent(self.handle) as descent, Descent(self.handle) as other:
            for entry in entries:
                if entry.kind == HARDLINK:
                    with self.naming(entry):
                        self._link(entry, descent, other)
            for entry in entries:
                if entry.kind == SYMLINK:
                    with self.naming(entry):
                        self._symlink(entry, descent)
            for entry in reversed(entries):
                if entry.kind == FOLDER:
                    with self.naming(entry):
                        self.set_metadata(descent.folder(entry.path), entry)

    @contextmanager
    def file(self, entry: Entry, descent: Descent) -> Iterator[int]:
        """A descriptor of a new, empty file; its metadata is set when the context ends."""
        above, _, name = entry.path.rpartition(b"/")
        with self.naming(entry):
            handle = os.open(name, _FILE_FLAGS, 0o600, dir_fd=descent.folder(above))
            try:
                yield handle
                self.set_metadata(handle, entry)
            finally:
                os.close(handle)

    def write(self, entry: Entry, content: bytes, descent: Descent) -> None:
        """Write a file of one chunk, with its metadata: as `file`, without what that costs for ten thousand files."""
        above, _, name = entry.path.rpartition(b"/")
        try:
            handle = os.open(name, _FILE_FLAGS, 0o600, dir_fd=descent.folder(above))
            try:
                write_all(handle, content)
                self.set_metadata(handle, entry)
            finally:
                os.close(handle)
        except OSError as error:
            raise self._refusal(entry, error) from None

    def set_metadata(self, handle: int, entry: Entry) -> None:
        """Set owner (as root), attributes, mode and times: in this order, as each may undo the ones after it."""
        if self.is_root:
            try:
                os.fchown(handle, entry.uid, entry.gid)
            except OSError as error:
                _check_unmapped(error)
        for name, value in (entry.xattrs or {}).items():
            _set_xattr(handle, name, value)
        os.fchmod(handle, entry.mode)
        os.utime(handle, ns=(entry.mtime, entry.mtime))

    def _link(self, entry: Entry, descent: Descent, other: Descent) -> None:
        above, _, name = entry.path.rpartition(b"/")
        above_target, _, target = entry.target.rpartition(b"/")
        source = other.folder(above_target)
        if not stat.S_ISREG(os.stat(target, dir_fd=source, follow_symlinks=False).st_mode):
            raise VerificationFailed("it is a hardlink to no file", where=located(self.name, entry.path))
        os.link(target, name, src_dir_fd=source, dst_dir_fd=descent.folder(above), follow_symlinks=False)

    def _symlink(self, entry: Entry, descent: Descent) -> None:
        above, _, name = entry.path.rpartition(b"/")
        folder = descent.folder(above)
        os.symlink(entry.target, name, dir_fd=folder)
        if self.is_root:
            try:
                os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                _check_unmapped(error)
        for attribute, value in (entry.xattrs or {}).items():
            place = f"/proc/self/fd/{folder}/{os.fsdecode(name)}"
            _set_xattr(place, attribute, value, follow=False)
        os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)

    @contextmanager
    def naming(self, entry: Entry) -> Iterator[None]:
        """Raise an `OSError` from inside the block as a refusal with the name of the member."""
        try:
            yield
        except OSError as error:
            raise self._refusal(entry, error) from None

    def _refusal(self, entry: Entry, error: OSError) -> MaestroError:
        where = located(self.name, entry.path)
        if error.errno in _HOSTILE:
            what = f"the member cannot be put into its tree: {error.strerror}"
            return VerificationFailed(what, where, "do not trust this archive")
        refusal = disk_refusal(error, self.path)
        return Refused(f"{refusal.where} {refusal.what}", where, refusal.mend)

    def close(self) -> None:
        """Close the stage's descriptor; the folder stays."""
        os.close(self.handle)

    def drop(self) -> None:
        """Remove the folder with its content."""
        with suppress(MaestroError):
            remove_tree(self.path)


def _check_unmapped(error: OSError) -> None:
    """Raise an error of chown, but for ids that the container's user namespace lacks: the file keeps its owner then."""
    if error.errno not in (errno.EINVAL, errno.EPERM):
        raise error


def write_block(stage: Stage, contents: Contents, part: tuple[Block, Sequence[Entry]], descent: Descent) -> None:
    """Write the files of one chunk that lie in a block."""
    for entry, content in small_files(contents, stage.name, *part):
        stage.write(entry, content, descent)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the file's position."""
    written = os.write(handle, data)
    while written < len(data):
        written += os.write(handle, memoryview(data)[written:])


def _disk_bytes(entry: Entry) -> int:
    if entry.kind != FILE:
        return _PER_ENTRY_BYTES
    return _PER_ENTRY_BYTES + sum(piece.length for piece in entry.parts() if piece.digest)


def _set_xattr(place: int | str, name: bytes, value: bytes, *, follow: bool = True) -> None:
    """Set an extended attribute; skip one that this user may not set, or that the file system does not support."""
    if not hasattr(os, "setxattr"):
        return
    try:
        os.setxattr(place, name, value, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
            raise
