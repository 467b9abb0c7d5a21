"""The janitor: kills, at a daemon's start, what earlier daemons of this installation left running.

Wardens end their runs when their worker dies; the janitor is for runs whose warden was killed, or stopped so that it
could not notice. It finds their processes by the marks in their environment, which name the installation, and by the
installation's control groups, and never touches a process of another installation or user.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import psutil

from maestro.runtime.supervision import cgroup_root
from maestro.runtime.supervision.spec import HOME_MARK, LAUNCHER_MARK
from maestro.runtime.worker.process_usage import descendants

_BY_THEMSELVES_S = 0.5
"""How long wardens whose worker has just died get to end their runs and to write the exit records."""

_PATIENCE_S = 10.0


def sweep(home: Path, spare: int = 0) -> int:
    """Kill all processes of this installation's earlier daemons, and wait until they are gone; how many were killed.

    spare: pid of the caller's own launcher where it has one. The caller holds the daemon lock, so all others are left
    over. Gives up after 10 s on processes that cannot be killed (in an uninterruptible call); the lock on their
    workspace is then refused to later runs.
    """
    killed: set[int] = set()
    killed_by_group = 0
    by_themselves = time.monotonic() + _BY_THEMSELVES_S
    deadline = time.monotonic() + _PATIENCE_S
    while left := leftovers(home, spare):
        if time.monotonic() > deadline:
            break
        if time.monotonic() > by_themselves or not any(_guards(process) for process in left):
            killed_by_group += cgroup_root.sweep(home)  # first: who forks without end wins a race of signals
            for process in left:
                _kill(process)
                killed.add(process.pid)
        time.sleep(0.01)
    killed_by_group += cgroup_root.sweep(home)
    for pid in killed:
        with contextlib.suppress(ChildProcessError):  # a subreaper has become the parent of some
            os.waitpid(pid, os.WNOHANG)
    return max(len(killed), killed_by_group)


def leftovers(home: Path, spare: int = 0) -> list[psutil.Process]:
    """Launchers, wardens and agents of this installation, and what these started, but for `spare` and all below."""
    below: dict[int, list[psutil.Process]] = {}
    marked: list[psutil.Process] = []
    for process in psutil.process_iter(["ppid"]):
        below.setdefault(process.info["ppid"], []).append(process)
        with contextlib.suppress(psutil.Error):  # it has ended, or is another user's
            marks = process.environ()
            if str(home) in (marks.get(HOME_MARK), marks.get(LAUNCHER_MARK)):
                marked.append(process)
    spared = {os.getpid(), spare} | {child.pid for child in (descendants(spare, below) if spare else ())}
    found = {one.pid: one for process in marked for one in (process, *descendants(process.pid, below))}
    return [process for pid, process in found.items() if pid not in spared and not _is_zombie(process)]


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def _guards(process: psutil.Process) -> bool:
    """Whether the process is a launcher or a warden that is able to end its run itself."""
    try:
        return LAUNCHER_MARK in process.environ() and process.status() != psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()  # psutil looks at the start time first
    except psutil.Error:
        return
