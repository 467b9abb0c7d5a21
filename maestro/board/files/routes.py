"""The routes of files at a position: the workspaces, what is another in one now, and the texts of one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maestro.board.answers import board_of, past_of, told
from maestro.board.files.comparison import compared, texts
from maestro.board.files.placed import Placed, placed, placed_of, why_not
from maestro.model.errors import NotFound
from maestro.runtime.node.context import Context
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin
from maestro.runtime.server.rows import Row
from replayers.timeline.past_views import Past

AT_ONCE = trio.CapacityLimiter(2)
"""Comparisons at once: each may read whole workspaces. One that has begun goes to its end, as it holds the archive."""


async def workspaces(request: Request) -> Response:
    """Every workspace at a position, with its newest archive at or before that."""
    board, past = board_of(request), await past_of(request)

    def read() -> list[Row]:
        context = board.context
        return [each.row(past, why_not(context, each)) for each in placed(context, past)]

    return await told(request, past, {"workspaces": await board.work(read)})


async def workspace(request: Request) -> Response:
    """What is another in a workspace now than at a position, file by file."""
    past = await past_of(request)
    return await told(request, past, await _looked(request, past, compared))


async def text(request: Request) -> Response:
    """The texts of one file of a workspace, at a position and now."""
    past, path = await past_of(request), request.query_params.get("path", "")

    def look(origin: Origin, tree: str, place: str) -> Row:
        return texts(origin, tree, place, path)

    return await told(request, past, await _looked(request, past, look))


async def _looked(request: Request, past: Past, look: Callable[[Origin, str, str], Row]) -> dict[str, Any]:
    """What is seen in the archive of a workspace, and in its folder. Raises NotFound, Refused, VerificationFailed."""
    board, agent = board_of(request), request.path_params["agent"]
    context = board.context

    def find() -> tuple[Placed, str]:
        found = placed_of(context, past, agent)
        return found, why_not(context, found)

    place, why = await board.work(find)
    if why or place.archived is None:
        raise NotFound(why, f"agent {agent}", "go to another position")
    return place.row(past, "") | await _read(context, place, look)


async def _read(context: Context, place: Placed, look: Callable[[Origin, str, str], Row]) -> Row:
    archived, workspace = place.archived, place.agent.workspace
    assert archived is not None and workspace is not None
    async with AT_ONCE:
        with OpenOrigins(context) as origins:
            origin = await origins.snapshot(archived.snapshot, archived.node)
            return await trio.to_thread.run_sync(look, origin, archived.held.tree, workspace)


ROUTES: list[Route] = [
    Route("/api/files", workspaces),
    Route("/api/files/{agent}", workspace),
    Route("/api/files/{agent}/text", text),
]
