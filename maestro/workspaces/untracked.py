"""Finds files of a workspace that git could not bring back: those that a repository ignores or does not track.

The repositories are an agent's, so nothing in them may be executed: git only lists names here, with hooks, monitors and
lazy fetches turned off, and with no configuration but the repository's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import msgspec

PATIENCE_S = 60.0
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_SETTINGS = (
    *("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false"),
    *("-c", "safe.directory=*", "-c", "protocol.allow=never", "-c", "core.sshCommand=false"),
)


class Unrecoverable(msgspec.Struct, frozen=True):
    """Those of some paths that git could not bring back. unknown: in no repository, or git could not tell."""

    untracked: list[str]
    ignored: list[str]
    unknown: list[str]


def unrecoverable(workspace: str | Path, paths: Iterable[str]) -> Unrecoverable:
    """Sort out the paths that git could not bring back. Paths in a `.git` folder are skipped.

    paths: of files, relative to the workspace.
    """
    found = Unrecoverable([], [], [])
    git = shutil.which("git")
    for repository, inside in _by_repository(Path(workspace), paths).items():
        if repository is None or git is None:
            found.unknown.extend(str(path) for path in inside)
            continue
        untracked = _listed(git, Path(workspace, repository), "--others", "--exclude-standard")
        ignored = _listed(git, Path(workspace, repository), "--others", "--ignored", "--exclude-standard")
        for path in inside:
            name = str(path.relative_to(repository))
            if untracked is None or ignored is None:
                found.unknown.append(str(path))
            elif name in ignored:
                found.ignored.append(str(path))
            elif name in untracked:
                found.untracked.append(str(path))
    return found


def _by_repository(workspace: Path, paths: Iterable[str]) -> dict[Path | None, list[Path]]:
    """Group paths by the folder of the repository that they lie in; None for those in no repository."""
    known: dict[Path, Path | None] = {}

    def repository(folder: Path) -> Path | None:
        on_the_way: list[Path] = []
        place: Path | None = folder
        while place is not None and place not in known:
            on_the_way.append(place)
            is_end = place == Path() or os.path.lexists(workspace / place / ".git")
            place = None if is_end else place.parent
        if place is not None:
            found = known[place]
        else:
            last = on_the_way[-1]
            found = last if os.path.lexists(workspace / last / ".git") else None
        known.update(dict.fromkeys(on_the_way, found))
        return found

    found: dict[Path | None, list[Path]] = {}
    for text in paths:
        path = Path(text)
        if ".git" not in path.parts:
            found.setdefault(repository(path.parent), []).append(path)
    return found


def _listed(git: str, repository: Path, *which: str) -> set[str] | None:
    """The names that `git ls-files` lists; None where git fails."""
    argv = [git, *_SETTINGS, f"--git-dir={repository / '.git'}", f"--work-tree={repository}", "ls-files", "-z", *which]
    try:
        done = subprocess.run(
            argv, cwd=repository, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {os.fsdecode(name) for name in done.stdout.split(b"\0") if name} if done.returncode == 0 else None
