"""The limits of a snapshot, applied when it is taken, so that whatever was written can always be read again.

There are two kinds: dates and owner ids that do not fit into 64 and 32 bits, and trees that would cost any reader too
much. A reader accepts everything within these limits (`entries.check`, `outline.Limits`, `export_reader`).
"""

from __future__ import annotations

from collections.abc import Sequence

from maestro.workspaces.archive.format.entries import (
    HARDLINK,
    ID_MAX,
    LONG_PATHS_BYTES_MAX,
    TIME_MAX,
    TIME_MIN,
    Entry,
    impossible,
)

LONG_PATH_BYTES = 1024
PATH_BYTES_MAX = 1 << 17
HOLES_BYTES_MAX = 1 << 38
"""All sparse files of a tree together: a hole takes no room, but takes as long to hash as data."""


def keepable(entries: Sequence[Entry]) -> tuple[list[Entry], dict[bytes, str]]:
    """Split the entries of a tree into those that a snapshot can keep, and by path why others cannot be kept fully.

    An impossible date or owner is clamped and reported; the rest of that entry is kept. Entries whose path is too long
    are left out, as are hard links to them; where too many paths are long, all long ones count as too long.
    """
    why: dict[bytes, str] = {}
    for entry in entries:
        if cause := impossible(entry):
            why[entry.path] = cause
            entry.mtime = min(max(entry.mtime, TIME_MIN), TIME_MAX)
            entry.uid, entry.gid = min(entry.uid, ID_MAX), min(entry.gid, ID_MAX)
    longest = PATH_BYTES_MAX
    if sum(len(entry.path) for entry in entries if len(entry.path) > LONG_PATH_BYTES) > LONG_PATHS_BYTES_MAX:
        longest = LONG_PATH_BYTES
    if all(len(entry.path) <= longest for entry in entries):
        return list(entries), why
    kept = {entry.path for entry in entries if len(entry.path) <= longest}
    found = []
    for entry in entries:
        if entry.path not in kept:
            if entry.path.rpartition(b"/")[0] in kept:  # one report for the whole subtree
                why[entry.path] = "it lies too deep: the paths from here on are too long, or too many"
        elif entry.kind == HARDLINK and entry.target not in kept:
            why[entry.path] = "another name of it lies too deep"
        else:
            found.append(entry)
    return found, why
