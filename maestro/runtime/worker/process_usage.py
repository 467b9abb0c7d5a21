"""What the process trees of the runs use: one look at all processes, for the heartbeat of every run.

Takes tens of milliseconds on a busy machine; called in a thread, every few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import psutil

from maestro.runtime.supervision.processes import is_first_of_namespace


class Sample(NamedTuple):
    """memory_bytes: resident, of all processes. cpu_s: used since they started, ended children included.

    cpu_percent: since the sample before (100 is one core), 0.0 in the first. status: of the agent's own process, as
    psutil names it (`running`, `sleeping`, `disk-sleep`, `stopped`, `zombie` …), "" where it is gone.
    """

    memory_bytes: int
    cpu_s: float
    cpu_percent: float
    processes: int
    status: str


_before: dict[tuple[str, int], tuple[float, float]] = {}
"""(run, pid) → when it was sampled last, and its cpu_s then."""


def sample(pids: Mapping[str, int]) -> dict[str, Sample]:
    """Run → sample of its tree: all that lives below the warden of the agent with this pid. A pid of 0 is left out."""
    below: dict[int, list[psutil.Process]] = {}
    parents: dict[int, int] = {}
    for process in psutil.process_iter(["ppid"]):
        parent = process.info["ppid"]
        parents[process.pid] = parent
        below.setdefault(parent, []).append(process)
    samples = {
        run: _sample(run, _proper(pid, below), descendants(parents[pid], below))
        for run, pid in pids.items()
        if pid in parents and parents[pid] > 1
    }
    for key in [key for key in _before if key[0] not in samples]:
        del _before[key]
    return samples


def descendants(root: int, below: Mapping[int, list[psutil.Process]]) -> list[psutil.Process]:
    """All that lives below a process. below: pid -> its children, out of one look at all processes."""
    found: list[psutil.Process] = []
    todo = [root]
    while todo:
        children = below.get(todo.pop(), [])
        found += children
        todo += [child.pid for child in children]
    return found


def _proper(agent: int, below: dict[int, list[psutil.Process]]) -> int:
    """The agent itself where `agent` is a sandbox: the oldest child of the first process of its pid namespace."""
    for child in below.get(agent, ()):
        if is_first_of_namespace(child.pid):
            return min((inner.pid for inner in below.get(child.pid, ())), default=agent)
    return agent


def _sample(run: str, agent: int, tree: list[psutil.Process]) -> Sample:
    memory_bytes, cpu_s, alive, status = 0, 0.0, 0, ""
    for process in tree:
        try:
            with process.oneshot():
                memory_bytes += process.memory_info().rss
                cpu_s += sum(process.cpu_times()[:4])  # user and system, its own and its reaped children's
                alive += 1
                if process.pid == agent:
                    status = process.status()
        except psutil.Error:  # it ended while we looked
            continue
    now = time.monotonic()
    at, used_s = _before.get((run, agent), (now, cpu_s))
    _before[(run, agent)] = (now, cpu_s)
    percent = 100 * max(0.0, cpu_s - used_s) / (now - at) if now > at else 0.0
    return Sample(memory_bytes, cpu_s, percent, alive, status)
