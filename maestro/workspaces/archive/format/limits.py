"""What of a tree a snapshot cannot hold: found while it is taken, so that what was written can always be read.

Two kinds: dates and numbers of owners that 64 and 32 bits cannot say, and trees that would cost a reader of any archive
too much. A reader accepts all that is within these limits (`entries.check`, `outline.Limits`, `exports`).
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
"""Of a tree's sparse files together: a hole takes no room, and as long to hash as data."""


def keepable(entries: Sequence[Entry]) -> tuple[list[Entry], dict[bytes, str]]:
    """The entries that can be kept, in their order, and by path why others cannot, or not wholly.

    Of a file with an impossible date or owner all else is kept. Where paths are too long, or too many of them long,
    what they lead to is not.
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
            if entry.path.rpartition(b"/")[0] in kept:  # it stands for what lies below
                why[entry.path] = "it lies too deep: the paths from here on are too long, or too many"
        elif entry.kind == HARDLINK and entry.target not in kept:
            why[entry.path] = "another name of it lies too deep"
        else:
            found.append(entry)
    return found, why
