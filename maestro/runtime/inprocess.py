"""The server inside a command's own process, for commands that need no daemon and find none running."""

from __future__ import annotations

import socket

import trio

from maestro.config import Settings
from maestro.model.errors import MaestroError
from maestro.runtime import protocol as p
from maestro.runtime.opening import open_context
from maestro.runtime.server import serve_connection
from maestro.runtime.wire import frame


def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve the one client at the other end of `sock`, then return. Runs in a thread of the client."""
    try:
        trio.run(_serve, settings, sock)
    except MaestroError as error:
        with sock:
            sock.sendall(frame(p.Failed(error.code, error.exit_code, error.what, error.where, error.mend)))


async def _serve(settings: Settings, sock: socket.socket) -> None:
    async with open_context(settings) as context:
        await serve_connection(context, trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
