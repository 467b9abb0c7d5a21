"""The embedded server: a private Valkey or Redis on a unix socket below MAESTRO_HOME, started on first use.

Two locks make sure that any number of concurrent starters lead to one server. `start.lock` is held around check and
start. `data.lock` is inherited by the server itself, so the kernel frees it when the server (and a child of it that
rewrites the AOF) is gone: held means that a process has the data open, free means that none has. Processes are never
identified by their pid.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import msgspec

from maestro.durable import lock_file
from maestro.folders import private_folder, socket_path
from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.store.embedded import stranded
from maestro.store.embedded.ballast import disk_state, free_ballast, restore_ballast
from maestro.store.embedded.binary import find_binary
from maestro.store.redis.resp import ErrorReply, dial_unix

TUNABLES = "glibc.malloc.tcache_count=2000:glibc.malloc.tcache_max=128"
"""For the server's malloc: a save of the views allocates thousands of small words at once, of which glibc would keep 7
of a size, and search for the rest. Of larger blocks it keeps none that way: a thread that only frees, as UNLINK's does,
would hold 64 MB of them. Other C libraries do not read it.
"""
START_S_MAX = 60.0
SILENT_S_MAX = 2.5
"""How long a server that somebody else started may be silent: as `GREET_S` of connections. One that loads says so."""
STOP_S_MAX = 30.0
LOG_BYTES_MAX = 1024 * 1024
FULL_BYTES_MAX = 16 * 1024 * 1024
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.001, 0.02
_IN_ORDER = "ready to exit, bye bye"
_DISK_FULL = ("No space left", "Can't recover from AOF write error")

Liveness = Literal["up", "loading", "silent", "queue full", "away"]


class ServerPaths(msgspec.Struct, frozen=True):
    """The paths of the embedded server of one MAESTRO_HOME."""

    home: Path
    folder: Path
    socket: Path
    data: Path
    log: Path
    pid: Path
    start_lock: Path
    data_lock: Path
    incidents: Path


def server_paths(home: Path) -> ServerPaths:
    """The paths for a MAESTRO_HOME, its folders created and checked. Raises `Refused` and `Invalid` (folders.py)."""
    private_folder(home, "MAESTRO_HOME", tighten=True)
    folder = private_folder(home / "store", "store folder", tighten=True)
    return ServerPaths(
        home=home,
        folder=folder,
        socket=socket_path(home, "store/store.sock"),
        data=folder / "data",
        log=folder / "server.log",
        pid=folder / "server.pid",
        start_lock=folder / "start.lock",
        data_lock=folder / "data.lock",
        incidents=folder / "incidents",
    )


def url(home: Path) -> str:
    """The URL of the embedded server of a MAESTRO_HOME, running or not."""
    return f"unix://{quote(str(socket_path(home, 'store/store.sock')))}"


def ensure(home: Path, fsync: str = "always", wait_s: float = START_S_MAX, binary: Path | None = None) -> str:
    """The URL of the embedded server, which is started unless it runs. Waits up to wait_s until it answers.

    fsync: `always`, or `everysec` for benchmarks; only the process that starts the server decides.
    A server that runs, and was not started here, is waited for up to SILENT_S_MAX where it gives no answer at all.
    Raises `StoreAway` when it does not answer in time, `StoreUnsafe` when its data cannot be loaded.
    """
    at = server_paths(home)
    deadline = time.monotonic() + wait_s
    pause = _PAUSE_S_MIN
    starts: list[int] = []
    full = False
    while True:
        patience_s = max(deadline - time.monotonic(), 0.05)
        liveness = _liveness(at.socket, patience_s if starts else min(patience_s, SILENT_S_MAX))
        if liveness == "up":
            if starts:
                restore_ballast(home)
            return url(home)
        if liveness == "silent" and not starts:
            raise _timeout_error(at, liveness, min(wait_s, SILENT_S_MAX))
        if liveness == "queue full" and not starts:
            deadline = min(deadline, time.monotonic() + 2 * SILENT_S_MAX) if not full else deadline
            full = True
        if liveness == "away":
            _start_where_free(at, fsync, binary, starts)
        if time.monotonic() > deadline:
            raise _timeout_error(at, liveness, wait_s)
        time.sleep(pause)
        pause = min(pause * 1.5, _PAUSE_S_MAX)


def stop(home: Path, wait_s: float = STOP_S_MAX) -> bool:
    """Stop the embedded server and wait until its process is gone; False when none ran. Raises `StoreAway`."""
    at = server_paths(home)
    deadline = time.monotonic() + wait_s
    while True:
        with _lock(at.start_lock) as mine:
            if mine is not None:
                return _stop(at, deadline)
        if time.monotonic() > deadline:
            raise StoreAway("the embedded store is being started", str(at.folder), "try again")
        time.sleep(_PAUSE_S_MAX)


def answers(home: Path, timeout_s: float = 1.0) -> bool:
    """Whether the embedded server of a MAESTRO_HOME runs and answers. Starts nothing."""
    return _liveness(socket_path(home, "store/store.sock"), timeout_s) == "up"


def incidents(home: Path) -> list[str]:
    """What went wrong with the embedded server so far, a line each, oldest first, for `doctor` and the daemon's log."""
    path = home / "store" / "incidents"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _liveness(socket: Path, timeout_s: float) -> Liveness:
    try:
        with dial_unix(socket, timeout_s) as wire:
            wire.call("PING")
    except ErrorReply as said:
        return "loading" if said.code == "LOADING" else "up"
    except TimeoutError:
        return "silent"
    except BlockingIOError:
        return "queue full"
    except OSError:
        return "away"
    return "up"


