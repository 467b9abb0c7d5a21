"""Restores a tree of a snapshot into a stage: folders, files block by block on all threads, links, folder metadata.

Every byte is checked as it is written, and a failure leaves no stage.

`reuse` names the tree as it is now. A file there that is unchanged according to the stat cache is hard-linked into the
stage instead of copied, so that undoing a few changes costs only those files.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path

import msgspec

from maestro.model.errors import VerificationFailed
from maestro.workspaces.archive.format import stat_cache
from maestro.workspaces.archive.format.entries import FILE, HARDLINK, Entry, Tree
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.stat_cache import StatCache
from maestro.workspaces.archive.parallel.block_queue import BlockQueue, Part, Parts
from maestro.workspaces.archive.parallel.thread_pool import ThreadPool
from maestro.workspaces.archive.read.assessment import Assessment, Lost, assess, read_all
from maestro.workspaces.archive.read.contents import Contents, ReadPlan, long_file, plan_reads
from maestro.workspaces.archive.read.reading import Reading
from maestro.workspaces.archive.read.stage import Stage, write_all, write_block
from maestro.workspaces.archive.read.verification import checked_entries
from maestro.workspaces.descent import FOLDER_FLAGS, Descent
from maestro.workspaces.mappings import Mappings


class Restored(msgspec.Struct, frozen=True):
    """A tree that was restored into a stage.

    bytes: of all files.
    reused: how many files were hard-linked from the existing tree.
    lost: files that were damaged, and are left out.
    """

    name: str
    entries: int
    bytes: int
    reused: int
    lost: list[Lost] = []


def restore(opened: Reading, snapshot: str, name: str, stage_dir: Path, reuse: str | None = None) -> Restored:
    """Restore a tree into `stage_dir`, which must not exist. The caller holds `layout.shared()`.

    See `library.Archive.restore`.
    """
    tree = opened.tree(snapshot, name)
    return _staged(opened, tree, stage_dir, reuse, lambda contents: Assessment(checked_entries(contents, tree), []))


def restore_whole_files(
    opened: Reading, snapshot: str, name: str, stage_dir: Path, reuse: str | None = None
) -> Restored:
    """Restore a tree as `restore` does, but leave out and report damaged files.

    Raises `VerificationFailed` where no file is whole.
    """
    try:
        return restore(opened, snapshot, name, stage_dir, reuse)
    except VerificationFailed:
        tree = find_damage(opened, snapshot, name)
    return _staged(opened, tree, stage_dir, reuse, lambda contents: refuse_empty(assess(contents, tree), name))


def find_damage(opened: Reading, snapshot: str, name: str) -> Tree:
    """Read all of a tree, so that all its damage is in quarantine and all its intact chunks are salvaged."""
    tree, contents = opened.tree(snapshot, name), opened.contents
    read_all(contents, tree, assess(contents, tree).entries, lambda _: None)
    return tree


def assessment_of(opened: Reading, snapshot: str, name: str) -> Assessment:
    """What `restore_whole_files` would restore and leave out, as far as damage is known. Raises as it does."""
    return refuse_empty(assess(opened.contents, opened.tree(snapshot, name)), name)


def refuse_empty(found: Assessment, name: str) -> Assessment:
    """`found`, unless no file of it is whole: an empty tree must not replace what is there now."""
    if not found.has_content:
        raise VerificationFailed(
            "none of its files is whole", name, "use another snapshot: `maestro state snapshots` lists all"
        )
    return found


def _staged(
    opened: Reading, tree: Tree, stage_dir: Path, reuse: str | None, wanted: Callable[[Contents], Assessment]
) -> Restored:
    """Restore into a new stage what `wanted` selects; a failure removes the stage."""
    contents, layout = opened.contents, opened.layout
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        found = wanted(contents)
        stage = Stage(stage_dir, tree.name)
        try:
            cache = stat_cache.load(layout, reuse) if reuse is not None else {}
            reused = _fill(layout, stage, contents, (found.entries, reuse, cache))
        except BaseException:
            stage.drop()
            raise
        finally:
            stage.close()
    finally:
        if was_enabled:
            gc.enable()
    size = sum(entry.size for entry in found.entries)
    return Restored(tree.name, len(found.entries), size, reused, found.lost)


def entries_of(opened: Reading, snapshot: str, name: str) -> list[Entry]:
    """The checked entries of a tree. Raises `NotFound`, `VerificationFailed`."""
    return checked_entries(opened.contents, opened.tree(snapshot, name))


def _fill(layout: Layout, stage: Stage, contents: Contents, wanted: tuple[list[Entry], str | None, StatCache]) -> int:
    """Fill the stage; the number of files that were hard-linked instead of written."""
    entries, reuse, cache = wanted
    stage.make_folders(entries)
    missing: Sequence[Entry] = entries
    if reuse is not None and cache:
        missing = _link_unchanged(stage, entries, reuse, cache)
    stage.check_room(missing)
    _write(layout.root, stage, contents, plan_reads(stage.name, missing, contents.index))
    stage.finish(entries)
    return len(entries) - len(missing)


def _write(root: Path, stage: Stage, contents: Contents, plan: ReadPlan) -> None:
    parts = Parts(starmap(Part, plan.blocks))
    processes = BlockQueue("maestro.workspaces.archive.read.writer_process", root, (str(stage.path), stage.name), parts)
    with processes, ThreadPool(lambda: Descent(stage.handle), Descent.close) as pool:
        for entry in plan.long:
            pool.submit(partial(_write_long, stage, contents, entry))
        while parts:
            pool.submit(partial(_write_next, stage, contents, parts))
        pool.submit(partial(_write_empty, stage, plan.empty))


def _write_next(stage: Stage, contents: Contents, parts: Parts, descent: Descent) -> None:
    try:
        part = parts.popleft()
    except IndexError:
        return  # a child process has taken the last part
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


def _link_unchanged(stage: Stage, entries: Sequence[Entry], source: str, cache: StatCache) -> list[Entry]:
    """Hard-link unchanged files of `source` into the stage; the entries that are still missing there."""
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
                    known = None  # a process that has the file mapped would go on writing into the restored tree
                if known is None or not _link_if_unchanged(entry, known, there, here, stage.is_root):
                    missing.append(entry)
    finally:
        os.close(top)
    return missing


def _link_if_unchanged(entry: Entry, known: stat_cache.Seen, there: Descent, here: Descent, is_root: bool) -> bool:
    """Hard-link one file into the stage, if its content and metadata are still those of its entry."""
    if known.entry.digest != entry.digest or known.entry.xattrs != entry.xattrs:
        return False
    above, _, name = entry.path.rpartition(b"/")
    try:
        folder = there.folder(above)
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        like = found.st_mode & 0o7777 == entry.mode and found.st_mtime_ns == entry.mtime and found.st_nlink == 1
        owned = not is_root or (found.st_uid == entry.uid and found.st_gid == entry.gid)
        if not (known.is_unchanged(found) and like and owned):
            return False
        os.link(name, name, src_dir_fd=folder, dst_dir_fd=here.folder(above), follow_symlinks=False)
    except OSError:
        return False  # the file is copied instead, which reports what is wrong with the stage
    return True
