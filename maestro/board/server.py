"""The server of the board: Hypercorn on trio, which serves its application on loopback."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_http

from maestro.board.application import Application
from maestro.board.board import Board
from maestro.board.entrance import Entrance
from maestro.config import Settings
from maestro.model.errors import Invalid, StoreAway, StoreUnsafe
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.daemon_log import log

HOST = "127.0.0.1"
AGAIN_S = 0.5


def listen(port: int) -> socket.socket:
    """A socket that listens on loopback, nowhere else. Raises Invalid where the port cannot be had."""
    if not 0 <= port < 65536:
        raise Invalid(f"there is no port {port}", "--port", "use one from 1 to 65535, or 0 for a free one")
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
        found.listen()
    except OSError as error:
        found.close()
        reason = (error.strerror or str(error)).lower()
        mend = "`--port 0` picks a free port, `--port N` names another"
        raise Invalid(f"the board cannot be served: {reason}", f"{HOST}:{port}", mend) from None
    return found


async def serve(settings: Settings, listener: socket.socket, actions: bool, begun: Callable[[Entrance], None]) -> None:
    """Serve the board for ever. begun: gets the entrance, once the board is served."""
    entrance = Entrance(listener.getsockname()[1], secrets.token_urlsafe(32))
    application: Application | None = None
    async with trio.open_nursery() as nursery:
        while True:
            try:
                async with open_context(settings) as context:
                    board = Board(context, entrance.port, actions, entrance.keys.token)
                    if application is None:
                        application = Application(board, entrance)
                        await nursery.start(serve_http, application, _config(listener))
                        begun(entrance)
                    application.board = board
                    await board.run()
                    log.warning("the board shows another log: the one that it has shown is gone")
            except (StoreAway, StoreUnsafe):
                if application is None:
                    raise
                await trio.sleep(AGAIN_S)


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = log.getChild("http")  # what it tells beside failures is not for whom looks at the page
    config.errorlog.setLevel("WARNING")
    config.include_server_header = False
    return config
