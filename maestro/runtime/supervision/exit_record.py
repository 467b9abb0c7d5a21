"""The exit record `exit.json`: the end of a run as its warden writes it down, for a later daemon.

It is the same line that the worker is told. Half of a line, which a crash may leave, counts as none. Standard library
only.
"""

from __future__ import annotations

import os
from pathlib import Path

from maestro.runtime.supervision.spec import End, decode_message

RECORD_NAME = "exit.json"


def write_file(path: str, content: bytes) -> None:
    """Create or replace a small file of a run, for its owner only. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while content:
            content = content[os.write(fd, content) :]
    finally:
        os.close(fd)


def sync_record(path: str) -> None:
    """Make the record survive the machine's crash too. Raises OSError."""
    for name in (Path(path), Path(path).parent):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_record(folder: Path) -> End | None:
    """The end of the run with this folder; None where no warden has written one: it lives, or was killed."""
    try:
        message = decode_message((folder / RECORD_NAME).read_bytes())
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return message if isinstance(message, End) else None
