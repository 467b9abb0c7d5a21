"""Checks the embedded server's data files: the manifest and the files named in it, which somebody may have deleted.

A server whose files were deleted goes on: it appends to files without a name, which are gone with its process. But all
data is in its memory, and a rewrite of the append-only file (AOF) writes it to disk again.
"""

from __future__ import annotations

from pathlib import Path

from maestro.folders import socket_path
from maestro.store.redis.resp import ErrorReply, dial_unix

MANIFEST = "appendonlydir/appendonly.aof.manifest"
DIAL_S_MAX = 2.0
MEND = (
    "what it holds is in its memory only: maestro state snapshot --output FILE, then maestro shutdown, "
    "maestro redis flush, maestro state restore FILE"
)
"""The advice where the data folder itself is gone, which no rewrite creates again."""


def missing(data: Path) -> str:
    """The first file or folder that is missing from the data folder of a running server, "" where none is."""
    said = None
    while True:  # a rewrite may have replaced the files meanwhile
        before, said = said, _text(data / MANIFEST)
        if said is None:
            return MANIFEST if data.is_dir() else data.name
        gone = next((name for name in _named(said) if not (data / MANIFEST).with_name(name).exists()), "")
        if not gone or said == before:
            return gone


def _text(manifest: Path) -> str | None:
    try:
        return manifest.read_text("utf-8", "replace")
    except OSError:
        return None


def _named(manifest: str) -> list[str]:
    """The files that a start needs: those of lines like `file <name> seq 1 type b` that are not history (type h)."""
    lines = (line.split() for line in manifest.splitlines())
    return [words[1] for words in lines if words[:1] == ["file"] and words[-1:] != ["h"]]


def write_again(home: Path) -> None:
    """Ask the server for a rewrite of its AOF, in the background. A server that cannot do it logs why."""
    try:
        with dial_unix(socket_path(home, "store/store.sock"), DIAL_S_MAX) as wire:
            wire.call("BGREWRITEAOF")
    except (OSError, ErrorReply):  # away, or a rewrite is running already
        return
