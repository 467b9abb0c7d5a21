"""What a restore would change in a folder: compared by content, with the stat cache to spare most of the reading."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from maestro.workspaces.archive.format.entries import FILE, FOLDER, Entry
from maestro.workspaces.archive.format.stat_cache import StatCache
from maestro.workspaces.archive.parallel.thread_pool import Crew
from maestro.workspaces.archive.write.readers import Readers
from maestro.workspaces.archive.write.scan import Hands, Job, Scan
from maestro.workspaces.mappings import Mappings


class Change(msgspec.Struct, frozen=True):
    """A name that a restore would add, change or delete. path: relative, as `os.fsdecode` gives it; bytes: of the file
    that it would put there, or delete."""

    path: str
    kind: str
    bytes: int


class Diff(msgspec.Struct, frozen=True):
    """What a restore would do to a folder. added: missing there now; deleted: not in the snapshot, so lost.

    unchanged: how many files and links are what they must be already; folders are not counted.
    """

    added: list[Change]
    changed: list[Change]
    deleted: list[Change]
    unchanged: int
    unchanged_bytes: int


def diff(wanted: Sequence[Entry], source: str, cache: StatCache) -> Diff:
    """Compare what a snapshot holds with the folder at `source`, absent or not. Raises `Refused`."""
    now = {entry.path: entry for entry in _entries(source, cache)} if os.path.lexists(source) else {}
    added, changed = [], []
    unchanged = unchanged_bytes = 0
    is_root = os.geteuid() == 0
    for entry in wanted:
        there = now.pop(entry.path, None)
        if there is None:
            added.append(_change(entry))
        elif _is_like(entry, there, is_root):
            unchanged += entry.kind != FOLDER
            unchanged_bytes += entry.size
        else:
            changed.append(_change(entry))
    return Diff(added, changed, [_change(entry) for entry in now.values()], unchanged, unchanged_bytes)


def _entries(source: str, cache: StatCache) -> list[Entry]:
    with Crew[None](lambda: None) as crew:

        def submit(job: Job) -> None:
            crew.submit(lambda _: job(_forget))

        readers = Readers(None, _forget)
        scan = Scan(source, cache, lambda _: True, Hands(submit, readers, Mappings()))
        scan.walk(crew.go_on)
        scan.gather(readers.wait(crew.go_on))
    scan.finish()
    return scan.entries


def _forget(digest: bytes, data: bytes | memoryview) -> None:
    """Only the digest is wanted."""


def _is_like(wanted: Entry, now: Entry, is_root: bool) -> bool:
    if (wanted.kind, wanted.mode, wanted.xattrs, wanted.target) != (now.kind, now.mode, now.xattrs, now.target):
        return False
    if is_root and (wanted.uid, wanted.gid) != (now.uid, now.gid):
        return False
    if wanted.kind == FOLDER:
        return True  # its time says only that names in it changed, and those are told themselves
    return wanted.mtime == now.mtime and (wanted.kind != FILE or wanted.digest == now.digest)


def _change(entry: Entry) -> Change:
    return Change(os.fsdecode(entry.path), entry.kind, entry.size)
