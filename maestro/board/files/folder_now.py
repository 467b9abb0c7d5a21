"""The folder of a workspace as it is now, looked at by untrusted names: no link is followed, and no mount crossed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from maestro import files
from maestro.model.errors import Invalid, Refused
from maestro.runtime.server.rows import Row
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, SYMLINK, Entry
from maestro.workspaces.descent import FOLDER_FLAGS, Descent

KINDS = {FILE: "file", FOLDER: "folder", SYMLINK: "link", HARDLINK: "file"}
HASHED_BYTES_MAX = 64 << 20
"""So much of all files of a workspace is read to tell a change of mode from one of content."""
CHUNK_BYTES = 1 << 20


def printed(path: bytes) -> str:
    """A path as text by which it is asked for: what is no UTF-8 in it becomes escapes."""
    return path.decode("utf-8", "backslashreplace")


def then_row(entry: Entry) -> Row:
    """What an archive has under a name."""
    return {
        "kind": KINDS[entry.kind],
        "bytes": entry.size if entry.kind == FILE else None,
        "mode": f"{entry.mode:04o}",
        "target": printed(entry.target) if entry.kind in (SYMLINK, HARDLINK) else None,
    }


class FolderNow:
    """A workspace as it is now, open for a block. All calls block."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._descent = Descent(top)
        self._left = HASHED_BYTES_MAX

    def close(self) -> None:
        """Close what was opened below the folder."""
        self._descent.close()

    def look(self, path: bytes) -> tuple[Row, os.stat_result] | None:
        """What is there under a name, None for nothing."""
        try:
            folder, name = self._above(path)
            found = os.stat(name, dir_fd=folder, follow_symlinks=False) if name else os.fstat(folder)
            kind = _kind(found.st_mode)
            target = printed(os.readlink(name, dir_fd=folder)) if kind == "link" else None
        except OSError:
            return None
        size = found.st_size if kind == "file" else None
        return {"kind": kind, "bytes": size, "mode": f"{found.st_mode & 0o7777:04o}", "target": target}, found

    def digest(self, path: bytes, size: int) -> bytes | None:
        """The SHA-256 of a file, None where it is too much to read, or changes meanwhile."""
        if size > self._left:
            return None
        self._left -= size
        try:
            with self._opened(path) as handle:
                found = hashlib.sha256()
                for at in range(0, size, CHUNK_BYTES):
                    found.update(os.pread(handle, min(CHUNK_BYTES, size - at), at))
                return found.digest()
        except OSError:
            return None

    def beginning(self, path: bytes, bytes_max: int) -> tuple[bytes, int]:
        """The first bytes of a file, and how many it has. Raises OSError where there is no such file."""
        with self._opened(path) as handle:
            data = bytearray()
            while len(data) < bytes_max and (more := os.pread(handle, bytes_max - len(data), len(data))):
                data += more
            return bytes(data), os.fstat(handle).st_size

    def named(self, text: str) -> bytes:
        """The path that `printed` gives this text for. Raises Invalid for what is no path below the folder."""
        parts = text.split("/")
        if not text or "\0" in text or any(part in ("", ".", "..") for part in parts):
            raise Invalid("that is no path below a workspace", "path", "give one that the list of files has")
        found = b""
        for part in parts:
            name = part.encode("utf-8", "surrogatepass")
            if "\\" in part and self.look(_joined(found, name)) is None:
                name = self._escaped(found, part) or name
            found = _joined(found, name)
        return found

    def _escaped(self, above: bytes, text: str) -> bytes | None:
        """The name in a folder that is printed so, and is no UTF-8."""
        with suppress(OSError), os.scandir(self._descent.folder(above)) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if printed(name) == text:
                    return name
        return None

    def _above(self, path: bytes) -> tuple[int, bytes]:
        above, _, name = path.rpartition(b"/")
        return self._descent.folder(above), name

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        folder, name = self._above(path)
        handle = files.handle(name, dir_fd=folder)
        try:
            yield handle
        finally:
            os.close(handle)


@contextmanager
def opened(workspace: str) -> Iterator[FolderNow | None]:
    """The folder of a workspace for the block, None where there is none. Blocks. Raises Refused for a link."""
    try:
        top = os.open(workspace, FOLDER_FLAGS)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        what = "it is a link, or no folder, now" if os.path.lexists(workspace) else str(error.strerror)
        raise Refused(what, workspace, "`maestro workspace list` shows what lies there") from None
    try:
        now = FolderNow(top)
        try:
            yield now
        finally:
            now.close()
    finally:
        os.close(top)


def _joined(above: bytes, name: bytes) -> bytes:
    return above + b"/" + name if above else name


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"
