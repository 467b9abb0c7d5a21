"""The routes of lists, the inbox, tasks, keys and runs of workflows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maestro.board.answers import board_of, number, past_of, told
from maestro.board.rows.details import run_detail, task_detail
from maestro.board.rows.inbox import inbox
from maestro.board.rows.lists import LIMIT_MAX, LISTS, Asked
from maestro.board.rows.past_context import PastContext
from maestro.board.rows.values import key_row
from maestro.model.errors import Invalid

LIMIT: Final = 200
OFFSET_MAX: Final = 99_000
"""Where a page may begin; of tasks and keys it may begin anywhere."""
OWN: Final = ("at", "limit", "offset")


async def rows(request: Request) -> Response:
    """A part of a list: {rows, total, further}."""
    name = request.path_params["list"]
    most = {"most": OFFSET_MAX} if name not in ("tasks", "state") else {}
    filters = tuple(sorted((key, value) for key, value in request.query_params.items() if key not in OWN and value))
    asked = Asked(name, filters, number(request, "limit", LIMIT, LIMIT_MAX, 1), number(request, "offset", 0, **most))
    past, board = await past_of(request), board_of(request)
    part = await board.work(board.positions.listed, past, asked, _is_live(request))
    data = {"rows": part.rows, "total": part.total, "further": part.more, **(part.beside or {})}
    return await told(request, past, data, lasting=True)


async def _detail(request: Request, read: Callable[..., dict[str, Any]], *args: str) -> Response:
    """What `read` finds at the position that is asked for."""
    past, board = await past_of(request), board_of(request)

    def look() -> dict[str, Any]:
        context: PastContext = board.positions.context(past, _is_live(request))
        return read(context, *args)

    return await told(request, past, await board.work(look), lasting=True)


async def task(request: Request) -> Response:
    """One task: {row, runs, explain, events}."""
    return await _detail(request, task_detail, request.path_params["id"])


async def key(request: Request) -> Response:
    """One key of the shared state."""
    name = request.query_params.get("key")
    if not name:
        raise Invalid("no key is named", "key", "name it with ?key=")
    return await _detail(request, key_row, name)


async def run(request: Request) -> Response:
    """One run of a workflow: {row, graph}."""
    return await _detail(request, run_detail, request.path_params["run"])


async def waiting(request: Request) -> Response:
    """What waits for a person: {items, counts}."""
    return await _detail(request, inbox)


def _is_live(request: Request) -> bool:
    return not request.query_params.get("at")


def _of_list(name: str) -> Route:
    async def of(request: Request) -> Response:
        request.path_params["list"] = name
        return await rows(request)

    return Route(f"/api/{name}", of, name=name)


ROUTES: list[Route] = [
    *map(_of_list, LISTS),
    Route("/api/task/{id}", task),
    Route("/api/state-value", key),
    Route("/api/workflow/{run}", run),
    Route("/api/inbox", waiting),
]
