"""The in-process server: serves the command of its own process, which needs no daemon and finds none running."""

from __future__ import annotations

import socket

import trio

from maestro.config import Settings
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.failures import user_error
from maestro.runtime.scheduler.admission import LoneAdmission
from maestro.runtime.server.connection import serve_connection
from maestro.store.embedded import embedded_server
from maestro.workspaces import open_records


def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve the one client at the other end of `sock`, then return. Runs in a thread of the client.

    Raises MaestroError where the store cannot be opened.
    """
    try:
        stop_store = trio.run(_serve, settings, sock)
    except BaseExceptionGroup as group:
        raise user_error(group) or group from None
    if stop_store:
        embedded_server.stop(settings.home)


async def _serve(settings: Settings, sock: socket.socket) -> bool:
    is_open = open_records.is_any(settings.home)
    if is_open:
        from maestro.runtime.daemon import log_unloader
        from maestro.runtime.restores import crash_recovery

        await log_unloader.unload_alone(settings)
    async with open_context(settings, checked=False) as context:
        context.gateway.admit = LoneAdmission(context)
        if is_open and context.storeless is None:
            await crash_recovery.settle_alone(context)
        await serve_connection(context, trio.SocketStream(trio.socket.from_stdlib_socket(sock)))
        return context.stop_store
