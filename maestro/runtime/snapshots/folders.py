"""Where the snapshots of this node lie, and whose turn it is to take one.

<home>/snapshots/          the archive, which maestro/workspaces/archive looks after
                /latest    -> manifests/<id>, the newest that was asked for: for people and scripts
<home>/taking/             what a snapshot is made of while it is taken; swept at the start and the end of each
      /lock                a flock: one at a time, and its end is that of its process
      /output              where the one under way is exported to
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import trio

from maestro import files
from maestro.durable import try_lock
from maestro.folders import private_folder
from maestro.model.errors import MaestroError
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.daemon_log import log
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read.damage import Damage
from maestro.workspaces.cleaning import remove_tree

TURN_POLL_S = 0.1
LOCK = "lock"
PATH_BYTES_MAX = 1 << 16


class SnapshotFolders:
    """The folders of snapshots below one MAESTRO_HOME: the archive, and what is being taken. Blocks; call it in a
    thread.
    """

    def __init__(self, home: Path) -> None:
        self.root = home / "snapshots"
        self.taking = home / "taking"
        self.proving = home / "proving"
        self._turn = -1

    def archive(self) -> Archive:
        """The archive, made if absent. Raises as `Archive`."""
        return Archive(self.root)

    def has(self, snapshot: str) -> bool:
        """Whether the archive has this snapshot."""
        return (self.root / "manifests" / snapshot).is_file()

    def damaged(self) -> dict[str, Damage]:
        """The damaged snapshots of the archive, by id, with what each lacks. Raises as `Archive`, and Refused."""
        return self.archive().damaged() if self.is_there else {}

    @property
    def is_there(self) -> bool:
        """Whether there is an archive."""
        return (self.root / "manifests").is_dir()

    def folder(self, name: str) -> Path:
        """An empty folder for a part of the snapshot under way."""
        path = private_folder(self.taking, "MAESTRO_HOME", tighten=True) / name
        _removed(path)
        path.mkdir(mode=0o700)
        return path

    def note_output(self, out: str) -> None:
        """Record where an export is about to be written, so that `sweep` finds what is left of it."""
        (private_folder(self.taking, "MAESTRO_HOME", tighten=True) / "output").write_bytes(os.fsencode(out))

    def sweep(self) -> None:
        """Remove what a snapshot that was broken off, or is done, has left. The caller has the turn."""
        with suppress(OSError):
            Archive.sweep_export(os.fsdecode(files.content(self.taking / "output", PATH_BYTES_MAX)))
        with suppress(OSError):
            for path in self.taking.iterdir():
                if path.is_dir() and not path.is_symlink():
                    _removed(path)
                elif path.name != LOCK:
                    path.unlink()

    def point(self, latest: Snapshot | None) -> None:
        """Let the link `latest` name this snapshot. Does nothing where it is not in the archive."""
        if latest is None or not self.has(latest.id):
            return
        target, link = f"manifests/{latest.id}", self.root / "latest"
        with suppress(OSError):
            if str(link.readlink()) == target:
                return
        fresh = link.with_name(f".latest-{secrets.token_hex(6)}")
        fresh.symlink_to(target)
        fresh.rename(link)

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """A folder to extract a snapshot into, removed after the block, as are those of processes that are gone."""
        above = private_folder(self.proving, "MAESTRO_HOME", tighten=True)
        for path in above.iterdir():
            with suppress(OSError), _held(path) as is_free:
                if is_free:
                    _removed(path)
        path = above / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        with _held(path):
            try:
                yield path
            finally:
                _removed(path)

    @asynccontextmanager
    async def turn(self, wait: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Hold the right to take a snapshot during the block, waiting for it. wait: called once where that
        takes time.
        """
        folder = private_folder(self.taking, "MAESTRO_HOME", tighten=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            told = False
            while not try_lock(handle):
                if not told:
                    await wait()
                told = True
                await trio.sleep(TURN_POLL_S)
            self._turn = handle
            yield
        finally:
            self._turn = -1
            os.close(handle)

    @asynccontextmanager
    async def turn_lent(self) -> AsyncIterator[None]:
        """Let others have the turn during the block, where what the caller does needs no folder here."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):  # what comes then clears the folders
                while not try_lock(self._turn):
                    await trio.sleep(TURN_POLL_S)

    def is_free(self) -> bool:
        """Whether no snapshot is under way at this moment."""
        folder = private_folder(self.taking, "MAESTRO_HOME", tighten=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            return try_lock(handle)
        finally:
            os.close(handle)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock a folder during the block, unless another process has; yields whether it is locked."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield try_lock(handle)
    finally:
        os.close(handle)


def _removed(path: Path) -> None:
    """Remove a folder as far as that can be done; the next snapshot tries again."""
    try:
        remove_tree(path)
    except MaestroError as error:
        log.info("what is left of a snapshot cannot be removed: %s", error.line())
