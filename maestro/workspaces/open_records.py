"""What is on record in a MAESTRO_HOME while its workspaces are restored or deleted: names of files, and whether any is.

A restore or a deletion that was broken off is ended before anything else is done. So each command looks here, and
imports what can end one only where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

RESTORE, BEGUN, EXCHANGE, JOURNAL = "restore", "begun", "exchange", "journal"
"""The folder of restores; in it the journal of the one under way, and the folder of exchanges with its journal."""
DELETIONS, LOCK, FRESH = "deletions", "lock", ".fresh"
"""The folder of deletions, a file for each; in it also a lock, and files that are being written."""


def is_restoring(home: Path) -> bool:
    """Whether a restore was begun and has not ended."""
    folder = home / RESTORE
    return (folder / BEGUN).exists() or (folder / EXCHANGE / JOURNAL).exists()


def deletions(folder: Path) -> Iterable[Path]:
    """The records of deletions that were begun and have not ended. folder: `DELETIONS` of a home."""
    try:
        return sorted(path for path in folder.iterdir() if path.name != LOCK and path.suffix != FRESH)
    except FileNotFoundError:
        return []


def is_any(home: Path) -> bool:
    """Whether a restore or a deletion was begun and has not ended."""
    return is_restoring(home) or any(deletions(home / DELETIONS))
