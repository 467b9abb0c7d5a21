"""The folder of an archive, its lock, and how a file gets into it: whole, or not at all.

    <root>/format               which format this is
          /lock                 held shared by who saves or reads, alone by who collects
          /packs/<id>.pack      bytes, by content
          /manifests/<id>       a snapshot each
          /quarantine/          an entry for each place in a pack that is damaged, see `quarantine`
          /scrub                when each pack was last read to the end, see `scrubbing`
          /caches/              index and stat caches: may be deleted at any time
          /fresh/               files being written; what no process holds is a leftover and is swept

Nobody has to unlock anything: all locks are flocks, which end with the process.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maestro import files
from maestro.durable import sync_folder, try_lock
from maestro.folders import private_folder
from maestro.model.errors import Invalid, Refused

_FORMAT = b"maestro archive 1\n"
_FORMAT_BYTES_MAX = 4096
_WAIT_S = 120.0
_STEP_S = 0.05


class Layout:
    """Where everything of one archive lies. Raises `Refused` for a folder that is not this user's alone."""

    def __init__(self, root: Path) -> None:
        self.root = private_folder(root, "snapshot store", tighten=True)
        self.packs, self.manifests, self.caches, self.fresh, self.quarantine = (
            private_folder(root / name, "snapshot store", tighten=True)
            for name in ("packs", "manifests", "caches", "fresh", "quarantine")
        )
        self._check_format()

    def _check_format(self) -> None:
        path = self.root / "format"
        try:
            found = files.content(path, _FORMAT_BYTES_MAX)
        except FileNotFoundError:
            if any(self.packs.iterdir()):
                mend = "restore the file `format` with the line `maestro archive 1` if it was one"
                raise Invalid("its `format` is missing, so its content is unknown", str(self.root), mend) from None
            put(self, path, _FORMAT)
            return
        except OSError as error:
            raise Invalid(f"its `format` cannot be read: {error.strerror}", str(self.root), "mend that file") from None
        if found != _FORMAT:
            what = f"is an archive of another format ({found[:40]!r})"
            raise Invalid(what, str(self.root), "use the version of Maestro that made it")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Nothing is collected meanwhile. Raises `Refused` when a collection takes too long."""
        with self._locked(_WAIT_S, shared=True):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else saves or reads meanwhile. Raises `Refused` at once when somebody does."""
        with self._locked(0.0, shared=False):
            yield

    @contextmanager
    def _locked(self, wait_s: float, *, shared: bool) -> Iterator[None]:
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            until = time.monotonic() + wait_s
            while not try_lock(handle, shared=shared):
                if time.monotonic() >= until:
                    raise Refused("the snapshot store is in use", str(self.root), "try again when that has ended")
                time.sleep(_STEP_S)
            yield
        finally:
            os.close(handle)

    def sweep(self) -> None:
        """Remove what processes that are gone left half written."""
        for path in self.fresh.iterdir():
            with suppress(FileNotFoundError):
                handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    if try_lock(handle):
                        path.unlink()
                finally:
                    os.close(handle)


class Fresh:
    """A file that is not there yet: written, then put in its place at once. Held by a lock so that nobody sweeps it."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        while True:
            self.path = layout.fresh / secrets.token_hex(12)
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if try_lock(self.handle) and self.path.exists():
                return
            os.close(self.handle)  # a sweeper came between

    def write(self, data: bytes | memoryview) -> None:
        """All of it, at the end. Raises `Refused` when the disk does."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.handle, view) :]
        except OSError as error:
            raise disk_refusal(error, self._layout.root) from None

    def place(self, path: Path, *, durable: bool = True) -> None:
        """Rename it to `path`, on the disk before this returns if durable."""
        try:
            if durable:
                os.fsync(self.handle)
            self.path.rename(path)
            if durable:
                sync_folder(path.parent)
        except OSError as error:
            raise disk_refusal(error, self._layout.root) from None
        finally:
            os.close(self.handle)
            self.handle = -1

    def drop(self) -> None:
        """Remove it, unless it was placed."""
        if self.handle >= 0:
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self.handle)
            self.handle = -1


def put(layout: Layout, path: Path, content: bytes, *, durable: bool = True) -> None:
    """A small file in place at once and whole."""
    fresh = Fresh(layout)
    try:
        fresh.write(content)
        fresh.place(path, durable=durable)
    finally:
        fresh.drop()


def disk_refusal(error: OSError, where: Path) -> Refused:
    """The one line for a disk that refuses."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    mend = "make room, then try again; what was there before is as it was" if full else "mend the disk, then try again"
    return Refused(f"cannot be written: {error.strerror}", str(where), mend)
