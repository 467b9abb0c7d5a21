"""Processes of this machine: found by pid and start time, as trees, and by the marks that they carry.

Standard library only. A pid alone is never trusted, as it is used again. A child of this process keeps its pid until it
is reaped; every other process is named by pid and start time, within one boot. On systems without /proc the trees are
process groups.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

LINUX = sys.platform.startswith("linux")

_PR_SET_CHILD_SUBREAPER = 36

# A kernel built without CONFIG_PROC_CHILDREN makes `children` look at every process instead.
CHILDREN_LISTED = os.access(f"/proc/self/task/{os.getpid()}/children", os.R_OK)


def become_subreaper() -> None:
    """Make orphans below this process its children, not init's. Not inherited by fork."""
    if LINUX:
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@cache
def _libc() -> Any:
    """The C library, loaded once: by a launcher before it forks any warden, by a command line not at all."""
    import ctypes  # a twentieth of what a command line imports, and only this needs it

    return ctypes.CDLL(None, use_errno=True)


def read(path: str) -> bytes:
    """The content of a small file, b"" where it cannot be read: entries of /proc vanish at any time."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:
        return b""
    finally:
        os.close(fd)


def boot_id() -> str:
    """The id of this boot of this machine; "" where the system does not tell."""
    return read("/proc/sys/kernel/random/boot_id").decode().strip()


def _stat(pid: int) -> list[bytes]:
    """Fields of /proc/<pid>/stat from the state (field 3) on; a command name may contain anything, `)` too."""
    return read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def start_time(pid: int) -> int:
    """Clock ticks from boot to the start of the process; 0 where there is none."""
    fields = _stat(pid)
    return int(fields[19]) if len(fields) > 19 else 0


def parent(pid: int) -> int:
    """The pid of the parent process, 0 where that is outside of this pid namespace; -1 where there is no such process,
    or the system does not tell.
    """
    fields = _stat(pid)
    return int(fields[1]) if len(fields) > 1 else -1


def state(pid: int) -> str:
    """The state of a process, a letter: R, S, D, T (stopped), Z (zombie) …; "" where there is no such process."""
    fields = _stat(pid)
    return fields[0].decode() if fields else ""


def alive(pid: int, started: int) -> bool:
    """Whether the process with this pid and start time runs, and is no zombie."""
    fields = _stat(pid)
    return len(fields) > 19 and int(fields[19]) == started and fields[0] not in (b"Z", b"X")


def marks(pid: int) -> dict[str, str]:
    """The MAESTRO_ variables that a process was started with; {} where they cannot be read."""
    found = {}
    for entry in read(f"/proc/{pid}/environ").split(b"\0"):
        if entry.startswith(b"MAESTRO_"):
            name, _, value = entry.partition(b"=")
            found[name.decode()] = os.fsdecode(value)
    return found


def pids() -> list[int]:
    """The pid of every process that /proc shows."""
    if not LINUX:
        return []
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def children(pid: int) -> list[int]:
    """The pids of the direct children of a process, zombies included."""
    try:
        with os.scandir(f"/proc/{pid}/task") as threads:
            lists = [read(f"{thread.path}/children") for thread in threads]
    except OSError:
        return []
    if not CHILDREN_LISTED:
        return [other for other in pids() if (fields := _stat(other)) and int(fields[1]) == pid]
    return [int(child) for one in lists for child in one.split()]


def descendants(pid: int) -> list[int]:
    """The pids of all processes below one, parents first; a loop, so that a deep tree needs no deep stack."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for child in children(todo.pop()):
            found.append(child)
            todo.append(child)
    return found


def send(pid: int, number: int) -> None:
    """Signal a process; nothing where it is gone, or another user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def send_exactly(pid: int, started: int, number: int) -> None:
    """Signal a process that is no child of this one, and never another that has got its pid since."""
    if not LINUX:
        return
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if alive(pid, started):
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return
    finally:
        os.close(handle)


def reap() -> Iterator[tuple[int, int]]:
    """(pid, wait status) of each child that has ended. Raises ChildProcessError at the end when none is left."""
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        yield pid, status


def kill_children(agent: int = 0) -> tuple[int, int | None]:
    """Kill everything below this process, and wait until nothing is left: no child, so nothing below one either.

    What a subreaper's tree loses to a dying parent becomes its child, so the loop ends only when all are gone, however
    they fork. Returns how many were killed but for `agent`, and the wait status of `agent` if it was among them.
    """
    killed: set[int] = set()
    status: int | None = None
    pause = 0.0005
    me = os.getpid()
    while True:
        try:
            for pid, ended in reap():
                if pid == agent:
                    status = ended
        except ChildProcessError:
            return len(killed - {agent}), status
        for pid in descendants(me) if LINUX else [agent]:
            if count([pid]):
                killed.add(pid)
            send(pid, signal.SIGKILL)
        if not LINUX and agent:
            _signal_group(agent, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def count(tree: list[int]) -> int:
    """How many of these processes live; the first of a pid namespace, which is there for the others, does not count."""
    return sum(state(pid) not in ("Z", "X", "") and not is_first_of_namespace(pid) for pid in tree)


def is_first_of_namespace(pid: int) -> bool:
    """Whether the process is the init of a pid namespace below this one: all others in that end with it."""
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith(b"NSpid:"):
            own = line.split()[1:]
            return len(own) > 1 and own[-1] == b"1"
    return False


def _signal_group(leader: int, number: int) -> None:
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        return


def signal_children(number: int, agent: int, spare_it: bool = False) -> None:
    """Signal each process below this one once, and no group as well: many agents take a second signal for `now`.

    spare_it: `agent` is a sandbox that waits for the agent proper, which it would kill if it ended first.
    """
    if not LINUX:
        _signal_group(agent, number)
        return
    tree = descendants(os.getpid())
    for pid in tree:
        if pid != agent or not spare_it:
            send(pid, number)
    for pid in tree:  # who stands still hears nothing
        send(pid, signal.SIGCONT)


def freeze_children(agent: int, patience_s: float = 3.0) -> tuple[set[int], bool]:
    """SIGSTOP everything below this process until all of it stands still, new processes too.

    Returns the stopped ones (without those that had stopped before, so that thawing leaves these so), and whether all
    stand still: a process in an uninterruptible call stops when that call is over. A parent in vfork is in such a call
    until its child has run its program, so a child that was stopped too early gets a moment more.
    """
    if not LINUX:
        _signal_group(agent, signal.SIGSTOP)
        return {agent}, True
    stopped: set[int] = set()
    deadline = time.monotonic() + patience_s
    before = {pid for pid in descendants(os.getpid()) if state(pid) == "T"}
    while moving := [pid for pid in descendants(os.getpid()) if state(pid) not in ("T", "t", "Z", "X", "")]:
        if time.monotonic() > deadline:
            return stopped, False
        stopped |= set(moving) - before
        for pid in moving:
            send(pid, signal.SIGSTOP)
            for child in stopped.intersection(children(pid)) if state(pid) == "D" else ():
                send(child, signal.SIGCONT)
        time.sleep(0.001)
    return stopped, True


def thaw_children(agent: int, stopped: set[int]) -> None:
    """Let those of the stopped processes go on that are still below this one."""
    if not LINUX:
        _signal_group(agent, signal.SIGCONT)
    for pid in stopped.intersection(descendants(os.getpid())):
        send(pid, signal.SIGCONT)
