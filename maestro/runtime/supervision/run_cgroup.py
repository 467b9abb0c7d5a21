"""The control groups of a run: made before its program starts, entered by it, and the surest way to kill it.

Standard library only. There is one folder per hierarchy: a single one of version 2, or one for each controller of
version 1. The warden enters them, starts the program, which inherits them, and leaves again, all in some 0.1 ms; so a
program is inside before its first instruction. What can be done without a limit is done where it works; a limit that
cannot be set ends the start.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from maestro.runtime.supervision import processes

WARDENS = "wardens"
"""The group beside those of runs to which wardens return: version 2 has processes in leaves only."""

_OPTIONAL = frozenset({"memory.swap.max", "memory.memsw.limit_in_bytes", "memory.oom.group"})
"""Files that are not there without swap accounting, or in older kernels."""


class Group(NamedTuple):
    """One control group of a run. path: its folder; limits: file → value, written before the program enters.

    pids: the limit of processes, None for none; reused: see below.

    `pids` stands apart because the warden is inside too while it starts the program. reused: without limits, and so
    the warden's for all its runs, one after the other: it stays inside, as moving may take the kernel 10 ms. Its pid
    then ends the path.
    """

    path: str
    limits: dict[str, str]
    pids: int | None = None
    reused: bool = False

    def of(self, warden: int) -> Group:
        """The group for the runs of a warden, given by its pid."""
        return self._replace(path=f"{self.path}.{warden}") if self.reused else self

    @property
    def asked(self) -> bool:
        """Whether the run must not start without the group."""
        return bool(self.limits) or self.pids is not None


class Strikes(NamedTuple):
    """What the limits of a run have stopped. oom: processes killed for memory; pids: forks that were refused."""

    oom: int = 0
    pids: int = 0


class RunCgroup:
    """The control groups of one run. groups: as `cgroup_root.plan` made them, also after a way through JSON."""

    def __init__(self, groups: Sequence[Sequence[Any]]) -> None:
        self._groups = [Group(*group).of(os.getpid()) for group in groups]
        self._made: list[Group] = []

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make the groups, with this process inside for the time of the block. Raises OSError where a limit fails."""
        for group in self._groups:
            try:
                self._made.append(group)
                if not _is_inside(group):
                    _make(group)
                    _enter(group.path)
                    _move_in(group)
            except OSError:
                if group.asked:
                    self._leave()
                    self.remove()
                    raise
        try:
            yield
        finally:
            self._leave()

    @property
    def paths(self) -> list[str]:
        """The folders of the groups, for whoever must kill what is inside when this warden cannot."""
        return [group.path for group in self._groups]

    def _leave(self) -> None:
        for group in self._made:
            if group.reused:
                continue
            with contextlib.suppress(OSError):
                _enter(f"{Path(group.path).parent}/{WARDENS}")
            if group.pids is not None:
                with contextlib.suppress(OSError):
                    _write(f"{group.path}/pids.max", str(group.pids))

    def kill(self) -> None:
        """SIGKILL every process inside the groups."""
        for group in self._made:
            if _is_inside(group):
                if inside(group.path) == [os.getpid()]:
                    continue
                vacate()
            kill(group.path)

    def strikes(self) -> Strikes:
        """What the limits of the run have stopped so far."""
        oom = pids = 0
        for group in self._made:
            oom += _count(f"{group.path}/memory.events", b"oom_kill")
            oom += _count(f"{group.path}/memory.oom_control", b"oom_kill")
            pids += _count(f"{group.path}/pids.events", b"max")
        return Strikes(oom, pids)

    def remove(self) -> None:
        """Remove the groups; one that is not empty yet is left to whoever kills what is inside."""
        for group in self._made:
            if not _is_inside(group):
                remove(group.path)


_entered: dict[str, str] = {}
"""Hierarchy (the folder of the runs' groups) -> the reused group that this warden is inside."""


def _is_inside(group: Group) -> bool:
    """Whether this warden is inside the group already, since an earlier run."""
    return group.reused and _entered.get(str(Path(group.path).parent)) == group.path


def _move_in(group: Group) -> None:
    """Note that this process is inside a group now; only a reused one is stayed in."""
    above = str(Path(group.path).parent)
    earlier = _entered.pop(above, None)
    if group.reused:
        _entered[above] = group.path
    elif earlier is not None:
        remove(earlier)


def vacate() -> None:
    """Have this process leave the reused groups, and remove those that are empty then."""
    for above, path in list(_entered.items()):
        with contextlib.suppress(OSError):
            _enter(f"{above}/{WARDENS}")
        del _entered[above]
        remove(path)


def kill(path: str) -> None:
    """SIGKILL every process in a group: by the kernel where it can, else frozen first so that nothing forks away."""
    try:
        _write(f"{path}/cgroup.kill", "1")
        return
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM):
            return
    thawed = _freeze(path)
    for pid in inside(path):
        processes.send(pid, signal.SIGKILL)
    if thawed:
        _write(*thawed)


def inside(path: str) -> list[int]:
    """The processes in a group, those of another pid namespace left out."""
    return [int(pid) for pid in processes.read(f"{path}/cgroup.procs").split() if pid != b"0"]


def remove(path: str) -> bool:
    """Remove an empty group. False where it is not empty."""
    try:
        Path(path).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def clear(path: str) -> bool:
    """Kill what is in a group and remove it; False while something is dying in it: to be called again."""
    if not remove(path):
        kill(path)
        return remove(path)
    return True


def _freeze(path: str) -> tuple[str, str] | None:
    """Freeze every process in the group; the file and the text that let them go on. None where that cannot be."""
    for file, hold, release in (("cgroup.freeze", "1", "0"), ("freezer.state", "FROZEN", "THAWED")):
        with contextlib.suppress(OSError):
            _write(f"{path}/{file}", hold)
            return f"{path}/{file}", release
    return None


def _make(group: Group) -> None:
    Path(group.path).mkdir(exist_ok=True)
    for file, value in group.limits.items():
        try:
            _write(f"{group.path}/{file}", value)
        except FileNotFoundError:
            if file not in _OPTIONAL:
                raise
    if group.pids is not None:
        _write(f"{group.path}/pids.max", str(group.pids + 1))


def _enter(path: str) -> None:
    _write(f"{path}/cgroup.procs", "0")


def _write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def _count(path: str, name: bytes) -> int:
    for line in processes.read(path).splitlines():
        key, _, value = line.partition(b" ")
        if key == name and value.isdigit():
            return int(value)
    return 0
