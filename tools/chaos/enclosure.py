"""Runs a program whose descendants all end with it, however they hide: for trials that kill all guards.

A keeper process is the parent of the program. As it is a subreaper, orphans below it become its children, so that
nothing leaves its tree; and it kills until it has no child any more. Where the system allows it, the keeper is also the
first process of a pid namespace: then one signal reaches all of them at once, and its own death ends them too.
"""

from __future__ import annotations

import ctypes
import functools
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 0.005
END_S_MAX = 30.0
OVERDUE = 124


@functools.cache
def is_namespaced() -> bool:
    """Whether programs can have a pid namespace of their own on this system."""
    try:
        return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def run(line: Sequence[str], seconds: float, namespaced: bool | None = None) -> int:
    """Run a program; returns its exit code, 124 where it was ended after `seconds`. No process of it is left then.

    namespaced: run it within a pid namespace; None: where possible.
    """
    within = NAMESPACE if (is_namespaced() if namespaced is None else namespaced) else ()
    command = [*within, sys.executable, "-m", "tools.chaos.enclosure", str(seconds), *line]
    keeper = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=Path(__file__).parents[2], start_new_session=True)
    try:
        return keeper.wait(seconds + END_S_MAX)
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()  # tells the keeper that nobody waits any more
        try:
            keeper.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            keeper.kill()
            raise


def keep(line: Sequence[str], seconds: float) -> int:
    """Run the program below this process, kill all that it leaves; returns its exit code."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    closed = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    program = os.posix_spawnp(line[0], list(line), os.environ, file_actions=closed)
    deadline = time.monotonic() + seconds
    code = OVERDUE
    while time.monotonic() < deadline:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            break
        if not pid and select.select([0], [], [], POLL_S)[0]:
            break
    _end_all()
    return code


def _end_all() -> None:
    """Kill until there is no child left.

    What is killed leaves its own children to this process, so that killing children is enough. They are listed by one
    small file: a look at all of /proc takes longer than an agent that hops needs to fork, and longer with each zombie.
    """
    while True:
        if os.getpid() == 1:
            _kill(-1)
        else:
            for pid in _children(os.getpid()):
                _kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _children(parent: int) -> list[int]:
    """The pids of the children; where the system does not list them, of all descendants."""
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_bytes().split()]
    except OSError:
        return _below(parent)


def _below(top: int) -> list[int]:
    """The pids of all descendants."""
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(b")")[2].split()[1]), []).append(int(name))
    found, ahead = [], [top]
    while ahead:
        below = children.pop(ahead.pop(), [])
        found += below
        ahead += below
    return found


if __name__ == "__main__":
    sys.exit(keep(sys.argv[2:], float(sys.argv[1])))
