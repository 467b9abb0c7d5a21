"""The beginning of one file of a tree, every chunk of it checked, without restoring anything."""

from __future__ import annotations

from maestro.model.errors import NotFound, VerificationFailed
from maestro.workspaces.archive.format.entries import FILE, HARDLINK, Entry, located
from maestro.workspaces.archive.read.contents import naming
from maestro.workspaces.archive.read.reading import Reading
from maestro.workspaces.archive.read.restoration import entries_of


def beginning(opened: Reading, snapshot: str, name: str, path: bytes, bytes_max: int) -> bytes:
    """At most so many bytes of a file of a tree. The caller holds `layout.shared()`.

    Raises NotFound where the tree has no such file, VerificationFailed where what is wanted of it is damaged.
    """
    entries = {entry.path: entry for entry in entries_of(opened, snapshot, name)}
    entry = entries.get(path)
    if entry is not None and entry.kind == HARDLINK:
        entry = entries.get(entry.target)
    if entry is None or entry.kind != FILE:
        raise NotFound("it holds no such file", located(name, path))
    return _read(opened, name, entry, bytes_max)


def _read(opened: Reading, name: str, entry: Entry, bytes_max: int) -> bytes:
    found = bytearray()
    for piece in entry.parts():
        if len(found) >= bytes_max:
            break
        if not piece.digest:
            found += bytes(min(piece.length, bytes_max - len(found)))
            continue
        with naming(name, entry):
            data = opened.contents.chunk(piece.digest)
        if len(data) != piece.length:
            raise VerificationFailed("a piece of the member has a wrong size", located(name, entry.path))
        found += data
    return bytes(found[:bytes_max])
