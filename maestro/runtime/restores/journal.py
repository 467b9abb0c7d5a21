"""The restore journal in MAESTRO_HOME: what this node has begun to restore, so that a crash leaves nothing half done.

The journal is written before the first event, and once more before stages take the places of workspaces, with the
identity of each stage and of what was there before. Afterwards the workspaces themselves say what came about.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from maestro import files
from maestro.durable import replace, sync_folder
from maestro.folders import private_folder
from maestro.model.errors import Refused, VerificationFailed
from maestro.model.events import AgentAssigned, FailsafeReturned, WorkspaceReturned
from maestro.model.restore import BrokenOff, PlaceFate, broken_off
from maestro.workspaces.exchanges import leftovers
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX, Exchange
from maestro.workspaces.exchanges.pairs import Identity, boot_id, fate, identity, why_lost
from maestro.workspaces.open_records import BEGUN, EXCHANGE, RESTORE

BYTES_MAX = 1 << 28


def left_of(home: Path) -> Path:
    """The folder that lists what the restores of a home could not remove."""
    return home / RESTORE / EXCHANGE / leftovers.FOLDER


class Target(msgspec.Struct):
    """A workspace that a restore fills from a tree of a snapshot. agent: whose it is.

    new: the identity of its stage, when that is whole; old: of what was there before; boot: of the system's start in
    which they were recorded. mark: the file that says what became of the workspace where its identity does not
    (`Exchange.mark`). foreign: the folder was no agent's, and the user named it. name: what names the workspace to a
    user where others have the same path, "" for that.
    """

    workspace: str
    snapshot: str
    tree: str
    new: Identity | None = None
    old: Identity | None = None
    boot: str = ""
    agent: str = ""
    mark: str = ""
    foreign: bool = False
    name: str = ""

    @property
    def fate(self) -> PlaceFate:
        """What lies in the place of the workspace now: what was put back, what was there before, or neither."""
        if self.mark:
            return _marked(self.mark)
        return fate(identity(self.workspace), self.new, self.old, self.boot)

    @property
    def why_lost(self) -> str:
        """Why the workspace is neither what was put back nor what was there before, in words."""
        return why_lost(self.workspace, self.fate)

    def record(self, stage: str, mark: str = "") -> None:
        """Record the identities of the stage and of what is there now. mark: see `Target`."""
        self.mark = mark
        self.new, self.old, self.boot = identity(stage), identity(self.workspace), boot_id()


def _marked(mark: str) -> PlaceFate:
    try:
        told = Path(mark).read_text()
    except FileNotFoundError:
        return "old"
    return "new" if told == "new" else "old" if told == "old" else "lost"


class LoadedLog(msgspec.Struct):
    """A log that was loaded into an empty store for a restore: the position and the chain value of its end."""

    position: int
    chain: str


class BegunRestore(msgspec.Struct, kw_only=True):
    """A restore that was begun, as the journal has it.

    to: the position that the state goes back to, None where only workspaces are put back. before: the snapshot that
    undoes the restore; lacking: it does not hold every workspace that there was. stopped: the agents that were stopped
    for it; waiting: those that an earlier restore has left stopped, as their workspaces were lost. assigned: the
    assignments that it makes. loads: the log that was loaded for it. placing: the stages are whole, and take their
    places. wish: the position of the wish of a workflow that it fulfils, 0 for none; returned: its answer. guarded:
    what is told of it where a workspace goes back after a guarded run. across: it is this node's part of a restore over
    several, so that the log says what is to become of it.
    """

    restore: str
    actor: str
    cause: str
    to: int | None = None
    source: str = ""
    before: str = ""
    lacking: bool = False
    resume: bool = False
    stopped: list[str] = []
    waiting: list[str] = []
    assigned: list[AgentAssigned] = []
    targets: list[Target] = []
    loads: LoadedLog | None = None
    placing: bool = False
    wish: int = 0
    returned: WorkspaceReturned | None = None
    guarded: FailsafeReturned | None = None
    across: bool = False

    @property
    def broken_off(self) -> BrokenOff:
        """Whether the restore counts as done, and which workspaces somebody has to look after, by what lies there."""
        if not self.placing:
            return BrokenOff(False, [])
        return broken_off({target.workspace: target.fate for target in self.targets})


class Journal:
    """The restore journal in MAESTRO_HOME. Blocking I/O."""

    def __init__(self, home: Path) -> None:
        self.folder = home / RESTORE
        self._path = self.folder / BEGUN

    def exchange(self) -> Exchange:
        """Take the right to restore on this node, with the exchange that swaps stages and workspaces.

        An exchange that an earlier process has begun is completed or undone. Raises Refused while another process has
        it.
        """
        private_folder(self.folder, "restore journal", tighten=True)
        return Exchange(self.folder / EXCHANGE)

    def read(self) -> BegunRestore | None:
        """The restore that was begun and is not ended. Raises VerificationFailed where the journal cannot be read."""
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
        """Record a restore on the disk, in place of what was recorded. Raises Refused where there is no room."""
        try:
            replace(self._path, msgspec.json.encode(begun))
        except OSError as error:
            raise Refused(f"it cannot be written: {error.strerror}", str(self._path), "make room there") from None

    def end(self) -> None:
        """Forget the restore: it was finished or undone."""
        self._path.unlink(missing_ok=True)
        sync_folder(self.folder)
        for mark in (self.folder / EXCHANGE).glob(f"{STAGE_PREFIX}*"):
            mark.unlink(missing_ok=True)


class UnderWay(NamedTuple):
    """The right to restore on this node, and the restore that uses it; `begun` is filled as it goes."""

    journal: Journal
    exchange: Exchange
    begun: BegunRestore
