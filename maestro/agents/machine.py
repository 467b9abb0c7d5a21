"""The resources of this machine, compared with those that a definition asks for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from maestro.agents.schema import Definition
from maestro.model.errors import Refused

_MIB = 1024 * 1024
_CGROUP_MEMORY = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
_PIDS = (Path("/sys/fs/cgroup/pids.max"), Path("/proc/sys/kernel/pid_max"))


def check_resources(definition: Definition, workspace_root: str) -> None:
    """Check that the machine has as much as `resource_limits` promises. Raises Refused. disk: free below the root."""
    asked = definition.resource_limits
    _compare(definition, "memory", asked.memory, memory_bytes(), _MIB, "MiB")
    _compare(definition, "cpu", asked.cpu, float(cores()), 1, "cores")
    _compare(definition, "pids", asked.pids, _smallest(_PIDS), 1, "processes")
    if asked.disk is not None:
        _compare(definition, "disk", asked.disk, _disk_free(Path(workspace_root)), _MIB, "MiB free")


def memory_bytes() -> int | None:
    """The memory that this process may use: the machine's, or less where a container says so. None: unknown."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
    return min(physical, _smallest(_CGROUP_MEMORY) or physical)


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _compare(definition: Definition, name: str, asked: float | None, has: float | None, unit: int, word: str) -> None:
    if asked is None or has is None or asked <= has:
        return
    raise Refused(
        f"resource_limits.{name} asks for {asked / unit:g} {word}, this machine has {has / unit:g}",
        where=definition.source,
        mend="lower it",
    )


def _smallest(files: tuple[Path, ...]) -> int | None:
    found = []
    for file in files:
        try:
            found.append(int(file.read_text("ascii")))
        except (OSError, ValueError):
            continue  # the file is absent, or says `max`
    return min(found) if found else None


def _disk_free(root: Path) -> int:
    while not root.exists() and root != root.parent:
        root = root.parent
    return shutil.disk_usage(root).free
