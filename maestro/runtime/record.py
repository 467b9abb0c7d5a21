"""`exit.json`: the end of a run as its warden wrote it down, for when nobody was there to be told. Stdlib only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from maestro.runtime.spec import End, encode

RECORD_NAME = "exit.json"


def write_record(path: str, end: End) -> None:
    """Put the record there, whole or not at all. Survives any crash but the machine's. Raises OSError."""
    being_written = f"{path}.part"
    fd = os.open(being_written, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, encode(end._asdict()))
    finally:
        os.close(fd)
    Path(being_written).rename(path)


def sync_record(path: str) -> None:
    """Make the record survive the machine's crash too. Raises OSError."""
    for name in (Path(path), Path(path).parent):
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def read_record(folder: Path) -> End | None:
    """How the attempt with this folder ended; None where its warden has not written that (it lives, or was killed).

    Raises ValueError where the file is no record.
    """
    try:
        fields = json.loads((folder / RECORD_NAME).read_bytes())
    except FileNotFoundError:
        return None
    if not isinstance(fields, dict) or "run" not in fields:
        raise ValueError(f"{folder / RECORD_NAME} is no record of a run")
    return End(**{name: fields[name] for name in End._fields if name in fields})
