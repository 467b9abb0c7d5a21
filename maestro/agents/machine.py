"""What a definition asks of this machine: resources, and what a run of it needs from the user who starts it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from maestro.agents.launch import passed_on
from maestro.agents.parts import Requirement
from maestro.agents.schema import Definition
from maestro.agents.secrets import resolve
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


def unmet(definition: Definition, environment: Mapping[str, str], user: int | None = None) -> list[str]:
    """What a run would lack, a line each with its remedy: a secret, or what the definition `requires`. Blocks.

    environment: of the daemon that would start the run; user: its user's id, None for that of this process.
    """
    return [*missing_secret(definition, environment), *doubts(definition, environment, user)]


def missing_secret(definition: Definition, environment: Mapping[str, str]) -> list[str]:
    """The secret without which no run starts, as a line with its remedy; [] where all are there. Blocks."""
    try:
        resolve(definition, environment)
    except Refused as error:
        return [f"{error.what}; {error.mend}"]
    return []


def doubts(definition: Definition, environment: Mapping[str, str], user: int | None = None) -> list[str]:
    """What a run seems to lack of what the definition `requires`, a line each. Blocks.

    Only seems: a program may find its login where no rule looks, in a file of its own or the keys of the system.
    """
    found = []
    is_root = (os.geteuid() if user is None else user) == 0
    secrets = dict.fromkeys(definition.secret_env, "it is told apart where it is missing")
    env = passed_on(definition, environment, secrets)
    home = environment.get("HOME", "")
    written = {file.path.replace("{home}", "~", 1) for file in definition.files}
    for rule in definition.requires:
        if rule.modes and definition.program_mode not in rule.modes:
            continue
        if rule.given and not any(env.get(name) for name in rule.given):
            continue
        files = [Path(f"{home}{file[1:]}" if file.startswith("~/") else file) for file in rule.files]
        is_met = any(env.get(name) for name in rule.env) or any(file.is_file() for file in files)
        is_met = is_met or not written.isdisjoint(rule.files)
        if not is_met and not (rule.not_root and not is_root):
            found.append(f"{_lacking(rule, environment, env)}; {rule.mend}")
    return found


def _lacking(rule: Requirement, environment: Mapping[str, str], env: Mapping[str, str]) -> str:
    """Which conditions do not hold, in words; a variable that is set but kept from the run is told as that."""
    kept = [name for name in rule.env if environment.get(name) and not env.get(name)]
    parts = ["it would run as root"] if rule.not_root else []
    parts += [f"with {' or '.join(rule.given)}"] if rule.given else []
    parts += [f"{name} is set, but the run does not get it (`secret_env: [{name}]`)" for name in kept]
    if rule.env and not kept:
        parts.append(f"the run gets none of {', '.join(rule.env)}" if rule.env[1:] else f"{rule.env[0]} is not set")
    if rule.files:
        parts.append(f"there is no {' and no '.join(rule.files)}")
    return ", ".join(parts)


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
