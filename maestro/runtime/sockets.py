"""The sockets of a daemon: the admin's in MAESTRO_HOME, and those lent to runs, one each, that offer `state` only."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
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
    path = socket_path(context.settings.home, "daemon.sock")

    async def serve(client: trio.socket.SocketType) -> None:
        run = UNKNOWN_RUN if _descends_from(peer_pid(client), os.getpid()) else ""
        await serve_connection(context, trio.SocketStream(client), run)

    await _accept(await _bind(path), path, serve, task_status)


async def _accept(
    listening: trio.socket.SocketType,
    path: Path,
    serve: Callable[[trio.socket.SocketType], Awaitable[None]],
    task_status: trio.TaskStatus[None],
) -> None:
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
                nursery.start_soon(serve, client)
    finally:
        listening.close()
        path.unlink(missing_ok=True)


def sweep_run_sockets(home: Path) -> None:
    """Remove what the runs of an earlier daemon, killed, have left. The caller holds the daemon's lock."""
    folder = _run_socket_path(home, "*")
    for path in folder.parent.glob(folder.name):
        path.unlink(missing_ok=True)


def _run_socket_path(home: Path, name: str) -> Path:
    return socket_path(home, f"run-{name}.sock")


class RunSocket:
    """A socket for runs, one after the other: it speaks for the run that has it now, and for none in between.

    Making one takes longer than starting a shell, so that a run which has ended leaves its socket to the next.
    """

    def __init__(self, context: Context, path: Path) -> None:
        self.path = path
        self._context = context
        self._run = ""
        self._identity = (0, 0)
        self._clients: set[trio.CancelScope] = set()

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the processes of its runs until cancelled."""
        listening = await _bind(self.path)
        self._identity = _identity(self.path)
        await _accept(listening, self.path, self._serve, task_status)

    async def _serve(self, client: trio.socket.SocketType) -> None:
        if not self._run:
            client.close()
            return
        with trio.CancelScope() as scope:
            self._clients.add(scope)
            try:
                await serve_connection(self._context, trio.SocketStream(client), self._run)
            finally:
                self._clients.discard(scope)

    @property
    def is_there(self) -> bool:
        """Whether its path still leads to it: an agent that is not isolated can remove what its user can."""
        return _identity(self.path) == self._identity

    def begin(self, run: str) -> None:
        """From now on it is this run's."""
        self._run = run

    def end(self) -> None:
        """The run is over, and who still talks for it is cut off."""
        self._run = ""
        for scope in self._clients:
            scope.cancel()


class RunSockets:
    """The sockets of the runs on this node, as many as there were runs at once. `serve` must run for as long."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._idle: list[RunSocket] = []
        self._nursery: trio.Nursery | None = None

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sockets open until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def lend(self, run: str) -> RunSocket:
        """A socket that speaks for this run, to be given back when it is over."""
        while self._idle:
            known = self._idle.pop()
            if known.is_there:
                known.begin(run)
                return known
        assert self._nursery is not None
        path = _run_socket_path(self._context.settings.home, secrets.token_hex(6))
        fresh = RunSocket(self._context, path)
        fresh.begin(run)
        await self._nursery.start(fresh.listen)
        return fresh

    def give_back(self, lent: RunSocket) -> None:
        """Its run is over, and nothing of it is alive."""
        lent.end()
        self._idle.append(lent)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return (0, 0)
    return found.st_dev, found.st_ino


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
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - for each client and ancestor
                stat = file.read(1024)
        except OSError:
            return True
        pid = int(stat.rpartition(b")")[2].split(None, 2)[1])
    return True
