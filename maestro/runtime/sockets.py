"""The sockets of a daemon: the admin's in MAESTRO_HOME, and one for each run, that offers `state` only."""

from __future__ import annotations

import hashlib
import socket
import struct
import sys
from pathlib import Path

import trio

from maestro.config import socket_path
from maestro.runtime.context import Context
from maestro.runtime.launching import Launcher
from maestro.runtime.server import serve_connection

BACKLOG = 256
ANCESTORS_MAX = 64
UNKNOWN_RUN = "?"


async def listen_admin(
    context: Context, launcher: Launcher, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve whoever connects to `daemon.sock`; a process inside a run gets no more than its own socket gives it."""
    path = socket_path(context.settings.home, "daemon.sock")
    listening = await _bind(path)
    try:
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                client, _ = await listening.accept()
                run = UNKNOWN_RUN if _descends_from(peer_pid(client), launcher.pid) else ""
                nursery.start_soon(serve_connection, context, trio.SocketStream(client), run)
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def run_socket_path(home: Path, run: str) -> Path:
    """Where the socket of a run lies: short, because such paths are limited to 107 bytes."""
    return socket_path(home, f"run-{hashlib.sha256(run.encode()).hexdigest()[:12]}.sock")


class RunSocket:
    """The socket of one run, open from before the spawn until its end."""

    def __init__(self, context: Context, run: str, path: Path) -> None:
        self.path = path
        self._context = context
        self._run = run

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the run's processes until cancelled."""
        listening = await _bind(self.path)
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    client, _ = await listening.accept()
                    nursery.start_soon(serve_connection, self._context, trio.SocketStream(client), self._run)
        finally:
            listening.close()
            self.path.unlink(missing_ok=True)


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
    """Whether `ancestor` is above `pid`. A process of a run cannot leave its launcher, which is a subreaper."""
    for _ in range(ANCESTORS_MAX):
        if pid <= 1:
            return False
        if pid == ancestor:
            return True
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        pid = int(stat.rpartition(")")[2].split()[1])
    return False
