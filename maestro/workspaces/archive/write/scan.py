"""Scans a tree: lists every entry with its metadata, and has files read that changed since the last scan.

Folders are opened one below the other without following a link, so that nothing outside the tree is read, and looked at
again at the end: a folder whose names changed meanwhile is torn, as is a file that never held still.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import NamedTuple

from msgspec.structs import replace

from maestro.model.errors import Refused
from maestro.workspaces.archive.format.chunking import WHOLE_BYTES_MAX
from maestro.workspaces.archive.format.entries import FILE, FOLDER, GONE, HARDLINK, MOUNT, SYMLINK, UNREAD, Entry
from maestro.workspaces.archive.format.limits import HOLES_BYTES_MAX, keepable
from maestro.workspaces.archive.format.stat_cache import Seen, StatCache, is_racy, seen
from maestro.workspaces.archive.write.file_reader import Keep, holes_of, read_file, settled, xattrs
from maestro.workspaces.archive.write.readers import Readers
from maestro.workspaces.archive.write.reflink import read_reflink
from maestro.workspaces.descent import FOLDER_FLAGS, Descent
from maestro.workspaces.mappings import Mapped, Mappings
from maestro.workspaces.mounts import mounts_below

_PATH_BYTES = 4000
_NAMES = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Job = Callable[[Keep], None]


class ReadBackends(NamedTuple):
    """Who reads files for a scan. submit: has a large file read in a thread; readers: read the small ones.

    mappings: tell which files are mapped by a process.
    """

    submit: Callable[[Job], None]
    readers: Readers
    mappings: Mappings


class Scan:
    """One scan of the tree at `source`: `walk`, `gather`, and `finish` when everything given to `backends` is read.

    cache: what is known of the files; has: whether a chunk is still in the archive, otherwise its file is read again.
    wanted_bytes: of the files that must be read, as far as is known. After `finish`: entries (in order of path), known
        (the next stat cache), torn, left_out (sockets, pipes, devices), not_held (mount points), unread (what the
        system or the format refuses, and why). Raises `Refused` where the folder itself cannot be read.
    """

    def __init__(self, source: str, cache: StatCache, has: Callable[[bytes], bool], backends: ReadBackends) -> None:
        self.source = self.place = source
        self.entries: list[Entry] = []
        self.known: StatCache = {}
        self.torn: list[bytes] = []
        self.left_out: list[bytes] = []
        self.not_held: list[bytes] = []
        self.unread: dict[bytes, str] = {}
        self.files_read = 0
        self.wanted_bytes = 0
        self._asked = self._holes = 0
        self._cache, self._has, self._backends = cache, has, backends
        self._started = time.time_ns()
        self._device = _device_of(source)
        self._mapped = backends.mappings.before(os.fsencode(source), self._device)
        self._is_root = os.geteuid() == 0
        self._links: dict[tuple[int, int], list[Entry]] = {}
        self._mounts = frozenset(
            os.fsencode(os.path.relpath(place, source)) for place in mounts_below(source, is_walked=False)
        )
        self._folders: list[tuple[bytes, int]] = []
        self._read: list[Seen] = []
        self._reflinked: set[bytes] = set()
        self._stack = [b""]

    def walk(self, tick: Callable[[], None]) -> None:
        """List every folder, and have the files read that must be. tick: called for each folder."""
        try:
            top = os.open(self.source, FOLDER_FLAGS)
        except OSError as error:
            raise Refused(f"{self.source!r} cannot be read: {error.strerror}", where="workspace") from None
        try:
            with Descent(top) as descent:
                while self._stack:
                    self._enter(descent, self._stack.pop())
                    tick()
        finally:
            os.close(top)

    @property
    def found(self) -> int:
        """How many names were found so far."""
        return len(self.entries) + self._asked

    def gather(self, small: Sequence[Seen]) -> None:
        """Take in what the readers saw of small files, while large files may still be read."""
        self._asked = 0
        self.entries += [one.entry for one in small]
        self._read += small
        self.entries.sort(key=attrgetter("path"))

    def finish(self) -> None:
        """Put the results together, after all files were read."""
        mapped = self._backends.mappings.after(os.fsencode(self.source), self._device)
        for one in self._read:
            path, inode = one.entry.path, one.inode
            if one.entry.kind == MOUNT:
                self.not_held.append(path)
            elif one.entry.kind == UNREAD:
                self.unread[path] = one.entry.target.decode()
            elif not one.ctime or (path not in self._reflinked and self._is_live(mapped, path, inode)):
                self.torn.append(path)
            elif self._mapped.has(path, inode) or mapped.has(path, inode):
                continue  # a mapped file may change without a time stamp: read it next time too
            elif not is_racy(one.ctime, self._started):
                self.known[path] = one
        self.files_read = len(self._read)
        self._check_folders()
        linked = {group[0].path: group for group in self._links.values() if len(group) > 1}
        for entry in [entry for entry in self.entries if entry.path in linked] if linked else ():
            self._join_hard_links(entry, linked[entry.path])
        self.entries = [entry for entry in self.entries if entry.kind not in (GONE, MOUNT, UNREAD)]
        self.entries.sort(key=attrgetter("path"))
        self.entries, beyond = keepable(self.entries)
        self.unread |= beyond
        self.torn = sorted(set(self.torn))
        self.not_held.sort()

    def _is_live(self, after: Mapped, path: bytes, inode: int) -> bool:
        return self._mapped.is_live(path, inode) or after.is_live(path, inode)

    def _enter(self, descent: Descent, path: bytes) -> None:
        try:
            handle = descent.folder(path)
            found, is_calm = settled(handle)
        except OSError as error:
            self._cannot_enter(path, error)
            return
        entry = Entry(path, FOLDER, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns)
        self.entries.append(entry)
        try:
            entry.xattrs = xattrs(handle)
            self._list(handle, path)
        except OSError as error:
            self._cannot_enter(path, error)
            return
        self._folders.append((path, found.st_mtime_ns))
        if not is_calm:
            self.torn.append(path)

    def _cannot_enter(self, path: bytes, error: OSError) -> None:
        if not path:
            mend = "mend its permissions, or leave the workspace out"
            raise Refused(f"{self.source!r} cannot be read: {error.strerror}", "workspace", mend) from None
        if error.errno == errno.EXDEV:
            self.not_held.append(path)
        elif error.errno in _GONE:
            self.torn.append(path)
        else:
            self.unread[path] = error.strerror or str(error)

    def _list(self, handle: int, path: bytes) -> None:
        prefix = path + b"/" if path else b""
        with os.scandir(handle) as listed:
            for item in listed:
                name = item.name.encode(*_NAMES)  # as os.fsencode, but faster for a hundred thousand names
                if item.is_dir(follow_symlinks=False):
                    self._stack.append(prefix + name)
                    continue
                try:
                    found = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    self.torn.append(prefix + name)
                    continue
                self._record_or_read(handle, name, prefix + name, found)

    def _record_or_read(self, folder: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        """Record a name that is no folder, or have it read."""
        if path in self._mounts:
            self.not_held.append(path)
            return
        known = self._cache.get(path)
        if known is not None and not self._is_unchanged(path, found, known):
            known = None
        if known is not None and found.st_nlink == 1:
            self.known[path] = known
            self.entries.append(known.entry)
        elif stat.S_ISREG(found.st_mode):
            self._look_at_file(folder, name, path, (found, known))
        elif stat.S_ISLNK(found.st_mode):
            self._look_at_symlink(folder, name, path, found)
        else:
            self.left_out.append(path)

    def _is_unchanged(self, path: bytes, found: os.stat_result, known: Seen) -> bool:
        is_mapped = self._mapped.has(path, found.st_ino)
        return not is_mapped and known.is_unchanged(found) and self._has_content(known.entry)

    def _has_content(self, entry: Entry) -> bool:
        if entry.pieces:
            return all(not piece.digest or self._has(piece.digest) for piece in entry.pieces)
        return not entry.size or self._has(entry.digest)

    def _look_at_file(self, folder: int, name: bytes, path: bytes, there: tuple[os.stat_result, Seen | None]) -> None:
        found, known = there
        entry = Entry(path, FILE, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns)
        entry.size = found.st_size
        if found.st_nlink > 1:
            group = self._links.setdefault((found.st_dev, found.st_ino), [])
            group.append(entry)
            if len(group) > 1:
                return
        if known is None:
            self._request_read(folder, name, entry, self._mapped.is_live(path, found.st_ino))
            return
        entry.digest, entry.pieces, entry.xattrs = known.entry.digest, known.entry.pieces, known.entry.xattrs
        self.known[path] = known
        self.entries.append(entry)

    def _look_at_symlink(self, folder: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        entry = Entry(path, SYMLINK, 0o777, found.st_uid, found.st_gid, found.st_mtime_ns)
        try:
            entry.target = os.readlink(name, dir_fd=folder)
        except OSError:
            self.torn.append(path)
            return
        if self._is_root:  # only root can set attributes of symlinks
            entry.xattrs = xattrs(f"/proc/self/fd/{folder}/{os.fsdecode(name)}", follow=False)
        if not is_racy(found.st_ctime_ns, self._started):
            self.known[path] = seen(entry, found)
        self.entries.append(entry)

    def _request_read(self, folder: int, name: bytes, entry: Entry, is_live: bool) -> None:
        if entry.size > HOLES_BYTES_MAX // 256:
            self._holes += holes_of(folder, name)
            if self._holes > HOLES_BYTES_MAX:
                self.unread[entry.path] = (
                    f"the sparse files up to it have more than {HOLES_BYTES_MAX >> 30} GiB of holes"
                )
                return
        self.wanted_bytes += entry.size
        if is_live or entry.size > WHOLE_BYTES_MAX:
            self.entries.append(entry)
            self._submit(folder, name, entry, is_live)
        else:
            self._asked += 1
            self._backends.readers.read(os.fsencode(self.source), entry.path[: -len(name) - 1], name, entry.size)

    def _submit(self, folder: int, name: bytes, entry: Entry, is_live: bool) -> None:
        handle = os.dup(folder)
        known = self._cache.get(entry.path)
        before = known.entry.pieces if known is not None else None

        def read(keep: Keep) -> None:
            try:
                found = read_reflink(handle, name, entry, keep, before) if is_live else None
                if found is not None:
                    self._reflinked.add(entry.path)
                self._read.append(seen(entry, found or read_file(handle, name, entry, keep, before)))
            finally:
                os.close(handle)

        try:
            self._backends.submit(read)
        except BaseException:
            os.close(handle)
            raise

    def _check_folders(self) -> None:
        """Report folders as torn whose names changed since they were listed."""
        top = os.open(self.source, FOLDER_FLAGS)
        try:
            with Descent(top) as descent:
                for path, mtime in self._folders:
                    try:
                        if len(path) < _PATH_BYTES:  # where a parent became a link, the grandparent's mtime changed
                            found = os.stat(path or b".", dir_fd=top, follow_symlinks=False)
                        else:
                            found = os.fstat(descent.folder(path))
                        is_same = found.st_mtime_ns == mtime and stat.S_ISDIR(found.st_mode)
                    except OSError:
                        is_same = False
                    if not is_same:
                        self.torn.append(path)
        finally:
            os.close(top)

    def _join_hard_links(self, content: Entry, group: list[Entry]) -> None:
        """Of several names of one file, make the first in order the file, and the others hard links to it."""
        if content.kind != FILE:
            self.torn += [entry.path for entry in group[1:]]
            return
        known = self.known.get(content.path)
        paths = sorted(entry.path for entry in group)
        for path in paths:
            if known is not None:
                self.known[path] = Seen(replace(content, path=path), known.ctime, known.inode)
            if path != paths[0]:
                link = Entry(path, HARDLINK, content.mode, content.uid, content.gid, content.mtime)
                link.target = paths[0]
                self.entries.append(link)
        content.path = paths[0]


def _device_of(folder: str) -> int:
    try:
        return os.stat(folder).st_dev  # noqa: PTH116 - a number is wanted
    except OSError:
        return 0  # `walk` reports what is wrong with the folder
