"""Putting a tree of a snapshot into a stage: folders, files by block on all threads, then links, then what folders are
like. Every byte is checked as it is written; a failure leaves no stage.

`reuse` names the tree as it is now: a file there that is still exactly what the snapshot says (by the stat cache) gets
a second name in the stage instead of a copy, so that going back by a few files costs a few files.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from functools import partial
from itertools import starmap
from pathlib import Path

import msgspec

from maestro.workspaces.archive import index as indexes
from maestro.workspaces.archive import manifests, statcache
from maestro.workspaces.archive.contents import Contents, Plan, long_file, planned
from maestro.workspaces.archive.crew import Crew
from maestro.workspaces.archive.descent import FOLDER_FLAGS, Descent
from maestro.workspaces.archive.entries import FILE, HARDLINK, Entry
from maestro.workspaces.archive.layout import Layout
from maestro.workspaces.archive.sharing import Part, Parts, Sharing
from maestro.workspaces.archive.stage import Stage, write_all, write_block
from maestro.workspaces.archive.statcache import StatCache
from maestro.workspaces.archive.verifying import checked_entries
from maestro.workspaces.mappings import Mappings


class Restored(msgspec.Struct, frozen=True):
    """A tree in its stage. bytes: of all files; reused: files that are the ones that were there already."""

    name: str
    entries: int
    bytes: int
    reused: int


def restore(layout: Layout, snapshot: str, name: str, stage_dir: Path, reuse: str | None = None) -> Restored:
    """Put a tree into `stage_dir`, which must not be there. Hold `layout.shared()`. See `library.Archive.restore`."""
    manifest, _ = manifests.read(layout, snapshot)
    tree = manifest.tree(name)
    contents = Contents(layout, indexes.load(layout))
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        entries = checked_entries(contents, tree)
        stage = Stage(stage_dir, name)
        try:
            cache = statcache.load(layout, reuse) if reuse is not None else {}
            reused = _fill(layout, stage, contents, (entries, reuse, cache))
        except BaseException:
            stage.drop()
            raise
        finally:
            stage.close()
    finally:
        contents.close()
        if was_enabled:
            gc.enable()
    return Restored(name, len(entries), tree.size, reused)


def entries_of(layout: Layout, snapshot: str, name: str) -> list[Entry]:
    """The entries of a tree, checked. Raises `NotFound`, `VerificationFailed`."""
    contents = Contents(layout, indexes.load(layout))
    try:
        return checked_entries(contents, manifests.read(layout, snapshot)[0].tree(name))
    finally:
        contents.close()


def _fill(layout: Layout, stage: Stage, contents: Contents, wanted: tuple[list[Entry], str | None, StatCache]) -> int:
    entries, reuse, cache = wanted
    stage.make_folders(entries)
    missing: Sequence[Entry] = entries
    if reuse is not None and cache:
        missing = _reused(stage, entries, reuse, cache)
    stage.check_room(missing)
    _write(layout.root, stage, contents, planned(stage.name, missing, contents.index))
    stage.finish(entries)
    return len(entries) - len(missing)


def _write(root: Path, stage: Stage, contents: Contents, plan: Plan) -> None:
    parts = Parts(starmap(Part, plan.blocks))
    beside = Sharing("maestro.workspaces.archive.writer", root, (str(stage.path), stage.name), parts)
    with beside, Crew(lambda: Descent(stage.handle), Descent.close) as crew:
        for entry in plan.long:
            crew.submit(partial(_write_long, stage, contents, entry))
        while parts:
            crew.submit(partial(_write_next, stage, contents, parts))
        crew.submit(partial(_write_empty, stage, plan.empty))


def _write_next(stage: Stage, contents: Contents, parts: Parts, descent: Descent) -> None:
    try:
        part = parts.popleft()
    except IndexError:
        return  # a process beside this one has taken it
    write_block(stage, contents, (part.block, part.entries), descent)


def _write_empty(stage: Stage, entries: Sequence[Entry], descent: Descent) -> None:
    for entry in entries:
        with stage.file(entry, descent):
            continue


def _write_long(stage: Stage, contents: Contents, entry: Entry, descent: Descent) -> None:
    pieces = iter(entry.parts())
    with stage.file(entry, descent) as handle:

        def write(data: bytes) -> None:
            piece = next(pieces)
            if data:
                write_all(handle, data)
            else:
                os.lseek(handle, piece.length, os.SEEK_CUR)

        long_file(contents, stage.name, entry, write)
        os.ftruncate(handle, entry.size)


def _reused(stage: Stage, entries: Sequence[Entry], source: str, cache: StatCache) -> list[Entry]:
    """Give the files of `source` that are what they must be a name in the stage; the entries that are still missing."""
    linked = {entry.target for entry in entries if entry.kind == HARDLINK}
    missing = []
    try:
        top = os.open(source, FOLDER_FLAGS)
    except OSError:
        return list(entries)
    try:
        mapped = Mappings().before(os.fsencode(source), os.fstat(top).st_dev)
        with Descent(top) as there, Descent(stage.handle) as here:
            for entry in entries:
                known = cache.get(entry.path) if entry.kind == FILE and entry.path not in linked else None
                if known is not None and mapped.has(entry.path, known.inode):
                    known = None  # who has it mapped would go on writing into what is restored
                if known is None or not _reuse(entry, known, there, here, stage.is_root):
                    missing.append(entry)
    finally:
        os.close(top)
    return missing


def _reuse(entry: Entry, known: statcache.Seen, there: Descent, here: Descent, is_root: bool) -> bool:
    if known.entry.digest != entry.digest or known.entry.xattrs != entry.xattrs:
        return False
    above, _, name = entry.path.rpartition(b"/")
    try:
        folder = there.folder(above)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        like = found.st_mode & 0o7777 == entry.mode and found.st_mtime_ns == entry.mtime and found.st_nlink == 1
        owned = not is_root or (found.st_uid == entry.uid and found.st_gid == entry.gid)
        if not (known.is_still(found) and like and owned):
            return False
        os.link(name, name, src_dir_fd=folder, dst_dir_fd=here.folder(above), follow_symlinks=False)
    except OSError:
        return False  # it is written then; what is wrong with the stage shows there
    return True
