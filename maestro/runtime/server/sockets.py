"""The sockets of a daemon: the one for commands in MAESTRO_HOME, and those lent to runs, which offer little."""

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
from maestro.runtime.node.clock import next_second
from maestro.runtime.node.context import Context
from maestro.runtime.server.connection import serve_connection
from maestro.runtime.server.run_rights import UNKNOWN_RUN
from maestro.runtime.server.socket_listener import Listener
from maestro.runtime.supervision import processes

ANCESTORS_MAX = 4096


async def listen_admin(context: Context, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serve whoever connects to `daemon.sock`; a process inside a run may use no more than on its own socket.

    Every process that descends from this daemon is inside a run: the daemon starts no others, and the orphans of dead
    launchers and wardens become its children, as it is a subreaper.
    """

    async def serve(client: trio.socket.SocketType) -> None:
        run = UNKNOWN_RUN if _descends_from(peer_pid(client), os.getpid()) else ""
        await serve_connection(context, trio.SocketStream(client), run)

    await Listener(lambda: _place(context, "daemon.sock"), serve).listen(task_status)


def _place(context: Context, name: str) -> Path:
    """The path of a socket in this home. Raises Refused where the home is gone, or another daemon's by now."""
    if not context.may_listen():
        raise Refused("MAESTRO_HOME is not this daemon's any more", str(context.settings.home))
    return socket_path(context.settings.home, name)


def sweep_run_sockets(home: Path) -> None:
    """Remove the run sockets that an earlier, killed daemon has left. The caller holds the daemon lock."""
    folder = socket_path(home, "run-*.sock")
    for path in folder.parent.glob(folder.name):
        path.unlink(missing_ok=True)


class RunSocket:
    """A socket that is lent to runs, one after the other; between two runs it serves nobody.

    Making one takes longer than starting a shell, so a run that has ended leaves its socket to the next.
    """

    def __init__(self, context: Context, name: str) -> None:
        self._context = context
        self._run = ""
        self._clients: set[trio.CancelScope] = set()
        self.listener = Listener(lambda: _place(context, f"run-{name}.sock"), self._serve, watched=False)

    @property
    def path(self) -> Path:
        """The path of the socket."""
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
        """Serve clients as processes of this run."""
        self._run = run

    def end(self) -> None:
        """Cut off the clients that are connected, and serve none: the run is over."""
        self._run = ""
        for scope in self._clients:
            scope.cancel()


class RunSockets:
    """The sockets of the runs on this node, as many as there were runs at once. `serve` must run meanwhile."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._idle: list[RunSocket] = []
        self._all: list[RunSocket] = []
        self._nursery: trio.Nursery | None = None

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sockets open and where they are until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                await next_second()
                for each in self._all:
                    await each.listener.mend()

    async def lend(self, run: str) -> RunSocket:
        """Lend a socket to a run, to be given back when the run is over."""
        if self._idle:
            known = self._idle.pop()
            known.begin(run)
            await known.listener.mend()  # an agent that is not isolated can remove what its user can
            return known
        assert self._nursery is not None
        fresh = RunSocket(self._context, secrets.token_hex(6))
        fresh.begin(run)
        await self._nursery.start(fresh.listener.listen)
        self._all.append(fresh)
        return fresh

    def give_back(self, lent: RunSocket) -> None:
        """Take a socket back: no process of its run is alive."""
        lent.end()
        self._idle.append(lent)


def peer_pid(client: trio.socket.SocketType) -> int:
    """The pid at the other end of a unix socket, 0 where the system does not tell."""
    if not sys.platform.startswith("linux"):
        return 0
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _descends_from(pid: int, ancestor: int) -> bool:
    """Whether the process `ancestor`, a subreaper, is above `pid`; also where that cannot be told, as `pid` is gone.

    pid: 0 where the system does not tell; that counts as not below.
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
