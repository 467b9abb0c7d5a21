"""The sockets of a daemon: the admin's in MAESTRO_HOME, and one for each run, that offers `state` only."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import trio

from maestro.config import socket_path
from maestro.runtime.context import Context
from maestro.runtime.logs import log
from maestro.runtime.server import serve_connection

BACKLOG = 256
ANCESTORS_MAX = 4096
ACCEPT_AGAIN_S = 0.2
UNKNOWN_RUN = "?"


async def listen_admin(context: Context, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve whoever connects to `daemon.sock`; a process inside a run gets no more than its own socket gives it.

    All that descends from this daemon is inside a run: it starts nothing else, and what leaves a dead launcher or
    warden comes to it, as it is a subreaper.
    """

    def run_of(client: trio.socket.SocketType) -> str:
        return UNKNOWN_RUN if _descends_from(peer_pid(client), os.getpid()) else ""

    await _serve(context, socket_path(context.settings.home, "daemon.sock"), run_of, task_status)


async def _serve(
    context: Context,
    path: Path,
    run_of: Callable[[trio.socket.SocketType], str],
    task_status: trio.TaskStatus[None],
) -> None:
    listening = await _bind(path)
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                try:
                    client, _ = await listening.accept()
                except OSError as error:  # no descriptors are left, or the client has gone: not the end of the server
                    log.warning("accepting at %s: %s", path, error)
                    await trio.sleep(ACCEPT_AGAIN_S)
                    continue
                nursery.start_soon(serve_connection, context, trio.SocketStream(client), run_of(client))
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def run_socket_path(home: Path, run: str) -> Path:
    """Where the socket of a run lies: short, because such paths are limited to 107 bytes."""
    return socket_path(home, f"run-{hashlib.sha256(run.encode()).hexdigest()[:12]}.sock")


def sweep_run_sockets(home: Path) -> None:
    """Remove what the runs of an earlier daemon, killed, have left. The caller holds the daemon's lock."""
    folder = socket_path(home, "run-x.sock")
    for path in folder.parent.glob(folder.name.replace("x", "*")):
        path.unlink(missing_ok=True)


class RunSocket:
    """The socket of one run, open from before the spawn until its end."""

    def __init__(self, context: Context, run: str, path: Path) -> None:
        self.path = path
        self._context = context
        self._run = run

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the run's processes until cancelled."""
        await _serve(self._context, self.path, lambda _: self._run, task_status)


async def _bind(path: Path) -> trio.socket.SocketType:
    path.unlink(missing_ok=True)
    listening = trio.socket.socket(trio.socket.AF_UNIX)
    await listening.bind(str(path))
    path.chmod(0o600)
    listening.listen(BACKLOG)
    return listening


def peer_pid(client: trio.socket.SocketType) -> int:
    """The pid at the other end of a unix socket, 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _descends_from(pid: int, ancestor: int) -> bool:
    """Whether `ancestor`, a subreaper, is above `pid`; also where that cannot be told, as the process is gone.

    pid: 0 where the system does not tell: not below us then.
    """
    for _ in range(ANCESTORS_MAX):  # an agent may have forked itself as deep as it likes
        if pid <= 1:
            return False
        if pid == ancestor:
            return True
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        pid = int(stat.rpartition(")")[2].split()[1])
    return True
