"""What this node has begun to restore, in MAESTRO_HOME, so that a crash at any instant leaves it to be ended.

The journal is written before the first event, and once more before stages take the places of workspaces, with the
identity of each stage. Afterwards the workspaces themselves say whether that came about: all are the stages, or none.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from maestro import files
from maestro.folders import private_folder
from maestro.model.errors import Refused, VerificationFailed
from maestro.model.events import AgentAssigned
from maestro.workspaces.exchange import Exchange

BYTES_MAX = 1 << 28
FOLDER, BEGUN = "restore", "begun"


class Target(msgspec.Struct):
    """A workspace that is put back from a tree of a snapshot. new: (device, inode) of its stage, when that is whole."""

    workspace: str
    snapshot: str
    tree: str
    new: tuple[int, int] | None = None


class Begun(msgspec.Struct, kw_only=True):
    """A restore. to: the position that the line goes back to, None where only workspaces are put back.

    before: the snapshot that undoes it. stopped: the agents that were stopped for it. assigned: those that are assigned
    anew with it. placing: the stages are whole and take their places.
    """

    restore: str
    to: int | None
    source: str
    before: str
    actor: str
    cause: str
    resume: bool = False
    stopped: list[str] = []
    assigned: list[AgentAssigned] = []
    targets: list[Target] = []
    placing: bool = False

    @property
    def placed(self) -> bool:
        """Whether all workspaces are the stages that were made for them."""
        return self.placing and all(identity(target.workspace) == target.new for target in self.targets)


class Journal:
    """The one of a home. Blocks."""

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER
        self._path = self.folder / BEGUN

    def exchange(self) -> Exchange:
        """The right to restore on this node, and what puts stages into their places.

        What an earlier process has begun of that is completed or swept. Raises `Refused` while another one has it.
        """
        private_folder(self.folder, "restore journal", tighten=True)
        return Exchange(self.folder / "exchange")

    @property
    def is_open(self) -> bool:
        """Whether something was begun and is not ended."""
        return self._path.exists()

    def read(self) -> Begun | None:
        """What was begun and is not ended. Raises `VerificationFailed` where it cannot be read."""
        try:
            return msgspec.json.decode(files.content(self._path, BYTES_MAX), type=Begun)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError) as error:
            mend = "look at what it names, then remove it"
            raise VerificationFailed(
                f"the journal of a restore cannot be read: {error}", str(self._path), mend
            ) from None

    def write(self, begun: Begun) -> None:
        """Remember it, on the disk. Raises `Refused` where there is no room."""
        fresh = self._path.with_name("begun.fresh")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(begun))
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
            self._sync()
        except OSError as error:
            raise Refused(f"it cannot be written: {error.strerror}", str(self._path), "make room there") from None

    def end(self) -> None:
        """It is ended, one way or the other."""
        self._path.unlink(missing_ok=True)
        self._sync()

    def _sync(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def identity(path: str) -> tuple[int, int] | None:
    """Which folder lies at a path now."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
