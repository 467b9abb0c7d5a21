"""The usage of memory and CPU by the process trees of runs, for every heartbeat.

A look is made in a thread, every few seconds. Where the system lists the children of a process, it costs what the runs
have of them; elsewhere all processes of the machine are looked at.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import psutil

from maestro.runtime.supervision import processes
from maestro.runtime.supervision.processes import CHILDREN_LISTED, LINUX, is_first_of_namespace, read

STANDING = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DISK_SLEEP})
"""States in which a process does nothing, and that do not end by themselves, or should not last."""


class Standing(NamedTuple):
    """A process in one of these states. started: its start time, which tells it from a later one of that pid.

    role: `agent` for the agent's own process, `warden` for the one that guards the run, `child` for all others. moves:
    how often it has waited for something, as far as that is known: it is in the same call while this stays.
    """

    pid: int
    started: float
    name: str
    status: str
    role: str
    moves: int


class Sample(NamedTuple):
    """What the process tree of one run uses. memory_bytes: resident. cpu_s: since its start, with ended children.

    cpu_percent: since the sample before (100 is one core), 0.0 in the first. status: of the agent's own process, as
    psutil names it (`running`, `sleeping`, `disk-sleep`, `stopped`, `zombie` …), "" where it is gone. standing: the
    processes that stand still, the warden among them.
    """

    memory_bytes: int
    cpu_s: float
    cpu_percent: float
    processes: int
    status: str
    standing: tuple[Standing, ...] = ()


_before: dict[tuple[str, int], tuple[float, float]] = {}
"""(run, pid) -> when the run was sampled last, and its cpu_s then."""


def sample(pids: Mapping[str, int]) -> dict[str, Sample]:
    """Run -> sample of all that lives below the warden of its agent. pids: run -> the agent's pid, 0 for none yet."""
    below = _listed(pids.values()) if CHILDREN_LISTED else _all() if pids else {}
    parents = {child.pid: above for above, children in below.items() for child in children}
    samples = {
        run: _sample(run, _proper(pid, below), _process(parents[pid]), descendants(parents[pid], below))
        for run, pid in pids.items()
        if parents.get(pid, 0) > 1
    }
    for key in [key for key in _before if key[0] not in samples]:
        del _before[key]
    return samples


def _listed(agents: Iterable[int]) -> dict[int, list[psutil.Process]]:
    """Pid -> the children, of the processes above these agents and of all below them."""
    below: dict[int, list[psutil.Process]] = {}
    todo = [above for agent in agents if agent and (above := processes.parent(agent)) > 1]
    while todo:
        above = todo.pop()
        if above not in below:
            below[above] = [process for pid in processes.children(above) if (process := _process(pid)) is not None]
            todo += [child.pid for child in below[above]]
    return below


def _all() -> dict[int, list[psutil.Process]]:
    """Pid -> the children, of all processes of the machine."""
    below: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter(["ppid"]):
        below.setdefault(process.info["ppid"], []).append(process)
    return below


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:  # it has ended just now
        return None


def descendants(root: int, below: Mapping[int, list[psutil.Process]]) -> list[psutil.Process]:
    """All processes below one. below: pid -> its children, out of one look at all processes."""
    found: list[psutil.Process] = []
    todo = [root]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += [child.pid for child in children]
    return found


def _proper(agent: int, below: dict[int, list[psutil.Process]]) -> int:
    """The pid of the agent in a sandbox `agent`: the oldest child of the first process of its pid namespace."""
    for child in below.get(agent, ()):
        if is_first_of_namespace(child.pid):
            return min((inner.pid for inner in below.get(child.pid, ())), default=agent)
    return agent


def _sample(run: str, agent: int, warden: psutil.Process | None, tree: list[psutil.Process]) -> Sample:
    memory_bytes, cpu_s, alive, status = 0, 0.0, 0, ""
    standing = [] if warden is None else _standing(warden, "warden")
    for process in tree:
        try:
            with process.oneshot():
                memory_bytes += process.memory_info().rss
                cpu_s += sum(process.cpu_times()[:4])  # user and system, its own and its reaped children's
                alive += 1
                if process.pid == agent:
                    status = process.status()
                standing += _standing(process, "agent" if process.pid == agent else "child")
        except psutil.Error:  # it has ended since the look began
            continue
    now = time.monotonic()
    at, used_s = _before.get((run, agent), (now, cpu_s))
    _before[(run, agent)] = (now, cpu_s)
    percent = 100 * max(0.0, cpu_s - used_s) / (now - at) if now > at else 0.0
    return Sample(memory_bytes, cpu_s, percent, alive, status, tuple(standing))


def _standing(process: psutil.Process, role: str) -> list[Standing]:
    """The process, where it stands still; nothing where it does not, or has ended since the look began."""
    try:
        status = process.status()
        if status not in STANDING or (status == psutil.STATUS_ZOMBIE and process.num_threads() > 1):
            return []  # whose first thread has ended while others work on looks like a zombie, and is none
        moves = process.num_ctx_switches().voluntary if status == psutil.STATUS_DISK_SLEEP else 0
        return [Standing(process.pid, process.create_time(), _name(process), status, role, moves)]
    except (psutil.Error, OSError):
        return []


def _name(process: psutil.Process) -> str:
    """The name of a process, without its command line: to read that of one in a call that does not end may hang."""
    return read(f"/proc/{process.pid}/comm").decode("utf-8", "replace").strip() if LINUX else process.name()
