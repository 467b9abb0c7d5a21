"""Names the records of restores and deletions in a MAESTRO_HOME, and tells whether any of them is open.

An interrupted restore or deletion is ended before anything else is done. Each command therefore looks here first, and
imports the code that can end one only where one is open.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

RESTORE, BEGUN, EXCHANGE, JOURNAL = "restore", "begun", "exchange", "journal"
"""The folder of restores; in it the record of the restore under way, and the folder of exchanges with its journal."""
DELETIONS, LOCK, FRESH = "deletions", "lock", ".fresh"
"""The folder of deletions with a file for each; its lock file, and the suffix of files being written."""


def is_restoring(home: Path) -> bool:
    """Whether a restore was begun and has not ended."""
    folder = home / RESTORE
    return (folder / BEGUN).exists() or (folder / EXCHANGE / JOURNAL).exists()


def deletions(folder: Path) -> Iterable[Path]:
    """The records of deletions that were begun and have not ended. folder: `DELETIONS` of a home."""
    try:
        return sorted(path for path in folder.iterdir() if path.name != LOCK and path.suffix != FRESH)
    except (FileNotFoundError, NotADirectoryError):  # what is wrong with MAESTRO_HOME is told by who opens it
        return []


def is_any(home: Path) -> bool:
    """Whether a restore or a deletion was begun and has not ended."""
    return is_restoring(home) or any(deletions(home / DELETIONS))
