"""Reads many small files of one tree, folder by folder."""

from __future__ import annotations

import os

from maestro.model.errors import Refused
from maestro.workspaces.archive.format.entries import FILE, GONE, Entry
from maestro.workspaces.archive.format.stat_cache import Seen, seen
from maestro.workspaces.archive.write.file_reader import Keep, read_file
from maestro.workspaces.descent import FOLDER_FLAGS, Descent

Folders = list[tuple[bytes, list[bytes]]]
"""Names of files, by folder."""


class FolderReader:
    """Reads files below the folder `source`, following no link; a context. Raises `Refused` where there is no folder.

    The folder that was read last stays open, so that the way to its neighbour is short, however deep they lie.
    """

    def __init__(self, source: bytes) -> None:
        self.source = source
        try:
            self._top = os.open(source, FOLDER_FLAGS)
        except OSError as error:
            raise Refused(f"{os.fsdecode(source)!r} cannot be read: {error.strerror}", where="workspace") from None
        self._descent = Descent(self._top)

    def read(self, folders: Folders, keep: Keep) -> list[Seen]:
        """Read these files, and give their chunks to `keep`."""
        files: list[Seen] = []
        for folder, names in folders:
            prefix = folder + b"/" if folder else b""
            try:
                handle = self._descent.folder(folder)
            except OSError:  # no longer a folder
                files += [Seen(Entry(prefix + name, GONE, 0, 0, 0, 0), 0, 0) for name in names]
                continue
            for name in names:
                entry = Entry(prefix + name, FILE, 0, 0, 0, 0)
                files.append(seen(entry, read_file(handle, name, entry, keep)))
        return files

    def close(self) -> None:
        """Close what is open."""
        self._descent.close()
        os.close(self._top)

    def __enter__(self) -> FolderReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
