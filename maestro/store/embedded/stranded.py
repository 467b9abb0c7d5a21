"""Ends a stranded server: one that lives and has the data of a home open, but whose socket file is gone.

Without the socket file nobody can connect to the server, not even to stop it; and if the lock file was deleted too, a
second server would write the same data. The server is identified by its program and by the files that it has open for
writing, never by a pid alone, and ended by SIGTERM: what it has acknowledged is on disk, and the next server starts
within a moment. Linux only.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

AGE_S_MIN = 2.0
"""A younger server may be about to listen on its socket."""
LOOK_EVERY_S = 0.5
PROGRAMS = ("valkey", "redis")
_PROC = Path("/proc")
_looked_at: dict[Path, float] = {}


def end(data: Path) -> bool:
    """Ask the unreachable server that writes this data folder to end; returns whether there is one.

    Its lock shows when it is gone.
    """
    _looked_at[data] = time.monotonic()
    found = _servers_of(data)
    for process in found:
        with suppress(OSError, ValueError):
            if _age_s(process) >= AGE_S_MIN:
                os.kill(int(process.name), signal.SIGTERM)
    return bool(found)


def end_now_and_then(data: Path) -> None:
    """Call `end` at most every LOOK_EVERY_S, for a loop that runs more often."""
    if time.monotonic() - _looked_at.get(data, -LOOK_EVERY_S) >= LOOK_EVERY_S:
        end(data)


def _servers_of(data: Path) -> list[Path]:
    """Servers of this user that write files of this folder, without their children (which rewrite the AOF)."""
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
    """The fields of /proc/<pid>/stat behind the program's name: the state first, then the parent's pid."""
    try:
        return (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return ["", "0"]
