"""The archivers that are compared: Maestro's, and each other one that is installed, through the same few actions.

Maestro's runs as a process too, so that each pays for its start. Each keeps its cache next to its repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from tools.bench.worktree import size_of


class Archiver(ABC):
    """One archiver with a repository in `place`. An action that it does not support returns False."""

    name: ClassVar[str]

    def __init__(self, place: Path) -> None:
        self.place = place
        self.repository = place / "repository"
        place.mkdir(parents=True)

    @abstractmethod
    def save(self, tree: Path, name: str) -> bool:
        """Take a snapshot."""

    @abstractmethod
    def restore(self, name: str, target: Path) -> bool:
        """Restore a snapshot into a folder that does not exist."""

    @abstractmethod
    def verify(self) -> bool:
        """Read and check every byte of all snapshots."""

    @abstractmethod
    def roll_back(self, tree: Path, name: str) -> bool:
        """Make the tree what it was. Maestro takes a snapshot of the current tree first, as it always does."""

    @abstractmethod
    def wake(self) -> bool:
        """Start the program and end it, as the machine may have dropped it from memory after a while."""

    def export(self, name: str) -> bool:
        """Export a snapshot to one file; False where the archiver has no such action."""
        del name
        return False

    def kept_bytes(self) -> int:
        """Bytes in the repository, without caches."""
        return size_of(self.repository)

    def run(self, *argv: str, cwd: Path | None = None) -> bool:
        """Run a program; raises with its stderr when it fails."""
        home = {"HOME": str(self.place), "RESTIC_PASSWORD": "bench", "BORG_BASE_DIR": str(self.place)}
        done = subprocess.run(argv, cwd=cwd, env={**os.environ, **home}, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{argv}: {done.stderr[-2000:]}")
        return True


class Maestro(Archiver):
    """Maestro's archive library, in a process of its own for each action."""

    name = "maestro"

    def wake(self) -> bool:
        return self._act("wake")

    def save(self, tree: Path, name: str) -> bool:
        return self._act("save", str(tree), name)

    def restore(self, name: str, target: Path) -> bool:
        return self._act("restore", name, str(target))

    def verify(self) -> bool:
        return self._act("verify")

    def roll_back(self, tree: Path, name: str) -> bool:
        return self._act("roll-back", str(tree), name)

    def export(self, name: str) -> bool:
        return self._act("export", name, str(self.place / "export.tar.gz"))

    def kept_bytes(self) -> int:
        return sum(size_of(self.repository / name) for name in ("packs", "manifests"))

    def _act(self, *argv: str) -> bool:
        return self.run(
            sys.executable, "-m", "tools.bench.archive_actions", str(self.repository), *argv, cwd=Path.cwd()
        )


class Restic(Archiver):
    """restic, with its default compression."""

    name = "restic"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self._do("init")

    def wake(self) -> bool:
        return self._do("snapshots")

    def save(self, tree: Path, name: str) -> bool:
        return self._do("backup", "--tag", name, ".", cwd=tree)

    def restore(self, name: str, target: Path) -> bool:
        return self._do("restore", "latest", "--tag", name, "--target", str(target))

    def verify(self) -> bool:
        return self._do("check", "--read-data")

    def roll_back(self, tree: Path, name: str) -> bool:
        return self._do("restore", "latest", "--tag", name, "--target", str(tree))

    def _do(self, *argv: str, cwd: Path | None = None) -> bool:
        return self.run("restic", "-q", "-r", str(self.repository), *argv, cwd=cwd)


class Borg(Archiver):
    """borg, without encryption, zstd at level 1."""

    name = "borg"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.run("borg", "init", "-e", "none", str(self.repository))

    def wake(self) -> bool:
        return self.run("borg", "list", str(self.repository))

    def save(self, tree: Path, name: str) -> bool:
        return self.run("borg", "create", "-C", "zstd,1", f"{self.repository}::{name}", ".", cwd=tree)

    def restore(self, name: str, target: Path) -> bool:
        target.mkdir()
        return self.run("borg", "extract", f"{self.repository}::{name}", cwd=target)

    def verify(self) -> bool:
        return self.run("borg", "check", "--verify-data", str(self.repository))

    def roll_back(self, tree: Path, name: str) -> bool:
        return self.run("borg", "extract", f"{self.repository}::{name}", cwd=tree)

    def export(self, name: str) -> bool:
        out = str(self.place / "export.tar.gz")
        return self.run("borg", "export-tar", f"{self.repository}::{name}", out)


class Tar(Archiver):
    """tar into zstd -1 on all cores: everything, every time."""

    name = "tar, zstd -T0"

    def wake(self) -> bool:
        return self._shell("tar --version && zstd --version")

    def save(self, tree: Path, name: str) -> bool:
        self.repository.mkdir(exist_ok=True)
        return self._shell(f"tar -C '{tree}' -c . | zstd -q -f -1 -T0 -o '{self.repository}/{name}'")

    def restore(self, name: str, target: Path) -> bool:
        target.mkdir()
        return self._shell(f"zstd -q -d -c '{self.repository}/{name}' | tar -C '{target}' -x")

    def verify(self) -> bool:
        return self._shell(f"zstd -q -t '{self.repository}'/*")

    def roll_back(self, tree: Path, name: str) -> bool:
        return self._shell(f"zstd -q -d -c '{self.repository}/{name}' | tar -C '{tree}' -x")

    def _shell(self, line: str) -> bool:
        return self.run("bash", "-o", "pipefail", "-c", line)


def present(install: bool) -> tuple[list[type[Archiver]], list[str]]:
    """The installed archivers, Maestro's first, and the missing ones with the reason. install: try to install them."""
    wanted: list[tuple[type[Archiver], str, str]] = [
        (Restic, "restic", "restic"), (Borg, "borg", "borgbackup"), (Tar, "zstd", "zstd"),
    ]  # fmt: skip
    missing = [package for _, program, package in wanted if not shutil.which(program)]
    if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", *missing], capture_output=True)
    found: list[type[Archiver]] = [Maestro]
    left_out = []
    for archiver, program, package in wanted:
        if shutil.which(program):
            found.append(archiver)
        else:
            left_out.append(f"{program} (not on PATH; --install as root, or: apt-get install {package})")
    return found, left_out
