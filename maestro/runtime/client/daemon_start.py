"""Starts this node's daemon in the background, once, even if several commands do so at the same time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from maestro.config import Settings, socket_path
from maestro.model.errors import Invalid, MaestroError, Refused, StoreAway, TimedOut
from maestro.runtime.daemon import start_report
from maestro.runtime.node.daemon_lock import holder

START_S_MAX = 60.0
POLL_S = 0.01


def answers(path: Path) -> bool:
    """Whether a process listens on this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def start_daemon(settings: Settings) -> int:
    """Start the daemon, detached, wait until its socket answers, and return its pid.

    When two commands start it at once, the second daemon finds the lock held and ends. Its starter waits for that, as
    it would become the daemon where the first were shut down before it looks, and for the first one's socket. If the
    lock belongs to a daemon that is ending, another one is started as soon as it is gone.
    Raises MaestroError with the daemon's own report when it ended before it answered, TimedOut after START_S_MAX
    seconds.
    """
    path = socket_path(settings.home, "daemon.sock")
    log_path = settings.home / "daemon.log"
    deadline = time.monotonic() + START_S_MAX
    started = _StartedDaemon(log_path)
    spawned = 1
    while time.monotonic() < deadline:
        code = started.process.poll()
        held = holder(settings.home) if answers(path) else None
        if held and (code is not None or held.pid in (0, started.process.pid)):
            return held.pid or started.process.pid
        if code is not None and not (code == ALREADY_RUNNING and holder(settings.home)):
            if code != ALREADY_RUNNING or spawned == SPAWNS_MAX:
                raise started.why(code)
            started = _StartedDaemon(log_path)
            spawned += 1
        time.sleep(POLL_S)
    held = holder(settings.home)
    doing = f"{held.name} is {held.state or 'about to'}" if held else "none is there"
    raise TimedOut(f"the daemon did not answer within {START_S_MAX:.0f} s: {doing}", str(log_path), "see that log")


ALREADY_RUNNING = 4
"""Exit code of a daemon that finds this node's lock held, or is refused for another reason."""
SPAWNS_MAX = 5


class _StartedDaemon:
    """A daemon process that was started, and what it reports before it answers."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        self._report, theirs = os.pipe()
        self._offset = 0
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, theirs)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "maestro", "worker"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._open_log(stack),
                pass_fds=(theirs,),
                env={**os.environ, start_report.VARIABLE: str(theirs)},
                start_new_session=True,
                cwd="/",
            )

    def _open_log(self, stack: contextlib.ExitStack) -> IO[bytes] | int:
        """Open the daemon's log, and note at which offset this daemon begins.

        A log that cannot be opened does not prevent the start: the daemon will report the reason.
        """
        try:
            log_file = stack.enter_context(self._log_path.open("ab"))
        except OSError:
            return subprocess.DEVNULL
        self._offset = log_file.seek(0, os.SEEK_END)
        return log_file

    def why(self, code: int) -> MaestroError:
        """The error for a daemon that ended with this exit code: its own report, else the last line of its log."""
        what = start_report.read(self._report)
        os.close(self._report)
        if not what and (lines := self._logged()):
            what = _message(lines[-1])
        what = what or f"it ended at once with exit code {code}"
        kind = {known.exit_code: known for known in (Invalid, Refused, StoreAway)}.get(code, MaestroError)
        mend = f"its log is {self._log_path}" if self._log_path.exists() else ""
        return kind(f"the daemon did not start: {what}", mend=mend)

    def _logged(self) -> list[str]:
        try:
            with self._log_path.open("rb") as file:
                file.seek(self._offset)
                return file.read(65536).decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return []


def _message(line: str) -> str:
    """The message in a line of the log: JSON where the logger wrote it, plain text where Python did."""
    try:
        return str(json.loads(line)["message"])
    except (ValueError, TypeError, KeyError):
        return line.removeprefix("maestro: ")
