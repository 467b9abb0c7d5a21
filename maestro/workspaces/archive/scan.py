"""Walking a tree: every entry with its metadata; what has not been touched since the last time is not read again.

Directories are opened one below the other without following a link, so that nothing outside of the tree is read, and
looked at again at the end: one whose names changed meanwhile is torn, as is a file that never held still.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable

from maestro.model.errors import Refused
from maestro.workspaces.archive.descent import FOLDER_FLAGS, Descent
from maestro.workspaces.archive.entries import FILE, FOLDER, HARDLINK, SYMLINK, Entry
from maestro.workspaces.archive.reading import Keep, read_file, settled, xattrs
from maestro.workspaces.archive.statcache import Known, StatCache, is_racy

_BATCH_FILES, _BATCH_BYTES = 64, 1 << 20
_PATH_BYTES = 4000
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

Job = Callable[[Keep], None]
Batch = list[tuple[bytes, Entry]]


class Scan:
    """One look at the tree at `source`. Give jobs that read files to `submit`; when all are done, call `finish`.

    cache: what is known of the files; has: whether a chunk is still kept, else its file is read again.
    wanted_bytes: of the files that must be read, as far as is known. After `finish`: entries (in order of path), known
    (for the next time), torn, left_out. Raises `Refused`.
    """

    def __init__(
        self, source: str, cache: StatCache, has: Callable[[bytes], bool], submit: Callable[[Job], None]
    ) -> None:
        self.source = source
        self.entries: list[Entry] = []
        self.known: StatCache = {}
        self.torn: list[bytes] = []
        self.left_out: list[bytes] = []
        self.files_read = 0
        self.wanted_bytes = 0
        self._cache, self._has, self._submit = cache, has, submit
        self._started = time.time_ns()
        self._is_root = os.geteuid() == 0
        self._links: dict[int, list[Entry]] = {}
        self._folders: list[tuple[bytes, int]] = []
        self._read: list[tuple[Entry, os.stat_result | None]] = []
        self._stack = [b""]

    def walk(self) -> None:
        """List every folder; files that must be read become jobs."""
        try:
            top = os.open(self.source, FOLDER_FLAGS)
        except OSError as error:
            raise Refused(f"{self.source!r} cannot be read: {error.strerror}", where="workspace") from None
        try:
            with Descent(top) as descent:
                device = os.fstat(top).st_dev
                while self._stack:
                    self._enter(descent, self._stack.pop(), device)
        finally:
            os.close(top)

    def finish(self) -> None:
        """Put together what was read, after every job is done."""
        for entry, found in self._read:
            if found is None:
                self.torn.append(entry.path)
            elif not is_racy(found.st_ctime_ns, self._started):
                self.known[entry.path] = _known(entry, found)
        self.files_read = len(self._read)
        self._check_folders()
        for group in self._links.values():
            self._join(group)
        self.entries = [entry for entry in self.entries if entry.kind]
        self.entries.sort(key=lambda entry: entry.path)
        self.torn = sorted(set(self.torn))

    def _enter(self, descent: Descent, path: bytes, device: int) -> None:
        try:
            handle = descent.folder(path)
            found, is_calm = settled(handle)
            entry = Entry(path, FOLDER, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns)
            if found.st_dev != device:
                self.left_out.append(path)  # another file system: the place is kept, not what is mounted there
                self.entries.append(entry)
                return
            entry.xattrs = xattrs(handle)
            self._list(handle, path)
        except OSError as error:
            if path and error.errno in _GONE:
                self.torn.append(path)
                return
            what = f"{os.fsdecode(path) or self.source!r} cannot be read: {error.strerror}"
            raise Refused(what, where="workspace", mend="mend its permissions, or leave the workspace out") from None
        self.entries.append(entry)
        self._folders.append((path, found.st_mtime_ns))
        if not is_calm:
            self.torn.append(path)

    def _list(self, handle: int, path: bytes) -> None:
        prefix = path + b"/" if path else b""
        batch: Batch = []
        size = 0
        with os.scandir(handle) as listed:
            for item in listed:
                name = os.fsencode(item.name)
                if item.is_dir(follow_symlinks=False):
                    self._stack.append(prefix + name)
                    continue
                try:
                    found = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    self.torn.append(prefix + name)
                    continue
                entry = self._look(handle, name, prefix + name, found)
                if entry is not None:
                    batch.append((name, entry))
                    size += found.st_size
                    self.wanted_bytes += found.st_size
                    if len(batch) >= _BATCH_FILES or size >= _BATCH_BYTES:
                        self._hand_out(handle, batch)
                        batch, size = [], 0
        if batch:
            self._hand_out(handle, batch)

    def _look(self, folder: int, name: bytes, path: bytes, found: os.stat_result) -> Entry | None:
        """Record one name that is no folder; its entry where it has to be read."""
        kind = stat.S_IFMT(found.st_mode)
        if kind == stat.S_IFLNK:
            self._record_symlink(folder, name, path, found)
            return None
        if kind != stat.S_IFREG:
            self.left_out.append(path)
            return None
        entry = Entry(path, FILE, found.st_mode & 0o7777, found.st_uid, found.st_gid, found.st_mtime_ns, found.st_size)
        if found.st_nlink > 1:
            group = self._links.setdefault(found.st_ino, [])
            group.append(entry)
            if len(group) > 1:
                return None
        self.entries.append(entry)
        known = self._cache.get(path)
        if known is None or not known.is_still(found):
            return entry
        if not (found.st_size == 0 or (self._still_has(known) if known.pieces else self._has(known.digest))):
            return entry
        entry.digest, entry.pieces, entry.xattrs = known.digest, known.pieces, known.xattrs
        self.known[path] = known
        return None

    def _still_has(self, known: Known) -> bool:
        return all(not piece.digest or self._has(piece.digest) for piece in known.pieces or ())

    def _record_symlink(self, folder: int, name: bytes, path: bytes, found: os.stat_result) -> None:
        known = self._cache.get(path)
        if known is None or not known.is_still(found):
            try:
                target = os.readlink(name, dir_fd=folder)
            except OSError:
                self.torn.append(path)
                return
            attributes = None
            if self._is_root:  # nobody else can give a symlink any
                attributes = xattrs(f"/proc/self/fd/{folder}/{os.fsdecode(name)}", follow=False)
            known = Known(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, target=target)
            known.xattrs = attributes
        if not is_racy(found.st_ctime_ns, self._started):
            self.known[path] = known
        entry = Entry(path, SYMLINK, 0o777, found.st_uid, found.st_gid, found.st_mtime_ns)
        entry.target, entry.xattrs = known.target, known.xattrs
        self.entries.append(entry)

    def _hand_out(self, folder: int, batch: Batch) -> None:
        handle = os.dup(folder)

        def read(keep: Keep) -> None:
            try:
                for name, entry in batch:
                    known = self._cache.get(entry.path)
                    before = known.pieces if known is not None else None
                    self._read.append((entry, read_file(handle, name, entry, keep, before)))
            finally:
                os.close(handle)

        try:
            self._submit(read)
        except BaseException:
            os.close(handle)
            raise

    def _check_folders(self) -> None:
        top = os.open(self.source, FOLDER_FLAGS)
        try:
            with Descent(top) as descent:
                for path, mtime in self._folders:
                    try:
                        if len(path) < _PATH_BYTES:  # a folder above that was exchanged for a link changes its own
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

    def _join(self, group: list[Entry]) -> None:
        """Several names of one file: the first in order has the content, the others are links to it."""
        content = group[0]
        if len(group) == 1 or not content.kind:
            return
        known = self.known.get(content.path)
        group.sort(key=lambda entry: entry.path)
        first, paths = group[0].path, [entry.path for entry in group]
        content.path = first
        for path in paths:
            if known is not None:
                self.known[path] = known
            if path != first:
                link = Entry(path, HARDLINK, content.mode, content.uid, content.gid, content.mtime, target=first)
                self.entries.append(link)


def _known(entry: Entry, found: os.stat_result) -> Known:
    return Known(
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        found.st_ino,
        entry.digest,
        entry.pieces,
        xattrs=entry.xattrs,
    )
