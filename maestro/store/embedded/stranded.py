"""A stranded server: it lives and has the data of a home open, but what its socket was bound to is gone.

Whoever removed the socket left nobody a way to it, not even to stop it; and whoever removed the lock beside it would
have a second server write the same data. It is known by what it is and by the files that it writes, never by a number
alone, and asked to end in order: what it has acknowledged is on the disk, and the next one starts within a moment.
Linux only.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

AGE_S_MIN = 2.0
"""A younger one may be about to listen."""
LOOK_EVERY_S = 0.5
PROGRAMS = ("valkey", "redis")
_PROC = Path("/proc")
_looked_at: dict[Path, float] = {}


def end(data: Path) -> bool:
    """Ask the server that writes this folder, and cannot be reached, to end; whether there is one. Its lock tells when
    it is gone.
    """
    _looked_at[data] = time.monotonic()
    found = _servers_of(data)
    for process in found:
        with suppress(OSError, ValueError):
            if _age_s(process) >= AGE_S_MIN:
                os.kill(int(process.name), signal.SIGTERM)
    return bool(found)


def end_now_and_then(data: Path) -> None:
    """As `end`, in a loop that turns faster than is worth looking."""
    if time.monotonic() - _looked_at.get(data, -LOOK_EVERY_S) >= LOOK_EVERY_S:
        end(data)


def _servers_of(data: Path) -> list[Path]:
    """Servers of this user that write files of this folder, but for children of theirs, which rewrite the AOF."""
    found = {process.name: process for process in _processes() if _is_server(process) and _writes(process, data)}
    return [process for process in found.values() if _stat(process)[1] not in found]


def _processes() -> Iterator[Path]:
    with suppress(OSError):
        for process in _PROC.iterdir():
            if process.name.isdigit() and process.name != str(os.getpid()):
                yield process


def _is_server(process: Path) -> bool:
    try:
        return process.stat().st_uid == os.geteuid() and (process / "exe").readlink().name.startswith(PROGRAMS)
    except OSError:
        return False


def _writes(process: Path, data: Path) -> bool:
    prefix = f"{os.path.realpath(data)}/"
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()).startswith(prefix) and _is_for_writing(
                    process / "fdinfo" / descriptor.name
                ):
                    return True
    return False


def _is_for_writing(info: Path) -> bool:
    flags = next((line.split()[1] for line in info.read_text().splitlines() if line.startswith("flags:")), "0")
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _age_s(process: Path) -> float:
    uptime = float((_PROC / "uptime").read_text().split()[0])
    return uptime - int(_stat(process)[19]) / os.sysconf("SC_CLK_TCK")


def _stat(process: Path) -> list[str]:
    """The fields behind the name: the state first, then the parent's pid."""
    try:
        return (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ["", "0"]
