"""The listener of a unix socket at a path, bound again where somebody removes or replaces what lies there.

Clients of the old socket go on: a sandbox has it mounted, whatever becomes of its name. So a listener keeps the last
few of the sockets that it was bound to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from maestro.model.errors import MaestroError
from maestro.runtime.node.clock import next_second
from maestro.runtime.node.daemon_log import log, seldom

BACKLOG = 256
ACCEPT_AGAIN_S = 0.2
BOUND_MAX = 8
"""How many sockets one listener keeps: an agent that is not isolated may remove its own as often as it likes."""

Serve = Callable[[trio.socket.SocketType], Awaitable[None]]


class Listener:
    """The listener at one path. serve: gets each client.

    place: gives the path, its folder made where it is gone; raises where no socket may be there. watched: whether it
    looks at the path itself; else whoever has many of them calls `mend`.
    """

    def __init__(self, place: Callable[[], Path], serve: Serve, watched: bool = True) -> None:
        self._watched = watched
        self.path = place()
        self._place = place
        self._serve = serve
        self._bound: list[tuple[trio.socket.SocketType, trio.CancelScope]] = []
        self._identity = (0, 0)
        self._nursery: trio.Nursery | None = None
        self._binding = trio.Lock()

    async def listen(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. Raises OSError, MaestroError where it cannot begin."""
        try:
            async with trio.open_nursery() as self._nursery:
                await self._bind()
                task_status.started()
                while self._watched:
                    await next_second()
                    await self.mend()
                await trio.sleep_forever()
        finally:
            for listening, _ in self._bound:
                listening.close()
            if self.is_there:
                self.path.unlink(missing_ok=True)

    @property
    def is_there(self) -> bool:
        """Whether the path leads to the socket that this listener is bound to."""
        return self._identity == _identity(self.path) != (0, 0)

    async def mend(self) -> None:
        """Bind again where the path leads to another socket, or nowhere."""
        if self.is_there:  # nearly always, and each run asks; the lock costs a turn of trio's loop
            return
        async with self._binding:
            if self.is_there:
                return
            try:
                await self._bind()
            except (OSError, MaestroError) as error:
                seldom.warn(f"listening at {self.path}", str(error))
            else:
                log.warning("%s was removed or replaced: listening there again", self.path)

    async def _bind(self) -> None:
        assert self._nursery is not None
        path = self._place()
        path.unlink(missing_ok=True)
        listening = trio.socket.socket(trio.socket.AF_UNIX)
        try:
            await listening.bind(str(path))
            path.chmod(0o600)
            listening.listen(BACKLOG)
        except BaseException:
            listening.close()
            raise
        self.path, self._identity = path, _identity(path)
        scope = trio.CancelScope()
        self._bound.append((listening, scope))
        self._nursery.start_soon(self._accept, listening, scope)
        if len(self._bound) > BOUND_MAX:
            oldest, ending = self._bound.pop(0)
            ending.cancel()
            oldest.close()

    async def _accept(self, listening: trio.socket.SocketType, scope: trio.CancelScope) -> None:
        assert self._nursery is not None
        with scope:
            while True:
                try:
                    client, _ = await listening.accept()
                except OSError as error:  # no descriptors are left, or the client has gone: not the end of the server
                    log.warning("accepting at %s: %s", self.path, error)
                    await trio.sleep(ACCEPT_AGAIN_S)
                    continue
                self._nursery.start_soon(self._serve, client)


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode of the socket at a path; (0, 0) where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino) if stat.S_ISSOCK(found.st_mode) else (0, 0)
