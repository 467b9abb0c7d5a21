"""After a restore, hints at processes whose working folder was replaced: they are in the old folder, now empty."""

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


class FolderHint:
    """Hints at stale working folders. Create it before the restore, call `give` after it.

    _here: the folder that the shell believes to be in; _cwd: identity (device, inode) of the working folder.
    """

    def __init__(self) -> None:
        self._here = _logical_cwd()
        self._cwd = _identity(".")

    def give(self, row: Mapping[str, Any]) -> None:
        """Say on stderr which processes have to change their folder, the calling shell among them."""
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
            return  # it is still the same folder
        where = next(each["workspace"] for each in workspaces if _is_in(self._here, each["workspace"]))
        go = "cd ." if Path(self._here).is_dir() else f"cd {shlex.quote(where)}"
        printer.tell(f"you stand in the folder that was here before, and that is empty now: `{go}`")


def _logical_cwd() -> str:
    """The working folder as the shell knows it, with symbolic links, where that is right; else its real path."""
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
    """The pids of this process and its ancestors: they get the hint for the shell."""
    found, pid = {os.getpid()}, os.getppid()
    while pid > 1 and len(found) < PARENTS_MAX:
        found.add(pid)
        pid = processes.parent(pid)
    return found
