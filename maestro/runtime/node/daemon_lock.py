"""The daemon lock: a locked file in MAESTRO_HOME that says which process is its daemon, and how far that is.

Where the daemon cannot be reached by its socket this file is read: a lock that is held means that the daemon lives,
whatever became of the socket. The kernel says whether the lock is held; what the file says of its holder is believed
where that process is alive.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal

import msgspec

from maestro.durable import lock_file, try_lock
from maestro.folders import HeldFolder
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.failures import surroundings
from maestro.runtime.supervision import processes

LOCK = "daemon.lock"
"""The name of the file in MAESTRO_HOME."""
HANDED_ON = "MAESTRO_DAEMON_LOCK"
"""Variable with the descriptor of the lock, for the daemon that this process becomes."""
State = Literal["", "starting", "listening", "ending"]


class Holder(msgspec.Struct, frozen=True):
    """The holder of a daemon lock. pid: 0 where it is not known; start_time: of the process; state: how far it is."""

    pid: int = 0
    start_time: int = 0
    state: State = ""

    @property
    def name(self) -> str:
        """The holder as a message calls it."""
        return f"process {self.pid}" if self.pid else "a process"

    @property
    def remedy(self) -> str:
        """What a user can do to end the holder."""
        if not self.pid:
            return "see which process has daemon.lock open, end it, and try again"
        return f"end it with `kill {self.pid}`, or `kill -9 {self.pid}` where that does nothing, and try again"


def holder(home: Path) -> Holder | None:
    """The holder of this home's daemon lock; None where nobody has it. Makes no file."""
    try:
        descriptor = os.open(home / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if try_lock(descriptor, shared=True) else _alive(os.pread(descriptor, 4096, 0))
    finally:
        os.close(descriptor)


def _alive(text: bytes) -> Holder:
    """The holder as the file says, unknown where that is not alive: a command may hold the lock for a moment."""
    try:
        said = msgspec.json.decode(text, type=Holder)
        alive = said.pid > 0 and processes.start_time(said.pid) == said.start_time
    except (msgspec.DecodeError, OSError):
        return Holder()
    return said if alive else Holder()


class DaemonLock:
    """The daemon lock of a home, held by this process."""

    def __init__(self, home: Path, descriptor: int) -> None:
        self._path = home / LOCK
        self._home = HeldFolder(home)
        self._descriptor = descriptor
        self.state: State = ""

    @classmethod
    def take(cls, home: Path) -> DaemonLock:
        """Take the lock, or take it over from the daemon that this process was: then no other could come between.

        Raises Refused where another process has it, MaestroError where the file cannot be made.
        """
        handed_on = os.environ.pop(HANDED_ON, "")
        if handed_on:
            os.set_inheritable(int(handed_on), False)
            return cls(home, int(handed_on))
        descriptor = _locked(home / LOCK)
        if descriptor is None:
            raise Refused("this node's daemon is running already", str(home))
        return cls(home, descriptor)

    def release(self) -> None:
        """Give the lock back."""
        self._home.close()
        os.close(self._descriptor)

    def hand_on(self) -> dict[str, str]:
        """Let the program that this process becomes keep the lock; the variables that it needs for that."""
        os.set_inheritable(self._descriptor, True)
        return {HANDED_ON: str(self._descriptor)}

    def say(self, state: State) -> None:
        """Write into the file how far this daemon is; on a full disk nothing is written."""
        self.state = state
        me = Holder(os.getpid(), processes.start_time(os.getpid()), state)
        text = msgspec.json.encode(me) + b"\n"
        try:
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))
        except OSError:
            return

    @property
    def home_stands(self) -> bool:
        """Whether MAESTRO_HOME is the folder that it was."""
        return self._home.stands

    @property
    def is_displaced(self) -> bool:
        """Whether another file lies in the place of ours: another daemon may have this home by now (see `renew`)."""
        return _identity(self._path) not in ((0, 0), _identity_of(os.fstat(self._descriptor)))

    def renew(self) -> bool:
        """Make and lock the file again where somebody removed it. False: another daemon was faster. Raises OSError."""
        if _identity(self._path) == _identity_of(os.fstat(self._descriptor)):
            return True
        fresh = _locked(self._path)
        if fresh is None:
            return False
        os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)
        self.say(self.state)
        return True


def _locked(path: Path) -> int | None:
    """A descriptor of the file, locked; None where another process has the lock. Raises MaestroError."""
    try:
        return lock_file(path)
    except OSError as error:
        known = surroundings(error)
        mend = known.mend if known else "remove what lies there"
        raise MaestroError(f"cannot lock this home: {error.strerror}", str(path), mend) from None


def _identity(path: Path) -> tuple[int, int]:
    try:
        return _identity_of(os.lstat(path))
    except OSError:
        return (0, 0)


def _identity_of(found: os.stat_result) -> tuple[int, int]:
    return (found.st_dev, found.st_ino) if stat.S_IFMT(found.st_mode) else (0, 0)
