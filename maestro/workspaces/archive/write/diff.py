"""What a restore would change in a folder: compared by content, with the stat cache to avoid most of the reading."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from maestro.workspaces.archive.format.entries import FILE, FOLDER, Entry
from maestro.workspaces.archive.format.stat_cache import StatCache
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool
from maestro.workspaces.archive.write.readers import Readers
from maestro.workspaces.archive.write.scan import Job, ReadBackends, Scan
from maestro.workspaces.mappings import Mapped, Mappings


class Change(msgspec.Struct, frozen=True):
    """A name that a restore would add, change or delete.

    path: relative, as `os.fsdecode` gives it.
    bytes: of the file that the restore would write or delete.
    """

    path: str
    kind: str
    bytes: int


class Diff(msgspec.Struct, frozen=True):
    """What a restore would change in a folder.

    added: missing in the folder now.
    deleted: in the folder but not in the snapshot, so the restore would delete it.
    unchanged: how many files and links match already; folders are not counted. touched: folders that match but for
        the time of their last change, which a restore puts back, too.
    """

    added: list[Change]
    changed: list[Change]
    deleted: list[Change]
    unchanged: int
    unchanged_bytes: int
    touched: int = 0

    @property
    def is_same(self) -> bool:
        """Whether the folder is exactly what the restore would make of it."""
        return not (self.added or self.changed or self.deleted or self.touched)


class Glances(Mappings):
    """Mapped files as a diff asks for them: before a tree only, as nothing of what it saw is remembered."""

    def after(self, tree: bytes, device: int) -> Mapped:  # noqa: ARG002
        """No files: see the class."""
        return Mapped(frozenset(), frozenset(), frozenset(), frozenset())


def diff(wanted: Sequence[Entry], source: str, cache: StatCache, glances: Glances | None = None) -> Diff:
    """Compare entries of a snapshot with the folder at `source`, which may be absent. Raises `Refused`.

    glances: shared by the diffs of many folders.
    """
    is_there = os.path.lexists(source)
    now = {entry.path: entry for entry in _entries(source, cache, glances or Glances())} if is_there else {}
    added, changed = [], []
    unchanged = unchanged_bytes = touched = 0
    is_root = os.geteuid() == 0
    for entry in wanted:
        there = now.pop(entry.path, None)
        if there is None:
            added.append(_change(entry))
        elif _is_like(entry, there, is_root):
            unchanged += entry.kind != FOLDER
            touched += entry.mtime != there.mtime
            unchanged_bytes += entry.size
        else:
            changed.append(_change(entry))
    deleted = [_change(entry) for entry in now.values()]
    return Diff(added, changed, deleted, unchanged, unchanged_bytes, touched)


def _entries(source: str, cache: StatCache, glances: Glances) -> list[Entry]:
    with ThreadPool[None](lambda: None) as pool:

        def submit(job: Job) -> None:
            pool.submit(lambda _: job(_forget))

        readers = Readers(None, _forget)
        scan = Scan(source, cache, lambda _: True, ReadBackends(submit, readers, glances))
        scan.walk(pool.raise_failure)
        scan.gather(readers.wait(pool.raise_failure))
    scan.finish()
    return scan.entries


def _forget(digest: bytes, data: bytes | memoryview) -> None:
    """Discard a chunk: a diff needs digests only."""


def _is_like(wanted: Entry, now: Entry, is_root: bool) -> bool:
    if (wanted.kind, wanted.mode, wanted.xattrs, wanted.target) != (now.kind, now.mode, now.xattrs, now.target):
        return False
    if is_root and (wanted.uid, wanted.gid) != (now.uid, now.gid):
        return False
    if wanted.kind == FOLDER:
        return True  # a folder's mtime changes with its names, which are reported themselves
    return wanted.mtime == now.mtime and (wanted.kind != FILE or wanted.digest == now.digest)


def _change(entry: Entry) -> Change:
    return Change(os.fsdecode(entry.path), entry.kind, entry.size)
