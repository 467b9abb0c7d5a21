"""The application of the board: all routes behind the entrance and the guard, whatever happens in one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from maestro.board import acts, guard, log_routes
from maestro.board.answers import failure
from maestro.board.board import Board
from maestro.board.entrance import Entrance
from maestro.board.files import routes as files
from maestro.board.guard import Asked
from maestro.board.refusal import Unfit
from maestro.board.rows import routes as rows
from maestro.board.runs import routes as runs
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.failures import user_error
from replayers.timeline.timeline import AGAIN

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
"""What the files of the page are, by their ends; no other file is served."""

NAME_MAX = 100


async def index(_request: Request) -> Response:
    """The page itself."""
    return _file("index.html")


async def asset(request: Request) -> Response:
    """A file that the page loads."""
    return _file(request.path_params["path"])


def _file(name: str) -> Response:
    """A file of the package below `page/`. Raises HTTPException where there is none."""
    kind = TYPES.get(Path(name).suffix)
    plain = all(part.strip(".") and not part.startswith(".") and "\0" not in part for part in name.split("/"))
    path = PAGE / name
    if kind is None or not plain or len(name) > NAME_MAX or not path.is_file():
        raise HTTPException(404)
    return FileResponse(path, headers={"Cache-Control": "no-cache"}, media_type=kind)


ROUTES = [
    Route("/", index),
    Route("/app/{path:path}", asset),
    *log_routes.ROUTES,
    *rows.ROUTES,
    *runs.ROUTES,
    *files.ROUTES,
    *acts.ROUTES,
]


class Application:
    """All routes behind the entrance. A request is given up where the browser does not want its answer any more."""

    def __init__(self, board: Board, entrance: Entrance) -> None:
        self.board = board
        self._entrance = entrance
        self._router = Router(ROUTES, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _headed(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._entrance.answer(asked(scope), scope["query_string"].decode("latin-1"))
        if refused is not None:
            await refused(scope, receive, send)
        elif scope["method"] == "POST":
            await self._attempt(scope, receive, Answering(send))
        else:
            answering = Answering(send)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answering.watch, receive, nursery.cancel_scope)
                await self._attempt(scope, _nothing, answering)
                nursery.cancel_scope.cancel()

    async def _attempt(self, scope: Scope, receive: Receive, answering: Answering) -> None:
        """Have the route answer; what it did not foresee is told as an error too, and logged."""
        try:
            try:
                await self._router({**scope, "app": self}, receive, answering)
            except Refused as error:
                if error.mend != AGAIN or answering.is_begun:
                    raise
                self.board.forget()  # somebody has deleted the timeline, which is made anew
                await self._router({**scope, "app": self}, receive, answering)
        except Exception as error:  # noqa: BLE001 - one request must not end the board
            told = _told(error, f"{scope['method']} {scope['path'][:80]}")
            if answering.is_begun:
                log.warning("the answer to %s was broken off: %s", scope["path"], told.line())
            else:
                await failure(told)(scope, receive, answering)


def _told(error: Exception, asked_for: str) -> MaestroError:
    """What the browser is told of an error; a defect is logged as well."""
    if isinstance(error, HTTPException):
        return Unfit(
            error.status_code, "not_found", f"the board has no {asked_for}", "`maestro help board` tells what it has"
        )
    known = user_error(error)
    if known is None:
        log.error("defect in maestro: %s", asked_for, exc_info=error)
    return known or MaestroError(f"defect in maestro: {error!r}")


class Answering:
    """A send that knows whether an answer has begun, and whether its last part was given to the server."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_begun = False
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        """Send a part of an answer."""
        self.is_begun = True
        self._is_over = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def watch(self, receive: Receive, scope: trio.CancelScope) -> None:
        """Cancel once the browser has gone. After the last part the server says so, too, and must not be disturbed."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._is_over:
            scope.cancel()


def asked(scope: Scope) -> Asked:
    """What the guard looks at in a request."""

    def every(name: bytes) -> list[str]:
        return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]

    return Asked(
        scope["method"],
        scope["path"],
        every(b"host"),
        every(b"origin"),
        every(b"sec-fetch-site"),
        every(b"cookie"),
        every(guard.TOKEN_HEADER.lower().encode()),
    )


def _headed(send: Send) -> Send:
    """A send with the guard's headers on each answer."""

    async def headed(message: Message) -> None:
        if message["type"] == "http.response.start":
            held: list[Any] = list(message.get("headers", ()))
            added = dict(guard.HEADERS)
            if not any(name.lower() == b"cache-control" for name, _ in held):
                added["Cache-Control"] = guard.NOT_STORED
            message = {**message, "headers": [*held, *((key.encode(), text.encode()) for key, text in added.items())]}
        await send(message)

    return headed


async def _nothing() -> Message:
    """The body of a request whose body nobody reads."""
    await trio.sleep_forever()
    raise AssertionError
