"""Answers of the board: JSON of a position with its ETag, errors with their status, and the parameters of a request."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from maestro.board.board import Board
from maestro.board.refusal import Unfit
from maestro.model.errors import (
    Conflict,
    Invalid,
    MaestroError,
    NotFound,
    Refused,
    StoreAway,
    StoreUnsafe,
    TimedOut,
)
from maestro.runtime.server.rows import when
from projections.fold import Stopped
from replayers.timeline.past_views import Past

JSON = "application/json"
POSITION_MAX = 2**53
BODY_BYTES_MAX = 64 * 1024
STATUSES: tuple[tuple[type[MaestroError], int], ...] = (
    (Invalid, 400),
    (NotFound, 404),
    (Conflict, 409),
    (Refused, 409),
    (Stopped, 409),
    (StoreAway, 503),
    (StoreUnsafe, 503),
    (TimedOut, 504),
)


def board_of(request: Request) -> Board:
    """The board that a request is for."""
    return cast(Board, request.app.board)


def number(request: Request, name: str, default: int, most: int = POSITION_MAX, least: int = 0) -> int:
    """A parameter that is a whole number. Raises Invalid for any other, and for one out of range."""
    text = request.query_params.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-") if least < 0 else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16 and least <= int(text) <= most):
        raise Invalid(f"{text[:40]!r} is not a number from {least} to {most}", name, "give one of these")
    return int(text)


async def past_of(request: Request) -> Past:
    """The views at the position that a request names by `at`, at the head where it names none. Raises Invalid."""
    at = number(request, "at", -1) if request.query_params.get("at") else -1
    return await board_of(request).past(None if at < 0 else at)


async def told(request: Request, past: Past, data: dict[str, Any], lasting: bool = False) -> Response:
    """The answer of a position: `data` with `position`, `at` and `head`.

    lasting: what it says of a position in the past stays so: it gets an ETag, and 304 where the browser has it.
    """
    head = await board_of(request).known_head(past.position)
    named = bool(request.query_params.get("at"))  # the newest is no past, also where another event has come meanwhile
    headers = cached(request, past) if lasting and named and past.position < head else None
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return json({"position": past.position, "at": when(past.at), "head": head, **data}, headers=headers)


def cached(request: Request, past: Past) -> dict[str, str]:
    """The headers of an answer that stays so: its ETag is of what was asked for, and of this process."""
    query = request.url.query.encode()
    asked = hashlib.sha256(request.url.path.encode() + b"?" + query).hexdigest()[:16]
    return {"ETag": f'"{board_of(request).edition}-{past.position}-{asked}"', "Cache-Control": "private, no-cache"}


def is_known(request: Request, headers: dict[str, str] | None) -> bool:
    """Whether the browser has the answer of these headers."""
    return headers is not None and headers["ETag"] in request.headers.get("if-none-match", "")


def json(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Data as JSON."""
    return Response(msgspec.json.encode(data), status, headers, JSON)


def failure(error: MaestroError) -> Response:
    """The answer to a request that failed."""
    status = error.status if isinstance(error, Unfit) else status_of(error)
    code = error.named if isinstance(error, Unfit) else error.code
    told = {"what": error.what, "where": error.where, "mend": error.mend, "code": code}
    return json({"error": told}, status, {"Retry-After": "1"} if status == 503 else None)


def status_of(error: MaestroError) -> int:
    """The status of the answer that tells an error."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
