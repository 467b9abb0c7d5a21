"""Leftovers: old folders that a restore has replaced and could not remove, each on record until it is gone.

An immutable file, another user's, or a mount that came meanwhile keeps such a folder; it lies hidden beside the
workspace, or in it. It is told, and tried again; one that nobody but a person may remove is told only.
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
    """A folder at `path`, of the workspace at `target`. why: it is there still.

    keeps: it is what was in the workspace before, and nothing new has taken its place: no machine removes it.
    """

    path: str
    target: str
    why: str = ""
    keeps: bool = False


def remove(folder: Path, path: str, target: str) -> Leftover | None:
    """Remove what is of no use any more; what is left is on record in `folder`. Blocks."""
    try:
        remove_tree(path)
        why = ""
    except MaestroError as error:
        why = error.what
    if not os.path.lexists(path):
        return None
    return note(folder, Leftover(path, target, why))


def note(folder: Path, leftover: Leftover) -> Leftover:
    """Put a leftover on record."""
    place = private_folder(folder, "restore journal", tighten=True) / _name(leftover)
    replace(place, msgspec.json.encode(leftover), durable=False)
    return leftover


def listed(folder: Path) -> list[Leftover]:
    """Those that are there still, in order of path."""
    found = []
    for path in _records(folder):
        with suppress(OSError, msgspec.MsgspecError):
            leftover = msgspec.json.decode(path.read_bytes(), type=Leftover)
            if os.path.lexists(leftover.path):
                found.append(leftover)
    return sorted(found, key=lambda leftover: leftover.path)


def try_again(folder: Path) -> list[str]:
    """Remove what can be removed by now, and forget what is gone; the paths of what went. Blocks."""
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
