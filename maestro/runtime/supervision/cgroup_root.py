"""The folders in which this installation may make control groups, and the limits of a run that they can hold.

No user has to delegate anything: the nearest folder above this process that takes what is needed is used, so that
limits set on the daemon from outside count for the agents, too. Version 2 wants processes in leaves only; where the
daemon's own group holds no other process, the daemon moves into a leaf of it (a unit or scope with `Delegate=yes`),
else a folder above it is used. With version 1, alone or beside version 2, each controller has a folder of its own;
killing then goes through version 2 if that is there. Only folders that a process could really enter count. Standard
library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from maestro.runtime.supervision import processes, run_cgroup
from maestro.runtime.supervision.run_cgroup import Group
from maestro.runtime.supervision.spec import Limits

CONTROLLERS = ("memory", "cpu", "pids")
RECORD_NAME = "cgroups.json"
"""The file in MAESTRO_HOME with the folders in use, by which a later daemon finds what was left in them."""

REMEDY = (
    "start the daemon where it may make control groups: as root, or with "
    "`systemd-run --user --scope -p Delegate=yes maestro daemon`"
)
_probes = itertools.count()  # several threads may ask at once
_RUN = "run."  # before the names of runs' groups: no file of the kernel begins like this
_OF_WARDEN = "w"  # then the warden's pid: the group of all its runs without limits
_LEAF = "maestro-daemon"  # where the daemon moves to, out of a group that shall have groups below
_PERIOD_US = 100_000
_PATIENCE_S = 5.0


class Place(NamedTuple):
    """A folder of this installation in one hierarchy, in which runs get theirs. version: 1 or 2."""

    path: str
    version: int
    controllers: tuple[str, ...]


def prepare(home: Path) -> list[Place]:
    """Make the folders of this process, the daemon of the installation in `home`, and record them."""
    places = list(_placed(_name(home, os.getpid())))
    if places:
        _record(home, {*_recorded(home), *(place.path for place in places)})
    return places


def enforceable() -> set[str]:
    """The limits that this process could put on runs: folders are made, tried, and removed."""
    places = list(_placed(f"maestro-probe-{os.getpid()}-{next(_probes)}"))
    found = covered(places)
    give_back(places)
    return found


def covered(places: Sequence[Place]) -> set[str]:
    """The limits that these places can hold."""
    return {name for place in places for name in place.controllers}


def plan(places: Sequence[Place], run: str, limits: Limits) -> list[Group]:
    """The groups of a run, for its `RunCgroup`. Pure. Version 1 controllers without a limit to hold are left out."""
    groups = []
    for place in places:
        held = sorted(limits.asked().intersection(place.controllers))
        if held or place.version == 2 or not place.controllers:
            files: dict[str, str] = {}
            for name in held:
                files |= _files(name, limits, place.version)
            name = f"{_RUN}{run if limits.asked() else _OF_WARDEN}"
            pids = limits.pids if "pids" in held else None
            groups.append(Group(f"{place.path}/{name}", files, pids, reused=not limits.asked()))
    return groups


def give_back(places: Sequence[Place]) -> None:
    """Remove the installation's folders where nothing is left in them."""
    for place in places:
        for run in _runs(place.path):
            run_cgroup.remove(run)
        run_cgroup.remove(f"{place.path}/{run_cgroup.WARDENS}")
        run_cgroup.remove(place.path)


def kill(home: Path, daemon: int, warden: int, run: str) -> None:
    """SIGKILL what is in the groups of one run of a daemon. For its launcher, when the warden is dead."""
    for folder in _folders(home, daemon):
        for name in (run, f"{_OF_WARDEN}.{warden}"):
            run_cgroup.kill(f"{folder}/{_RUN}{name}")


def release(home: Path, daemon: int) -> None:
    """Remove the empty folders of a daemon that is gone. For its launcher, which outlives it.

    The record is left to the next daemon, which may be writing it just now.
    """
    for folder in _folders(home, daemon):
        give_back([Place(folder, 0, ())])


def sweep(home: Path) -> int:
    """Kill what the runs of earlier daemons left in their groups, and remove these; how many processes were killed."""
    found: set[int] = set()
    deadline = time.monotonic() + _PATIENCE_S
    earlier = _recorded(home) - _folders(home, os.getpid())
    for folder in earlier:
        for run in _runs(folder):
            while time.monotonic() < deadline:
                found |= {pid for pid in run_cgroup.inside(run) if processes.state(pid) not in ("Z", "X", "")}
                if run_cgroup.clear(run):
                    break
                time.sleep(0.005)
        give_back([Place(folder, 0, ())])
    if earlier:
        _record(home, {folder for folder in _recorded(home) if Path(folder).exists()})
    return len(found)


def _name(home: Path, daemon: int) -> str:
    return f"maestro-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}.{daemon}"


def _folders(home: Path, daemon: int) -> set[str]:
    return {folder for folder in _recorded(home) if folder.endswith(f"/{_name(home, daemon)}")}


