"""An archived workspace beside the folder that is there now: file by file, and the texts of one file.

All calls block.
"""

from __future__ import annotations

import os

from maestro.board.files.folder_now import FolderNow, opened, printed, then_row
from maestro.model.errors import Invalid, MaestroError
from maestro.runtime.restores.origin import Origin
from maestro.runtime.server.rows import Row
from maestro.workspaces.archive.format.entries import FILE, FOLDER, HARDLINK, Entry, shown

FILES_MAX = 2000
TEXT_BYTES_MAX = 256 * 1024


def compared(origin: Origin, tree: str, workspace: str) -> Row:
    """What is another in the folder now than in the archive. Raises Refused, VerificationFailed."""
    with opened(workspace) as now:  # first: a workspace that is a link by now is not looked through
        diff = origin.diff(tree, workspace)
        entries = {entry.path: entry for entry in origin.entries(tree)}
        changes = [
            *((os.fsencode(each.path), "removed") for each in diff.added),
            *((os.fsencode(each.path), "changed") for each in diff.changed),
            *((os.fsencode(each.path), "added") for each in diff.deleted),
        ]
        changes = sorted((path, change) for path, change in changes if path)
        rows = [_row(path, change, entries.get(path), now) for path, change in changes[:FILES_MAX]]
    return {
        "files": rows,
        "counts": {"removed": len(diff.added), "changed": len(diff.changed), "added": len(diff.deleted)},
        "same": diff.unchanged,
        "cut": len(changes) > len(rows),
        "damaged": [{"path": lost.path, "why": lost.why} for lost in origin.lost(tree)],
    }


def _row(path: bytes, change: str, entry: Entry | None, now: FolderNow | None) -> Row:
    found = now.look(path) if now is not None else None
    if change == "changed" and entry is not None and found is not None and now is not None:
        change = _how(path, entry, found, now)
    return {
        "path": printed(path),
        "shown": shown(path),
        "change": change,
        "then": then_row(entry) if entry is not None else None,
        "now": found[0] if found is not None else None,
    }


def _how(path: bytes, entry: Entry, found: tuple[Row, os.stat_result], now: FolderNow) -> str:
    """How a name that is there then and now has changed: `changed`, or only `mode` or `time`."""
    row, status = found
    if row["kind"] != then_row(entry)["kind"] or entry.kind not in (FILE, FOLDER):
        return "changed"
    if entry.kind == FILE and (entry.size != status.st_size or now.digest(path, entry.size) != entry.digest):
        return "changed"
    return "time" if entry.mode == status.st_mode & 0o7777 and (status.st_mtime_ns != entry.mtime) else "mode"


def texts(origin: Origin, tree: str, workspace: str, text: str) -> Row:
    """The text of a file in the archive and now, at most `TEXT_BYTES_MAX` of each. Raises Invalid, Refused."""
    with opened(workspace) as now:
        path = _named(origin, tree, text, now)
        entry, why = _entry(origin, tree, path)
        then = _Text()
        if entry is not None:
            try:
                then = _Text(origin.beginning(tree, path, TEXT_BYTES_MAX), _size(origin, tree, entry))
            except MaestroError as error:
                why = error.line()
        today, why_now = _Text(), None
        if now is not None:
            try:
                today = _Text(*now.beginning(path, TEXT_BYTES_MAX))
            except FileNotFoundError:
                pass
            except OSError as error:
                why_now = error.strerror
    is_binary = then.is_binary or today.is_binary
    return {
        "path": text,
        "then": None if is_binary else then.value,
        "now": None if is_binary else today.value,
        "then_bytes": then.size,
        "now_bytes": today.size,
        "then_why": why,
        "now_why": why_now,
        "binary": is_binary,
        "cut": then.is_cut or today.is_cut,
    }


def _named(origin: Origin, tree: str, text: str, now: FolderNow | None) -> bytes:
    """The path that is meant: of the archive, else of the folder."""
    plain = text.encode("utf-8", "surrogatepass")
    if "\\" in text:
        for entry in origin.entries(tree):
            if entry.path and printed(entry.path) == text:
                return entry.path
    if now is not None:
        return now.named(text)
    if not text or any(part in ("", ".", "..") for part in text.split("/")):
        raise Invalid("that is no path below a workspace", "path", "give one that the list of files has")
    return plain


def _entry(origin: Origin, tree: str, path: bytes) -> tuple[Entry | None, str | None]:
    entry = next((entry for entry in origin.entries(tree) if entry.path == path), None)
    if entry is None or entry.kind in (FILE, HARDLINK):
        return entry, None
    return None, "it was a folder then" if entry.kind == FOLDER else f"it was a link to {printed(entry.target)!r} then"


def _size(origin: Origin, tree: str, entry: Entry) -> int:
    if entry.kind == FILE:
        return entry.size
    return next((each.size for each in origin.entries(tree) if each.path == entry.target), 0)


class _Text:
    """The beginning of a file as text. data: None for no file; size: of the whole file."""

    def __init__(self, data: bytes | None = None, size: int | None = None) -> None:
        self.size = size
        self.is_cut = data is not None and size is not None and len(data) < size
        self.value: str | None = None
        self.is_binary = False
        if data is None:
            return
        try:
            self.value = data[: _whole(data)].decode() if self.is_cut else data.decode()
            self.is_binary = "\0" in self.value
        except UnicodeDecodeError:
            self.is_binary = True


def _whole(data: bytes) -> int:
    """How many bytes there are before a character at the end that is not whole."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needed = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) if needed <= back else len(data) - back
    return len(data)
