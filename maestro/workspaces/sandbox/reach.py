"""Finds what must be readable for a program to run in a sandbox: its installation and its interpreter's.

A command is often a link into a package, which is a script with an interpreter of its own; each step is followed. Of a
package the smallest folder that holds all of it is taken (its virtual environment, its `node_modules`, its prefix),
never a home folder or a folder above one.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from maestro.workspaces.sandbox.isolation import SYSTEM, covers

_LINKS_MAX = 20
_SHEBANG_BYTES = 512


class Reach(NamedTuple):
    """What a program needs.

    read: files and folders; links: (path, target) of each symbolic link on the way, in order.
    """

    read: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


def of_program(executable: str, path: str, homes: tuple[str, ...] = ()) -> Reach:
    """What a program needs besides the system's own folders.

    path: a PATH.
    homes: folders that are too wide to be shown as a whole.
    """
    read: list[str] = []
    links: list[tuple[str, str]] = []
    todo = [executable]
    seen: set[str] = set()
    while todo and len(seen) < _LINKS_MAX:
        program = todo.pop()
        if program in seen:
            continue
        seen.add(program)
        real = _follow(program, links)
        folder = installation(real, homes)
        if not any(covers(system, real) for system in SYSTEM):
            read.append(folder)
        todo += [found for name in _interpreter(real) if (found := shutil.which(name, path=path))]
    kept = tuple(dict.fromkeys(read))
    shown = (*SYSTEM, *kept)
    return Reach(kept, tuple(dict.fromkeys(link for link in links if not any(covers(one, link[0]) for one in shown))))


def installation(file: str, homes: tuple[str, ...] = ()) -> str:
    """The folder that holds the whole program that a file belongs to; the file alone where there is none."""
    path = Path(file)
    above = path.parts
    if "node_modules" in above:
        return str(Path(*above[: above.index("node_modules") + 1]))
    candidates = [path.parent.parent] if path.parent.name in ("bin", "libexec", "Scripts") else []
    for folder in candidates:
        if not _too_wide(str(folder), homes):
            return str(folder)
    return file


def _too_wide(folder: str, homes: tuple[str, ...]) -> bool:
    """Whether a folder is a root, a home or above one; or a home's `.local`, which holds much besides the program."""
    return len(Path(folder).parts) < 3 or any(
        covers(folder, home) or folder == f"{home.rstrip('/')}/.local" for home in homes
    )


def _follow(program: str, links: list[tuple[str, str]]) -> str:
    """The file at the end of a chain of symbolic links, each appended to `links`.

    Links among the folders on the way are resolved at once.
    """
    for _ in range(_LINKS_MAX):
        if not Path(program).is_symlink():
            break
        target = str(Path(program).readlink())
        links.append((program, target))
        program = os.path.normpath(Path(program).parent / target)
    real = os.path.realpath(program)
    if real != program and Path(program).exists():
        links.append((program, real))
    return real


def _interpreter(file: str) -> list[str]:
    """The words of a script's `#!` line that may be programs."""
    try:
        with Path(file).open("rb") as script:
            head = script.read(_SHEBANG_BYTES)
    except OSError:
        return []
    if not head.startswith(b"#!"):
        return []
    words = os.fsdecode(head[2:].split(b"\n")[0]).split()
    return [word for word in words if not word.startswith("-") and "=" not in word]
