"""The stat cache: what each file held when it was last read, so that an untouched file is not read again.

A file counts as untouched where size, mtime, ctime and inode are the same. No process can set ctime, so resetting the
mtime deceives nobody. Racy files are not cached: where ctime lies too near to the moment of the look, the file could
change once more under the same ctime.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from maestro.workspaces.archive.format.entries import FILE, HARDLINK, SYMLINK, Entry
from maestro.workspaces.archive.format.index import read_checked, write_checked
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.descent import FOLDER_FLAGS, Descent

_TICK_NS = 50_000_000  # a kernel stamps times with its last tick: 10 ms old at the most
_COARSE_NS = 2_100_000_000  # file systems without fractions of a second: 2 s is the coarsest


class Seen(msgspec.Struct, array_like=True, gc=False):
    """A file or symlink as it was read; one that vanished has the kind GONE.

    ctime (ns), inode: of the file; 0 where the file is torn.
    """

    entry: Entry
    ctime: int
    inode: int

    def is_unchanged(self, found: os.stat_result) -> bool:
        """Whether `found`, the file's status now, shows that it has not been touched since it was read."""
        entry = self.entry
        return (
            self.ctime == found.st_ctime_ns
            and entry.mtime == found.st_mtime_ns
            and self.inode == found.st_ino
            and (entry.size == found.st_size or entry.kind == SYMLINK)
        )


def seen(entry: Entry, found: os.stat_result | None) -> Seen:
    """The record of an entry. found: the file's status when it was read, None where it is torn."""
    return Seen(entry, found.st_ctime_ns, found.st_ino) if found is not None else Seen(entry, 0, 0)


StatCache = dict[bytes, Seen]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Seen])


def is_racy(ctime: int, looked_at: int) -> bool:
    """Whether a change after the look could have left this ctime as it is.

    ctime, looked_at: Unix times in ns.
    """
    return ctime >= looked_at - (_TICK_NS if ctime % 1_000_000 else _COARSE_NS)


def load(layout: Layout, source: str) -> StatCache:
    """The cache of the tree at `source`; empty where it is missing or damaged."""
    content = read_checked(path_of(layout, source))
    try:
        return {} if content is None else {one.entry.path: one for one in _decoder.decode(content)}
    except msgspec.MsgspecError:
        return {}


def save(layout: Layout, source: str, known: StatCache) -> None:
    """Write the cache of the tree at `source`. A disk that refuses is ignored."""
    write_checked(layout, path_of(layout, source), _encoder.encode(list(known.values())))


def known_of(source: str, entries: Sequence[Entry]) -> StatCache:
    """A cache for the tree at `source`, which has just been restored from these entries.

    Only files whose size and mtime match their entry, and that are not racy, are in it.
    """
    now = time.time_ns()
    contents = {entry.path: entry for entry in entries if entry.kind == FILE}
    known: StatCache = {}
    top = os.open(source, FOLDER_FLAGS)
    try:
        with Descent(top) as descent:
            for entry in entries:
                content = contents.get(entry.target if entry.kind == HARDLINK else entry.path)
                above, _, name = entry.path.rpartition(b"/")
                if content is None:
                    continue
                try:
                    found = os.stat(name, dir_fd=descent.folder(above), follow_symlinks=False)
                except OSError:
                    continue
                is_like = found.st_size == content.size and found.st_mtime_ns == content.mtime
                if is_like and stat.S_ISREG(found.st_mode) and not is_racy(found.st_ctime_ns, now):
                    mode, uid, gid = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
                    there = Entry(entry.path, FILE, mode, uid, gid, found.st_mtime_ns, found.st_size, content.digest)
                    there.pieces, there.xattrs = content.pieces, content.xattrs
                    known[entry.path] = seen(there, found)
    finally:
        os.close(top)
    return known


def path_of(layout: Layout, source: str) -> Path:
    """The path of the cache of the tree at `source`."""
    return layout.caches / f"stat-{hashlib.sha256(os.fsencode(source)).hexdigest()[:32]}"
