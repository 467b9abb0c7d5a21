"""The entrance of the board: the token of the printed address is exchanged once for the cookie that the guard wants."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from maestro.board import guard
from maestro.board.answers import failure
from maestro.board.guard import NAMES, SCHEME, Asked, Keys, cookie_name
from maestro.board.refusal import Unfit

WITHIN = "within"
"""In the query of a page that this board itself has sent the browser to."""
REFRESH = f'<!doctype html><meta http-equiv="refresh" content="0; url=/?{WITHIN}"><title>Maestro</title>'
"""A browser that follows a link of another site keeps the strict cookie back; it sends it with what this page asks."""


class Entrance:
    """The entrance of the board at a port. Its token lets one browser in, once. when_entered: is called then."""

    def __init__(self, port: int, post_token: str) -> None:
        self.port = port
        self.keys = Keys(secrets.token_urlsafe(32), post_token)
        self._token = secrets.token_urlsafe(32)
        self.when_entered: Callable[[], object] = lambda: None

    @property
    def url(self) -> str:
        """The address that lets the first browser in that opens it."""
        return f"{SCHEME}{NAMES[0]}:{self.port}/?token={self._token}"

    def answer(self, asked: Asked, query: str) -> Response | None:
        """The answer to a request that does not pass: a refusal, or the way in. None for one that passes."""
        try:
            guard.check_address(asked, self.port)
            if asked.path == "/" and asked.method == "GET" and (given := parse_qs(query).get("token")):
                return self._exchange(asked, given)
            guard.check(asked, self.port, self.keys)
        except Unfit as refusal:
            return _told(refusal, asked, query)
        return None

    def _exchange(self, asked: Asked, given: list[str]) -> Response:
        """Let in who brings the token, which is then of no more use."""
        entered = RedirectResponse("/", 303)
        if guard.has_cookie(asked, self.port, self.keys):
            return entered
        if not self._token or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self._token.encode()):
            what = "this address has let a browser in before, or is of another board"
            raise Unfit(401, "token_used", what, "start the board again (`--port 0` for a second one)")
        self._token = ""
        self.when_entered()
        entered.set_cookie(cookie_name(self.port), self.keys.cookie, httponly=True, samesite="strict", path="/")
        return entered


def _told(refusal: Unfit, asked: Asked, query: str) -> Response:
    if asked.path.startswith("/api/"):
        return failure(refusal)
    if asked.path == "/" and refusal.status == 401 and "cross-site" in asked.site and query != WITHIN:
        return HTMLResponse(REFRESH, 401)
    return PlainTextResponse(f"maestro board: {refusal.line()}\n", refusal.status)
