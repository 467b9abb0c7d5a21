"""The data files of the embedded server: a manifest, and those that it names, in a folder that somebody may tidy up.

A server whose files are removed goes on: what it appends goes into files without a name, and is gone with its process.
But all of it is in its memory, and a rewrite of the append-only file puts that on the disk again.
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
"""For where the folder itself is gone, which no rewrite makes anew."""


def missing(data: Path) -> str:
    """The first file or folder that is not where it must be, "" where all are. data: of a server that answers."""
    said = None
    while True:  # a rewrite may have put others in their place meanwhile
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
    """The files that a start needs: of lines like `file <name> seq 1 type b`, those that are no history (h)."""
    lines = (line.split() for line in manifest.splitlines())
    return [words[1] for words in lines if words[:1] == ["file"] and words[-1:] != ["h"]]


def write_again(home: Path) -> None:
    """Ask the server for a rewrite, which goes on in the background. One that cannot has said why in its log."""
    try:
        with dial_unix(socket_path(home, "store/store.sock"), DIAL_S_MAX) as wire:
            wire.call("BGREWRITEAOF")
    except (OSError, ErrorReply):  # away, or at it already
        return
