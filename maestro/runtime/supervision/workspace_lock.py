"""The lock on a workspace: one warden at a time works there, and nothing is left of the one before.

It is a flock on a file in MAESTRO_HOME/locks, held by the warden's own descriptor, which no agent inherits: it ends
with the warden, however that ends. Wardens of other homes on this host are kept out by the lock on the folder itself
(`folder_lock.py`). What a killed warden leaves running is named in the lock file: the run before its program starts
(its processes carry the run's marks), the agent's process as soon as there is one. The record is blanked when none of
them is alive; else the next holder of the lock kills them first. A file that nobody has used for long is removed by who
holds its lock; so whoever gets a lock looks whether it is still the file of that name. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from maestro.runtime.supervision import processes, run_cgroup
from maestro.runtime.supervision.folder_lock import FolderLock
from maestro.runtime.supervision.last_writer import LastWriter
from maestro.runtime.supervision.spawn import Unstartable
from maestro.runtime.supervision.spec import HOME_MARK, RUN_MARK

SUFFIX = ".lock"
"""What the names of lock files end with."""
_RECORD_BYTES = 4096
"""The record is blanked, not cut off: a file that changes its size costs its file system a journal entry."""

_PREDECESSOR_PATIENCE_S = 5.0
_ABANDONED_S = 1.0
"""A warden whose worker is gone ends in a tenth of this; one that still holds the lock then was stopped by a signal."""


class ProcessIdentity(NamedTuple):
    """The name of a process that no other one of this boot has. start_time: in clock ticks since boot."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.pid > 0 and processes.alive(self.pid, self.start_time)


class Holder(NamedTuple):
    """The holder of a workspace lock as its file names it: a run, and the processes that it is in the hands of.

    home: MAESTRO_HOME. boot_id: of the boot that the processes are of. agent: its pid is 0 before it starts. cgroups:
    the control groups of the run.
    """

    run: str
    home: str
    boot_id: str
    warden: ProcessIdentity
    worker: ProcessIdentity
    agent: ProcessIdentity = ProcessIdentity(0, 0)
    cgroups: Sequence[str] = ()


class WorkspaceLock:
    """The lock on one workspace, taken in steps, so that the warden hears its worker meanwhile: see `take`."""

    def __init__(self, path: str, wait_s: float, folder: str | None = None) -> None:
        """path: the lock file; wait_s: how long to wait for it; folder: the workspace, where others than this home may
        write it, else None. Raises OSError where the lock file cannot be opened.
        """
        self._folder = None if folder is None else FolderLock(folder)
        self._path = path
        self._fd = self._opened()
        self._asked_at = time.monotonic()
        self._give_up_at = self._asked_at + wait_s

    def take(self, boot_id: str) -> bool:
        """Whether the workspace is locked for this warden, and no process of the last run in it is alive.

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
        if not _is_named(self._fd, self._path):  # it was removed meanwhile
            fd = self._opened()
            os.close(self._fd)
            self._fd = fd
            return False
        holder = read_holder(self._fd)
        if holder is not None and holder.boot_id == boot_id and not end_tree(holder):
            return False
        if holder is not None:
            self._blank()
        return self._take_folder(boot_id)

    def _opened(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

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
        """Whether nothing is left of the last writer of another home; this lock is noted as the last writer's then."""
        lock_file = last.lock_file()
        if lock_file == self._path:
            return True
        if lock_file and not end_other(lock_file, boot_id):
            return False
        last.note(self._path)
        return True

    @property
    def _other(self) -> str:
        return "" if self._folder is None else ", or one above or inside it, with a run of another MAESTRO_HOME"

    def _blank(self) -> None:
        os.pwrite(self._fd, b" " * _RECORD_BYTES, 0)

    def record(self, holder: Holder) -> None:
        """Write the holder into the lock file: before the program starts, and again with its process."""
        os.pwrite(self._fd, json.dumps(holder).encode().ljust(_RECORD_BYTES), 0)

    def release(self, ours: bool) -> None:
        """Give the lock back, or stop waiting for it. ours: it was held, and no process of the run is alive."""
        if ours:
            self._blank()
        if self._folder is not None:
            self._folder.release()
        os.close(self._fd)

    def _end_abandoned(self, boot_id: str) -> None:
        """Kill run and warden that hold the lock though their worker is gone: a stopped warden cannot see that."""
        holder = read_holder(self._fd)
        if holder is None or holder.boot_id != boot_id or holder.worker.alive():
            self._asked_at = time.monotonic()
        elif time.monotonic() - self._asked_at > _ABANDONED_S:
            processes.send_exactly(*holder.agent, signal.SIGKILL)
            processes.send_exactly(*holder.warden, signal.SIGKILL)


def remove_idle(folder: str, before: float) -> int:
    """Remove the lock files of a folder that nobody holds, and of whose last run nothing is left; returns how many.

    before: only those that were written before then, in seconds since 1970.
    """
    removed = 0
    for entry in os.scandir(folder):
        try:
            if not entry.name.endswith(SUFFIX) or entry.stat(follow_symlinks=False).st_mtime >= before:
                continue
            fd = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_named(fd, entry.path) and read_holder(fd) is None:
                    Path(entry.path).unlink()
                    removed += 1
            finally:
                os.close(fd)
        except OSError:  # somebody holds it, or was first
            continue
    return removed


def _is_named(fd: int, path: str) -> bool:
    """Whether a path leads to the file that is open."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    held = os.fstat(fd)
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)


def read_holder(fd: int) -> Holder | None:
    """The holder that a lock file names; None where its record is blank."""
    try:
        run, home, boot, *three, cgroups = json.loads(os.pread(fd, _RECORD_BYTES, 0))
        warden, worker, agent = (ProcessIdentity(*process) for process in three)
        return Holder(run, home, boot, warden, worker, agent, cgroups)
    except (ValueError, TypeError):
        return None


def end_other(lock_file: str, boot_id: str) -> bool:
    """Kill what is left of the run that another home's lock file names, if its warden is dead; whether nothing is."""
    try:
        fd = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # that home is gone
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder = read_holder(fd)
        return holder is None or holder.boot_id != boot_id or end_tree(holder)
    except BlockingIOError:  # a warden has it, and has ended what was before it; it waits for the folder, too
        return True
    finally:
        os.close(fd)


def end_tree(holder: Holder) -> bool:
    """Kill what is left of a run whose warden died, and only that; whether no process of the run is alive."""
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