def _recorded(home: Path) -> set[str]:
    try:
        return set(json.loads((home / RECORD_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return set()


def _record(home: Path, folders: set[str]) -> None:
    with contextlib.suppress(OSError):  # a full disk costs a later janitor this way of finding leftovers
        fresh = home / f".{RECORD_NAME}"
        fresh.write_text(json.dumps(sorted(folders)))
        fresh.replace(home / RECORD_NAME)


def _runs(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.name.startswith(_RUN)]
    except OSError:
        return []


def _files(name: str, limits: Limits, version: int) -> dict[str, str]:
    """The files that set a limit; memory counts swap, which would only put off the end. For pids see `Group.pids`."""
    if name == "memory" and version == 2:
        return {"memory.max": str(limits.memory), "memory.swap.max": "0", "memory.oom.group": "1"}
    if name == "memory":
        return {"memory.limit_in_bytes": str(limits.memory), "memory.memsw.limit_in_bytes": str(limits.memory)}
    if name == "cpu" and limits.cpu is not None:
        quota_us = max(1000, int(limits.cpu * _PERIOD_US))
        if version == 2:
            return {"cpu.max": f"{quota_us} {_PERIOD_US}"}
        return {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
    return {}


# ---- finding places ----


def _placed(name: str) -> Iterator[Place]:
    if not sys.platform.startswith("linux"):
        return
    missing = set(CONTROLLERS)
    for mount, controllers in _mounts():
        own = _own(mount, controllers)
        if own is None:
            continue
        if not controllers:
            place = _version_2(own, mount[0], name)
        else:
            held = tuple(sorted(missing.intersection(controllers)))
            place = _usable(Place(f"{own}/{name}", 1, held)) if held or "freezer" in controllers else None
        if place is not None:
            missing -= set(place.controllers)
            yield place


def _mounts() -> list[tuple[tuple[str, str], frozenset[str]]]:
    """((mount point, root), controllers) of each hierarchy; no controllers: version 2, which comes first."""
    found = {}
    for line in processes.read("/proc/self/mountinfo").decode(errors="replace").splitlines():
        fields = line.split()
        rest = fields[fields.index("-") + 1 :]
        mount = (fields[4], fields[3])
        if rest[0] == "cgroup2":
            found[frozenset[str]()] = mount
        elif rest[0] == "cgroup" and (held := frozenset(rest[2].split(",")).intersection({*CONTROLLERS, "freezer"})):
            found[held] = mount
    if frozenset[str]() in found:
        found.pop(frozenset({"freezer"}), None)  # version 2 kills without
    return sorted(((mount, held) for held, mount in found.items()), key=lambda one: sorted(one[1]))


def _own(mount: tuple[str, str], controllers: frozenset[str]) -> str | None:
    """The folder of this process's own group below a mount; None where the mount does not show it."""
    point, root = mount
    for line in processes.read("/proc/self/cgroup").decode(errors="replace").splitlines():
        _, names, path = line.split(":", 2)
        if controllers.intersection(names.split(",")) or (not controllers and not names):
            below = os.path.relpath(path, root)
            return None if below.startswith("..") else os.path.normpath(f"{point}/{below}")
    return None


def _version_2(own: str, top: str, name: str) -> Place | None:
    """The place in the nearest folder, from this process's own group upwards, that has most of the controllers."""
    best: Place | None = None
    folder = Path(own.removesuffix(f"/{_LEAF}"))
    while True:
        held = _enabled(folder)
        if best is None or len(held) > len(best.controllers):
            place = _usable(Place(f"{folder}/{name}", 2, held))
            if place is not None and best is not None:
                give_back([best])
            best = place or best
        if str(folder) in (top, "/") or (best and set(best.controllers) == set(CONTROLLERS)):
            return best
        folder = folder.parent


def _enabled(folder: Path) -> tuple[str, ...]:
    """The controllers that groups below `folder` get, enabled if need be."""
    there = set(CONTROLLERS).intersection(_words(f"{folder}/cgroup.controllers"))
    if not there - set(_words(f"{folder}/cgroup.subtree_control")):
        return tuple(sorted(there))
    if _ours_alone(folder):
        _move_into_leaf(folder)
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in sorted(there)))
    return tuple(sorted(there.intersection(_words(f"{folder}/cgroup.subtree_control"))))


def _ours_alone(folder: Path) -> bool:
    pids = run_cgroup.inside(str(folder))
    return os.getpid() in pids and {os.getpid(), *processes.descendants(os.getpid())}.issuperset(pids)


def _move_into_leaf(folder: Path) -> None:
    leaf = folder / _LEAF
    with contextlib.suppress(OSError):
        leaf.mkdir(exist_ok=True)
        for pid in run_cgroup.inside(str(folder)):
            (leaf / "cgroup.procs").write_text(str(pid))


def _usable(place: Place) -> Place | None:
    """The place with its folders made, where a process can really enter them; None, with no folder left, elsewhere."""
    leaf = f"{place.path}/{run_cgroup.WARDENS}"
    try:
        for folder in (place.path, leaf):
            Path(folder).mkdir(exist_ok=True)
        if place.version == 2 and place.controllers:
            Path(f"{place.path}/cgroup.subtree_control").write_text(" ".join(f"+{one}" for one in place.controllers))
        subprocess.run(
            ["/bin/sh", "-c", 'echo 0 >"$1"', "sh", f"{leaf}/cgroup.procs"],
            check=True,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.CalledProcessError):
        give_back([place])
        return None
    return place


def _words(path: str) -> list[str]:
    return processes.read(path).decode(errors="replace").split()