def _start_where_free(at: ServerPaths, fsync: str, binary: Path | None, starts: list[int]) -> None:
    """Start the server unless another process does. starts: log offset of each start by this process."""
    with _lock(at.start_lock) as mine:
        if mine is None or _liveness(at.socket, 1.0) != "away":
            return
        with _lock(at.data_lock) as data_lock:
            if data_lock is None:  # wait: a server starts, or its last AOF rewrite is still ending
                stranded.end_now_and_then(at.data)
                return
            if stranded.end(at.data):  # a server without socket and lock file runs
                return
            if starts and not any(_IN_ORDER in line for line in _log_lines(at, starts[-1])):  # else others stopped it
                _explain_death(at, starts)
            elif at.pid.exists():
                _handle_crash(at)
            starts.append(_start(at, data_lock, fsync, binary))


def _start(at: ServerPaths, data_lock: int, fsync: str, binary: Path | None) -> int:
    """Start the server, which inherits data_lock; returns the offset where its part of the log begins. Raises
    `StoreAway`.
    """
    # fmt: off
    command = [
        str(binary or find_binary()), "--port", "0", "--unixsocket", str(at.socket), "--unixsocketperm", "700",
        "--dir", str(at.data), "--appendonly", "yes", "--appendfsync", fsync, "--aof-load-truncated", "yes",
        "--save", "", "--maxmemory", "0", "--maxmemory-policy", "noeviction", "--stream-node-max-bytes", "16384",
        "--daemonize", "yes", "--pidfile", str(at.pid), "--logfile", str(at.log),
    ]
    # The server lives long: neither the caller's secrets nor marks of a run may stay in its environment.
    env = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "TZ") if name in os.environ}
    try:
        at.data.mkdir(mode=0o700, exist_ok=True)
        if at.log.exists() and at.log.stat().st_size > LOG_BYTES_MAX:
            at.log.rename(at.log.with_suffix(".log.1"))
        logged = at.log.stat().st_size if at.log.exists() else 0
        at.socket.unlink(missing_ok=True)
        # `daemonize` forks, so that no caller has a child to reap; the grandchild inherits the lock.
        done = subprocess.run(
            command,
            env=env | {"LC_ALL": "C", "GLIBC_TUNABLES": TUNABLES},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(data_lock,),
            start_new_session=True,
            timeout=START_S_MAX,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise StoreAway(f"the embedded store cannot be started: {failure}", command[0]) from None
    if done.returncode:
        said = done.stdout.decode("utf-8", "replace").split("\n") + _log_lines(at, logged)
        raise StoreAway(f"the embedded store cannot be started: {_last(said)}", str(at.log))
    return logged


def _handle_crash(at: ServerPaths) -> None:
    """Record that the last server left its pid file: it was killed, or gave up because the disk was full.

    In the second case free the ballast.
    """
    size = at.log.stat().st_size if at.log.exists() else 0
    said = _log_lines(at, max(0, size - 16_384))
    # The disk may have been too full even for the log line that says so.
    if _is_disk_full(said[-12:]) or disk_state(at.home).free_bytes < FULL_BYTES_MAX:
        freed = "freed the ballast" if free_ballast(at.home) else "no ballast was left to free"
        _note(at, f"the server stopped because the disk was full; {freed} and started it again")
    else:
        _note(at, "the server had stopped without a shutdown; started it again")


def _explain_death(at: ServerPaths, starts: list[int]) -> None:
    """Handle the exit of a server that this process started, before it answered.

    Returns when another try makes sense, else raises the reason.
    """
    said = _log_lines(at, starts[-1])
    if len(starts) < 3 and _is_disk_full(said) and free_ballast(at.home):
        _note(at, "the disk was full when the server started; freed the ballast")
        return
    raise _death_error(at, said)


def _death_error(at: ServerPaths, said: list[str]) -> MaestroError:
    reason = _last(said)
    if _is_disk_full(said):
        return StoreAway("the embedded store has no room on its disk", str(at.data), "free some space")
    if "append only file" in reason or "AOF" in reason or "RDB" in reason or "orrupt" in reason:
        mend = f"keep a copy of {at.data}, then restore it from a backup or mend it with valkey-check-aof --fix"
        return StoreUnsafe(f"the embedded store cannot load its data: {reason}", str(at.log), mend)
    return StoreAway(f"the embedded store stopped at its start: {reason}", str(at.log))


def _timeout_error(at: ServerPaths, liveness: Liveness, wait_s: float) -> StoreAway:
    pid = at.pid.read_text().strip() if at.pid.exists() else "unknown"
    if liveness == "loading":
        return StoreAway(f"the embedded store still loads its data after {wait_s:g} s", str(at.data), "try again later")
    what = f"the embedded store (process {pid}) has its data open but gives no answer since {wait_s:g} s"
    return StoreAway(what, str(at.log), "see whether the process is stopped or its disk hangs")


def _stop(at: ServerPaths, deadline: float) -> bool:
    ran = False
    while not _is_free(at.data_lock) or stranded.end(at.data):
        ran = True
        if time.monotonic() > deadline:
            raise _timeout_error(at, "silent", STOP_S_MAX)
        try:
            with dial_unix(at.socket, max(deadline - time.monotonic(), 0.05)) as wire:
                wire.call("SHUTDOWN")  # it syncs the AOF and closes the connection instead of answering
        except ErrorReply as refused:
            raise StoreAway(f"the embedded store does not stop: {refused}", str(at.log)) from None
        except OSError:
            stranded.end_now_and_then(at.data)
            time.sleep(_PAUSE_S_MIN)  # it is ending or not yet listening: data.lock tells
    at.socket.unlink(missing_ok=True)
    return ran


@contextmanager
def _lock(path: Path) -> Iterator[int | None]:
    """Hold a lock file: yields its descriptor, or None when another process holds it."""
    try:
        descriptor = lock_file(path)
    except OSError as failure:
        raise StoreAway(f"the embedded store cannot be locked: {failure.strerror}", str(path)) from None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is_free(lock: Path) -> bool:
    with _lock(lock) as mine:
        return mine is not None


def _log_lines(at: ServerPaths, start: int) -> list[str]:
    if not at.log.exists():
        return []
    with at.log.open("rb") as log:
        log.seek(start)
        return log.read().decode("utf-8", "replace").splitlines()


def _is_disk_full(said: list[str]) -> bool:
    return any(sign in line for line in said for sign in _DISK_FULL)


def _last(said: list[str]) -> str:
    """The server's last warning (marked with # in its log), else its last line."""
    lines = [line.strip() for line in said if line.strip() and "bye bye" not in line]
    warnings = [line.split(" # ", 1)[1] for line in lines if " # " in line and "overcommit" not in line]
    return (warnings or lines or ["it said nothing"])[-1]


def _note(at: ServerPaths, text: str) -> None:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with at.incidents.open("a", encoding="utf-8") as incidents_file:
            incidents_file.write(f"{stamp} {text}\n")
    except OSError as full:
        print(f"{at.incidents}: {text} (not recorded: {full})", file=sys.stderr)
