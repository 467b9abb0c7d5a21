"""Objects as files of a folder that several nodes reach, such as a network file system.

The folder itself is never made: where it is missing, a file system is not mounted. What is made in it may be read and
written by whoever may do so with the folder. A file is written beside its name, then renamed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from maestro import files
from maestro.durable import sync_folder
from maestro.workspaces.objects.contract import Absent, Unreached

PART = ".part"
CHUNK_BYTES = 1 << 20


class FolderObjects:
    """The objects in a folder. See `Objects`."""

    def __init__(self, root: Path) -> None:
        self.place = root.as_uri()
        self._root = root

    def put(self, name: str, source: Path | bytes) -> None:
        """See Objects."""
        path = self._root / name
        try:
            mode = self._mode()
            self._folder(path.parent, mode)
            part = path.with_name(f".{path.name}.{secrets.token_hex(6)}{PART}")
            try:
                self._write(part, source, mode & 0o666)
                part.rename(path)
            except BaseException:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
            sync_folder(path.parent)
        except OSError as error:
            raise self._away(error) from None

    def get(self, name: str) -> Iterator[bytes]:
        """See Objects."""
        try:
            self._mode()
            with files.opened(self._root / name) as file:
                _forget(file.fileno())
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
        except FileNotFoundError:
            self._mode_or_away()
            raise Absent(f"there is no {name}", self.place) from None
        except OSError as error:
            raise self._away(error) from None

    def sizes(self, prefix: str) -> dict[str, int]:
        """See Objects."""
        top, found = self._root / prefix, {}
        try:
            self._mode()
            for folder, _, names in os.walk(top, onerror=_raise_but_absent):
                for name in names:
                    path = Path(folder, name)
                    if not name.endswith(PART):
                        with suppress(FileNotFoundError):
                            found[str(path.relative_to(top))] = path.lstat().st_size
        except OSError as error:
            raise self._away(error) from None
        return found

    def delete(self, name: str) -> None:
        """See Objects."""
        try:
            self._mode()
            (self._root / name).unlink(missing_ok=True)
        except NotADirectoryError:
            return
        except OSError as error:
            raise self._away(error) from None

    def sweep(self, prefix: str) -> int:
        """See Objects."""
        swept = 0
        try:
            self._mode()
            for folder, _, names in os.walk(self._root / prefix, onerror=_raise_but_absent):
                for name in names:
                    if name.startswith(".") and name.endswith(PART):
                        Path(folder, name).unlink(missing_ok=True)
                        swept += 1
        except OSError as error:
            raise self._away(error) from None
        return swept

    def _mode(self) -> int:
        """What the folder allows whom; raises OSError where it is not there."""
        if not self._root.is_dir():
            raise FileNotFoundError(2, "the folder is not there; is its file system mounted?", str(self._root))
        return self._root.stat().st_mode & 0o2777

    def _mode_or_away(self) -> None:
        try:
            self._mode()
        except OSError as error:
            raise self._away(error) from None

    def _folder(self, folder: Path, mode: int) -> None:
        for above in [*reversed(folder.relative_to(self._root).parents), folder.relative_to(self._root)]:
            path = self._root / above
            if path != self._root and not path.is_dir():
                path.mkdir(exist_ok=True)
                with suppress(OSError):  # another node, of another user, may have made it
                    path.chmod(mode)

    def _write(self, part: Path, source: Path | bytes, mode: int) -> None:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as out:
            if isinstance(source, bytes):
                out.write(source)
            else:
                with files.opened(source) as content:
                    shutil.copyfileobj(content, out, CHUNK_BYTES)
            out.flush()
            os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
            _forget(out.fileno())

    def _away(self, error: OSError) -> Unreached:
        mend = "see that it is mounted, that this user can write there, and that there is room; then try again"
        return Unreached(f"the shared archive cannot be used: {error.strerror or error}", self.place, mend)


def _raise_but_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _forget(handle: int) -> None:
    """Have the file read from where it lies, not from memory."""
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
