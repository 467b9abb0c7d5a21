"""The folder of an archive, its lock, and atomic writing: a file appears in it whole, or not at all.

    <root>/format               the version of this format
          /lock                 flock: shared by those who save or read, exclusive for a collection
          /packs/<id>.pack      chunks, compressed in blocks
          /manifests/<id>       one snapshot each
          /quarantine/          one file for each damaged place in a pack, see `quarantine`
          /scrub                when each pack was last read to its end, see `scrub`
          /caches/              index and stat caches: may be deleted at any time
          /fresh/               files that are being written; one that no process has locked is swept

All locks are flocks, which end with their process: no lock ever has to be removed by hand.
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
from maestro.durable import remove_unlocked, sync_folder, try_lock
from maestro.folders import private_folder
from maestro.model.errors import Invalid, Refused

_FORMAT = b"maestro archive 1\n"
_FORMAT_BYTES_MAX = 4096
_WAIT_S = 120.0
_STEP_S = 0.05


class Layout:
    """The paths of one archive, whose folders are created 0700 if absent.

    Raises `Refused` for a folder that is not this user's alone, `Invalid` for an archive of another format.
    """

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
        """Hold the lock shared, so that no collection runs. Raises `Refused` when one takes longer than `_WAIT_S`."""
        with self._locked(_WAIT_S, shared=True):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock exclusively, so that nobody saves or reads. Raises `Refused` at once when somebody does."""
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
        """Remove half-written files of processes that have ended."""
        for path in self.fresh.iterdir():
            remove_unlocked(path)


class Fresh:
    """A new file, written under a temporary name and then renamed to its own. A lock on it keeps `sweep` away."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        while True:
            self.path = layout.fresh / secrets.token_hex(12)
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            if try_lock(self.handle) and self.path.exists():
                return
            os.close(self.handle)  # `sweep` of another process removed it before it was locked

    def write(self, data: bytes | memoryview) -> None:
        """Append all of `data`. Raises `Refused` when the disk refuses."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.handle, view) :]
        except OSError as error:
            raise disk_refusal(error, self._layout.root) from None

    def place(self, path: Path, *, durable: bool = True) -> None:
        """Rename the file to `path`.

        durable: fsync it, and its folder after the rename. Raises `Refused` when the disk refuses.
        """
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
        """Remove the temporary file, unless `place` was called."""
        if self.handle >= 0:
            with suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self.handle)
            self.handle = -1


def put(layout: Layout, path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a small file atomically. Raises `Refused` when the disk refuses."""
    fresh = Fresh(layout)
    try:
        fresh.write(content)
        fresh.place(path, durable=durable)
    finally:
        fresh.drop()


def disk_refusal(error: OSError, where: Path) -> Refused:
    """The error for a disk that refuses to write. where: the file or folder."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    mend = "make room, then try again; what was there before is as it was" if full else "mend the disk, then try again"
    return Refused(f"cannot be written: {error.strerror}", str(where), mend)
