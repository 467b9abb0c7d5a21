"""The sockets of a daemon: the admin's in MAESTRO_HOME, and those lent to runs, one each, that offer `state` only."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
from pathlib import Path

import trio

from maestro.config import socket_path
from maestro.model.errors import Refused
from maestro.runtime.node.context import Context
from maestro.runtime.server.connection import serve_connection
from maestro.runtime.server.socket_listener import Listener
from maestro.runtime.supervision import processes

ANCESTORS_MAX = 4096
UNKNOWN_RUN = "?"


async def listen_admin(context: Context, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve whoever connects to `daemon.sock`; a process inside a run gets no more than its own socket gives it.

    All that descends from this daemon is inside a run: it starts nothing else, and what leaves a dead launcher or
    warden comes to it, as it is a subreaper.
    """

    async def serve(client: trio.socket.SocketType) -> None:
        run = UNKNOWN_RUN if _descends_from(peer_pid(client), os.getpid()) else ""
        await serve_connection(context, trio.SocketStream(client), run)

    await Listener(lambda: _place(context, "daemon.sock"), serve).listen(task_status)


def _place(context: Context, name: str) -> Path:
    """Where a socket of this home lies. Raises Refused where it is gone, or another daemon's: that has the name now."""
    if not context.may_listen():
        raise Refused("MAESTRO_HOME is not this daemon's any more", str(context.settings.home))
    return socket_path(context.settings.home, name)


def sweep_run_sockets(home: Path) -> None:
    """Remove what the runs of an earlier daemon, killed, have left. The caller holds the daemon's lock."""
    folder = socket_path(home, "run-*.sock")
    for path in folder.parent.glob(folder.name):
        path.unlink(missing_ok=True)


class RunSocket:
    """A socket for runs, one after the other: it speaks for the run that has it now, and for none in between.

    Making one takes longer than starting a shell, so that a run which has ended leaves its socket to the next.
    """

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._run = ""
        self._clients: set[trio.CancelScope] = set()
        self.listener = Listener(lambda: _place(context, f"run-{name}.sock"), self._serve)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.listener.path

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
        if self._idle:
            known = self._idle.pop()
            known.begin(run)
            await known.listener.mend()  # an agent that is not isolated can remove what its user can
            return known
        assert self._nursery is not None
        fresh = RunSocket(self._context, secrets.token_hex(6))
        fresh.begin(run)
        await self._nursery.start(fresh.listener.listen)
        return fresh

    def give_back(self, lent: RunSocket) -> None:
        """Its run is over, and nothing of it is alive."""
        lent.end()
        self._idle.append(lent)


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
        above = processes.parent(pid)
        if above < 0:
            return True
        pid = above
    return True
