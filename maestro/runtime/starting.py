"""Starting this node's daemon in the background, once, whoever asks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from maestro.config import Settings, socket_path
from maestro.model.errors import Invalid, MaestroError, Refused, StoreAway, TimedOut
from maestro.runtime.daemon_lock import holder

START_S_MAX = 60.0
POLL_S = 0.01


def answers(path: Path) -> bool:
    """Whether somebody listens on this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def start_daemon(settings: Settings) -> int:
    """Start the daemon, detached, and wait until its socket answers; its pid.

    Two that start at once: the second daemon finds the lock held and ends, its starter waits for the first one's
    socket all the same. Where it was one that is ending, another is started as soon as it is gone. Raises MaestroError
    with the last line of its log when it ended before it answered, TimedOut after START_S_MAX seconds.
    """
    path = socket_path(settings.home, "daemon.sock")
    log_path = settings.home / "daemon.log"
    deadline = time.monotonic() + START_S_MAX
    child, offset = _spawn(log_path)
    spawned = 1
    while time.monotonic() < deadline:
        if answers(path):
            return child.pid
        if child.poll() is not None and not (child.returncode == ALREADY_RUNNING and holder(settings.home)):
            if child.returncode != ALREADY_RUNNING or spawned == SPAWNS_MAX:
                raise _why(log_path, offset, child.returncode)
            child, offset = _spawn(log_path)
            spawned += 1
        time.sleep(POLL_S)
    held = holder(settings.home)
    doing = f"{held.name} is {held.state or 'about to'}" if held else "none is there"
    raise TimedOut(f"the daemon did not answer within {START_S_MAX:.0f} s: {doing}", str(log_path), "see that log")


ALREADY_RUNNING = 4
"""Exit code of a daemon that finds this node's lock held, and of one that is refused for another reason."""
SPAWNS_MAX = 5


def _spawn(log_path: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A daemon, and where in its log it begins."""
    with log_path.open("ab") as log_file:
        offset = log_file.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            [sys.executable, "-m", "maestro", "worker"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log_file,
            start_new_session=True,
            cwd="/",
        )
    return child, offset


def _why(log_path: Path, offset: int, code: int) -> MaestroError:
    with log_path.open("rb") as file:
        file.seek(offset)
        lines = file.read(65536).decode("utf-8", "replace").strip().splitlines()
    what = _message(lines[-1]) if lines else f"it ended at once with exit code {code}"
    kind = {known.exit_code: known for known in (Invalid, Refused, StoreAway)}.get(code, MaestroError)
    return kind(f"the daemon did not start: {what}", mend=f"its log is {log_path}")


def _message(line: str) -> str:
    """What a line of the log says: it is JSON where the logger wrote it, plain where Python did."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line.removeprefix("maestro: ")
