"""What this node has begun to restore, in MAESTRO_HOME, so that a crash at any instant leaves it to be ended.

The journal is written before the first event, and once more before stages take the places of workspaces, with the
identity of each stage and of what was there before. Afterwards the workspaces themselves say what came about.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec

from maestro import files
from maestro.folders import private_folder
from maestro.model.errors import Refused, VerificationFailed
from maestro.model.events import AgentAssigned
from maestro.model.restore import BrokenOff, PlaceFate, broken_off
from maestro.workspaces.exchanges import leftovers
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX, Exchange
from maestro.workspaces.exchanges.pairs import Identity, boot_id, fate, identity, why_lost

FOLDER, BEGUN, EXCHANGE = "restore", "begun", "exchange"
BYTES_MAX = 1 << 28


def left_of(home: Path) -> Path:
    """Where it is on record what the restores of a home could not remove."""
    return home / FOLDER / EXCHANGE / leftovers.FOLDER


class Target(msgspec.Struct):
    """A workspace that is put back from a tree of a snapshot, for an agent.

    new: the identity of its stage, when that is whole; old: of what was there before; boot: when they were recorded.
    mark: the file that says what became of it, where its identity does not (`Exchange.mark`).
    """

    workspace: str
    snapshot: str
    tree: str
    new: Identity | None = None
    old: Identity | None = None
    boot: str = ""
    agent: str = ""
    mark: str = ""

    @property
    def fate(self) -> PlaceFate:
        """What lies in its place now."""
        if self.mark:
            return _marked(self.mark)
        return fate(identity(self.workspace), self.new, self.old, self.boot)

    @property
    def why_lost(self) -> str:
        """Why it is not what it was to be."""
        return why_lost(self.workspace, self.fate)

    def record(self, stage: str, mark: str = "") -> None:
        """Remember what is there, and what is to take its place."""
        self.mark = mark
        self.new, self.old, self.boot = identity(stage), identity(self.workspace), boot_id()


def _marked(mark: str) -> PlaceFate:
    try:
        told = Path(mark).read_text()
    except FileNotFoundError:
        return "old"
    return "new" if told == "new" else "old" if told == "old" else "lost"


class LoadedLog(msgspec.Struct):
    """The log that was loaded for a restore into an empty store: where it ended."""

    position: int
    chain: str


class BegunRestore(msgspec.Struct, kw_only=True):
    """A restore. to: the position that the line goes back to, None where only workspaces are put back.

    before: the snapshot that undoes it. stopped: the agents that were stopped for it; waiting: those that an earlier
    one has left stopped, as their workspaces were lost. assigned: those that are assigned anew with it. loads: the log
    was empty, and is loaded for it. placing: the stages are whole and take their places.
    """

    restore: str
    actor: str
    cause: str
    to: int | None = None
    source: str = ""
    before: str = ""
    resume: bool = False
    stopped: list[str] = []
    waiting: list[str] = []
    assigned: list[AgentAssigned] = []
    targets: list[Target] = []
    loads: LoadedLog | None = None
    placing: bool = False

    @property
    def broken_off(self) -> BrokenOff:
        """Whether it counts as done, and which workspaces are not what they were to be: the folders say it."""
        if not self.placing:
            return BrokenOff(False, [])
        return broken_off({target.workspace: target.fate for target in self.targets})


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
        return Exchange(self.folder / EXCHANGE)

    @property
    def is_open(self) -> bool:
        """Whether something was begun and is not ended."""
        return self._path.exists() or (self.folder / EXCHANGE / "journal").exists()

    def read(self) -> BegunRestore | None:
        """What was begun and is not ended. Raises `VerificationFailed` where it cannot be read."""
        try:
            return msgspec.json.decode(files.content(self._path, BYTES_MAX), type=BegunRestore)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, OSError) as error:
            mend = f"look at what it names; `rm {self._path}` gives it up"
            raise VerificationFailed(
                f"the journal of a restore cannot be read: {error}", str(self._path), mend
            ) from None

    def write(self, begun: BegunRestore) -> None:
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
        for mark in (self.folder / EXCHANGE).glob(f"{STAGE_PREFIX}*"):
            mark.unlink(missing_ok=True)

    def _sync(self) -> None:
        handle = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class UnderWay(NamedTuple):
    """A restore under way: the journal of its home, the right to it, and what it has begun, filled as it goes."""

    journal: Journal
    exchange: Exchange
    begun: BegunRestore
