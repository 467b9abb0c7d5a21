"""Where the caller of a restore stands: a shell in a workspace that was replaced stays in the old folder, now empty."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from maestro.cli import printer
from maestro.runtime.supervision import processes

PARENTS_MAX = 64


class Hint:
    """Made before the restore, given after it. here: the folder that the shell believes to be in."""

    def __init__(self) -> None:
        self._here = _logical_cwd()
        self._cwd = _identity(".")

    def give(self, row: Mapping[str, Any]) -> None:
        """Say on stderr who has to go where."""
        mine = _ancestors()
        if self._here and any(_is_in(self._here, each["workspace"]) for each in row["workspaces"]):
            self._tell_shell(row["workspaces"])
        for each in row.get("standing", ()):
            if each["pid"] not in mine:
                printer.tell(
                    f"{each['command']} (pid {each['pid']}) still stands in what {each['workspace']} was before:"
                    " in a shell `cd .` takes it to what is there now"
                )

    def _tell_shell(self, workspaces: Iterable[Mapping[str, Any]]) -> None:
        if self._cwd is not None and _identity(self._here) == self._cwd:
            return  # it is the same folder still
        where = next(each["workspace"] for each in workspaces if _is_in(self._here, each["workspace"]))
        go = "cd ." if Path(self._here).is_dir() else f"cd {shlex.quote(where)}"
        printer.tell(f"you stand in the folder that was here before, and that is empty now: `{go}`")


def _logical_cwd() -> str:
    """As the shell has it, links and all, where that is true; else as the system has it."""
    said = os.environ.get("PWD", "")
    with suppress(OSError):
        if said.startswith("/") and _identity(said) == _identity("."):
            return said
        return str(Path.cwd())
    return ""


def _is_in(path: str, folder: str) -> bool:
    return any(each == folder or each.startswith(folder + "/") for each in (path, os.path.realpath(path)))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _ancestors() -> set[int]:
    """This process and those that it came from: they are told by the hint for the shell."""
    found, pid = {os.getpid()}, os.getppid()
    while pid > 1 and len(found) < PARENTS_MAX:
        found.add(pid)
        pid = processes.parent(pid)
    return found
