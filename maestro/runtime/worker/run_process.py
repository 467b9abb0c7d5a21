"""The process tree of one run as the worker sees it: trio's side of the warden's socket."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

from maestro.runtime.supervision.spec import End, Frozen, Message, Spec, Started, Thawed, decode_message, encode


class RunProcess:
    """The process tree of one run. Iterate `events`: `Started` if its program ran, `Frozen`, `Thawed`, last its `End`.

    The commands never wait: each is a line in a socket. Closing that kills the tree, as the worker's death does.
    """

    def __init__(
        self,
        spec: Spec,
        warden: trio.socket.SocketType,
        swept: Callable[[RunProcess], Awaitable[bool]],
        forget: Callable[[RunProcess], None],
    ) -> None:
        """spec: as the warden gets it; warden: the socket to it.

        swept: waits until nothing is left of a run whose warden was killed, False when no warden had taken it. forget:
        has the launcher's client forget the run.
        """
        self.spec = spec
        self.started: Started | None = None
        self.end: End | None = None
        self.frozen: Frozen | None = None
        self.launched_at = trio.current_time()
        self._socket = warden
        self._swept = swept
        self._forget = forget
        self._inbox = b""
        self._withdrawn: End | None = None
        self._rest = trio.lowlevel.ParkingLot()

    @property
    def pid(self) -> int:
        """The pid of the program; 0 while it does not run yet."""
        return 0 if self.started is None else self.started.pid

    @property
    def events(self) -> AsyncIterator[Message]:
        """The messages of the warden, to be iterated once."""
        return self

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        """The next message; safe to cancel. Where the warden was killed: `End(lost=True)`, and nothing is alive."""
        if self.end is not None:
            raise StopAsyncIteration
        while b"\n" not in self._inbox:
            try:
                chunk = await self._socket.recv(65536)
            except (OSError, trio.ClosedResourceError):
                chunk = b""
            if not chunk:
                return self._note(await self._lost())
            self._inbox += chunk
        line, _, self._inbox = self._inbox.partition(b"\n")
        return self._note(decode_message(line))

    async def wait(self) -> End:
        """Pass over all messages to the end."""
        async for _ in self:
            continue
        assert self.end is not None
        return self.end

    def stop(self, reason: str, force: bool = False, grace_s: float | None = None) -> None:
        """End the run: the stop signal, and SIGKILL after the grace (None: the spec's) or, with force, at once."""
        self._send({"do": "stop", "reason": reason, "force": force, "grace_s": grace_s})

    def ack(self) -> None:
        """Tell the warden that the end is in the log, so that it need not sync its record, and forget the run."""
        self._send({"do": "ack"})
        self.close()

    def freeze(self) -> None:
        """Have every process of the run stopped, and its timeout; `Frozen` answers."""
        self.frozen = None
        self._send({"do": "freeze"})

    async def comes_to_rest(self) -> None:
        """Return when the run is frozen, or has ended; another task iterates the events."""
        while self.frozen is None and self.end is None:
            await self._rest.park()

    def thaw(self) -> None:
        """Let the run go on; `Thawed` answers."""
        self._send({"do": "thaw"})

    def close(self) -> None:
        """Forget the run, and have killed what there still is of it."""
        self._socket.close()
        self._forget(self)

    def withdraw(self, end: End) -> None:
        """Give the run this end, as it cannot start: a warden that takes it later finds the socket closed."""
        self._withdrawn = end
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    async def _lost(self) -> End:
        if self._withdrawn is not None:
            return self._withdrawn
        if await self._swept(self):
            return End(run=self.spec.run, token=self.spec.token, lost=True)
        return End(self.spec.run, self.spec.token, spawn_error="no warden could take the run", retriable=True)

    def _note(self, message: Message) -> Message:
        if isinstance(message, Started):
            self.started = message
        elif isinstance(message, End):
            self.end = message
            self._rest.unpark_all()
        elif isinstance(message, Frozen):
            self.frozen = message
            self._rest.unpark_all()
        elif isinstance(message, Thawed):
            self.frozen = None
        return message

    def _send(self, command: dict[str, Any]) -> None:
        """A warden that is gone needs no command; the end of its messages says so."""
        with contextlib.suppress(OSError):
            os.write(self._socket.fileno(), encode(command))
