"""The claim on a workspace: one warden at a time, and nothing left of the one before. Stdlib only.

Of this home's wardens, and, by the lock on the folder itself (`folder_lock.py`), of all others on this host. A flock on
a file in MAESTRO_HOME/locks, held by the warden's own descriptor, which no agent inherits: it ends with the
warden, however that ends. What a killed warden leaves running is named in the file: the run before its program
starts (it carries the run's marks), its process as soon as there is one. The record is blanked when all of it is gone;
else the next holder ends that first.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Sequence
from typing import NamedTuple

from maestro.runtime.supervision import processes, run_cgroup
from maestro.runtime.supervision.folder_lock import FolderLock
from maestro.runtime.supervision.last_writer import LastWriter
from maestro.runtime.supervision.spawn import Unstartable
from maestro.runtime.supervision.spec import HOME_MARK, RUN_MARK

_RECORD_BYTES = 4096
"""The record is blanked, not cut off: a file that changes its size costs its file system a journal entry."""

_PREDECESSOR_PATIENCE_S = 5.0
_ABANDONED_S = 1.0
"""A warden whose worker is gone ends in a tenth of this; if it still holds the claim, it is stopped itself."""


class ProcessIdentity(NamedTuple):
    """A process for as long as this boot lasts."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        return self.pid > 0 and processes.alive(self.pid, self.start_time)


class Holder(NamedTuple):
    """What the file says: whose run, the warden, the worker, the agent (pid 0 before it starts), all of one boot.

    cgroups: the control groups of the run.
    """

    run: str
    home: str
    boot_id: str
    warden: ProcessIdentity
    worker: ProcessIdentity
    agent: ProcessIdentity = ProcessIdentity(0, 0)
    cgroups: Sequence[str] = ()


class WorkspaceLock:
    """Taken in steps, so that the warden can hear its worker meanwhile: `take()` until it answers True."""

    def __init__(self, path: str, wait_s: float, folder: str | None = None) -> None:
        """folder: the workspace, where others than this home may write it. Raises OSError where the file cannot be
        opened.
        """
        self._folder = None if folder is None else FolderLock(folder)
        self._path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._asked_at = time.monotonic()
        self._give_up_at = self._asked_at + wait_s

    def take(self, boot_id: str) -> bool:
        """Whether the workspace is ours, its predecessor's processes ended; not so while another holds it.

        Raises Unstartable, to be tried again, when that takes longer than `wait_s`.
        """
        if self._try(boot_id):
            return True
        if time.monotonic() > self._give_up_at:
            holder = read_holder(self._fd)
            whose = f" with run {holder.run}" if holder else self._other
            raise Unstartable(f"the workspace is busy{whose}", retriable=True)
        return False

    def _try(self, boot_id: str) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._end_abandoned(boot_id)
            return False
        holder = read_holder(self._fd)
        if holder is not None and holder.boot_id == boot_id and not end_tree(holder):
            return False
        if holder is not None:
            self._blank()
        return self._take_folder(boot_id)

    def _take_folder(self, boot_id: str) -> bool:
        """Whether no other home's warden writes the folder, one above or one inside it."""
        if self._folder is None:
            return True
        try:
            taken = self._folder.take()
        except OSError as error:
            raise Unstartable.of("the workspace cannot be locked", error) from error
        return taken and (self._folder.handle is None or self._succeeds(LastWriter(self._folder.handle), boot_id))

    def _succeeds(self, last: LastWriter, boot_id: str) -> bool:
        """Whether nothing is left of the last writer, should that have been another home's; we are known as it now."""
        claim = last.lock_file()
        if claim == self._path:
            return True
        if claim and not end_other(claim, boot_id):
            return False
        last.note(self._path)
        return True

    @property
    def _other(self) -> str:
        return "" if self._folder is None else ", or one above or inside it, with a run of another MAESTRO_HOME"

    def _blank(self) -> None:
        os.pwrite(self._fd, b" " * _RECORD_BYTES, 0)

    def record(self, holder: Holder) -> None:
        """Name what is about to run, and again who runs it."""
        os.pwrite(self._fd, json.dumps(holder).encode().ljust(_RECORD_BYTES), 0)

    def release(self, ours: bool) -> None:
        """Let the next one in, or stop waiting. ours: we held it, and nothing of our run is left to end."""
        if ours:
            self._blank()
        if self._folder is not None:
            self._folder.release()
        os.close(self._fd)

    def _end_abandoned(self, boot_id: str) -> None:
        """A stopped warden cannot see that its worker is gone, and would keep the workspace for ever."""
        holder = read_holder(self._fd)
        if holder is None or holder.boot_id != boot_id or holder.worker.alive():
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _ABANDONED_S:
            processes.send_exactly(*holder.agent, signal.SIGKILL)
            processes.send_exactly(*holder.warden, signal.SIGKILL)


def read_holder(fd: int) -> Holder | None:
    """The record in a lock file; None where it is blank."""
    try:
        run, home, boot, *three, cgroups = json.loads(os.pread(fd, _RECORD_BYTES, 0))
        warden, worker, agent = (ProcessIdentity(*process) for process in three)
        return Holder(run, home, boot, warden, worker, agent, cgroups)
    except (ValueError, TypeError):
        return None


def end_other(claim: str, boot_id: str) -> bool:
    """End what is left of the run that another home's claim names, if its warden is dead; whether nothing is."""
    try:
        fd = os.open(claim, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # that home is gone
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = read_holder(fd)
        return holder is None or holder.boot_id != boot_id or end_tree(holder)
    except BlockingIOError:  # a warden has it, and has ended what was before it; it waits for the folder as we do
        return True
    finally:
        os.close(fd)


def end_tree(holder: Holder) -> bool:
    """Kill what is left of a run whose warden died, and only that. Returns whether nothing of it is alive."""
    deadline = time.monotonic() + _PREDECESSOR_PATIENCE_S
    while left := _left_of(holder):
        for process in left:
            processes.send_exactly(*process, signal.SIGKILL)
        for group in holder.cgroups:
            run_cgroup.kill(group)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    for group in holder.cgroups:
        run_cgroup.remove(group)
    return True


def _left_of(holder: Holder) -> list[ProcessIdentity]:
    """The recorded agent with all below it, what is in its groups, and what carries the marks of its run."""
    found: set[int] = set()
    if holder.agent.alive():
        found |= {holder.agent.pid, *processes.descendants(holder.agent.pid)}
    for group in holder.cgroups:
        found.update(run_cgroup.inside(group))
    for pid in processes.pids():
        marks = processes.marks(pid)
        if marks.get(RUN_MARK) == holder.run and marks.get(HOME_MARK) == holder.home:
            found |= {pid, *processes.descendants(pid)}
    identities = [ProcessIdentity(pid, processes.start_time(pid)) for pid in found]
    return [process for process in identities if process.alive()]
