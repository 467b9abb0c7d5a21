"""Leftovers: old folders that a restore has replaced but could not remove, each recorded until it is gone.

An immutable file, another user's file, or a new mount keeps such a folder; it lies hidden beside the workspace, or in
it. Leftovers are reported, and their removal is tried again. One that only a person may remove is just reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from maestro.durable import replace
from maestro.folders import private_folder
from maestro.model.errors import MaestroError
from maestro.workspaces.cleaning import remove_tree

FOLDER = "left"


class Leftover(msgspec.Struct, frozen=True):
    """A folder at `path` that belonged to the workspace at `target`. why: it is still there.

    keeps: it is the workspace's old content, and nothing new has taken its place, so only a person may remove it.
    """

    path: str
    target: str
    why: str = ""
    keeps: bool = False


def remove(folder: Path, path: str, target: str) -> Leftover | None:
    """Remove a folder that nobody needs; what is left of it is recorded in `folder`. Blocking I/O."""
    try:
        remove_tree(path)
        why = ""
    except MaestroError as error:
        why = error.what
    if not os.path.lexists(path):
        return None
    return note(folder, Leftover(path, target, why))


def note(folder: Path, leftover: Leftover) -> Leftover:
    """Record a leftover."""
    place = private_folder(folder, "restore journal", tighten=True) / _name(leftover)
    replace(place, msgspec.json.encode(leftover), durable=False)
    return leftover


def listed(folder: Path) -> list[Leftover]:
    """The leftovers that are still there, in order of path."""
    found = []
    for path in _records(folder):
        with suppress(OSError, msgspec.MsgspecError):
            leftover = msgspec.json.decode(path.read_bytes(), type=Leftover)
            if os.path.lexists(leftover.path):
                found.append(leftover)
    return sorted(found, key=lambda leftover: leftover.path)


def retry_removals(folder: Path) -> list[str]:
    """Remove leftovers that can be removed by now, and drop records of those that are gone; their paths.

    Blocking I/O.
    """
    gone = []
    for path in _records(folder):
        try:
            leftover = msgspec.json.decode(path.read_bytes(), type=Leftover)
        except (OSError, msgspec.MsgspecError):
            continue
        if not leftover.keeps and os.path.lexists(leftover.path):
            with suppress(MaestroError):
                remove_tree(leftover.path)
        if not os.path.lexists(leftover.path):
            path.unlink(missing_ok=True)
            gone.append(leftover.path)
    return gone


def _records(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix != ".fresh")
    except OSError:
        return []


def _name(leftover: Leftover) -> str:
    return f"{Path(leftover.path).name}.json"
