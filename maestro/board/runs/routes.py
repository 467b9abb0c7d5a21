"""The routes of a run: its page, and its log, which is read in parts."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from maestro.board.answers import board_of, json, number, past_of, told
from maestro.board.board import Board
from maestro.board.runs import run_past
from maestro.board.runs.log_text import LogText
from maestro.board.runs.output import Output
from maestro.model.errors import Invalid

LIMIT = 64 * 1024
LIMIT_MAX = 1 << 20
QUERY_MAX = 200


async def run(request: Request) -> Response:
    """A run as it was at a position."""
    board, past = board_of(request), await past_of(request)
    name = request.path_params["run"]
    head = (await board.head()).seq

    def read() -> dict[str, Any]:
        context = board.positions.context(past)
        found = run_past.find(context, name)
        row = run_past.told(context, found)
        output = Output(board.context, found.run)
        is_whole = found.run.status == "ended" or past.position == head
        return row | {"log": output.row(), "tools": output.tools() if is_whole else []}

    return await told(request, past, await board.work(read))


async def log(request: Request) -> Response:
    """A part of the log of a run as it is now; with `q` the lines in which that is found."""
    board, name = board_of(request), request.path_params["run"]
    past = await board.past()
    output = await board.work(lambda: Output(board.context, run_past.find(board.positions.context(past), name).run))
    query = request.query_params.get("q")
    if query is not None:
        return await _found(board, request, output, query)
    offset = number(request, "offset", 0, least=-(2**53))
    limit = number(request, "limit", LIMIT, LIMIT_MAX, least=16)
    if output.is_elsewhere:
        return json(await board.work(output.end_there))
    output.check_there()
    part = await board.work(LogText(output.path).part, offset, limit, output.ended)
    return json(
        {
            "offset": part.offset,
            "next": part.next,
            "size": part.size,
            "text": part.text,
            "ended": output.ended,
            "whole": True,
        }
    )


async def _found(board: Board, request: Request, output: Output, query: str) -> Response:
    if not 0 < len(query) <= QUERY_MAX:
        raise Invalid(f"a text of {len(query)} characters is searched", "q", f"give 1 to {QUERY_MAX}")
    begin = number(request, "from", 0)
    output.check_there()
    matches, following = await board.work(LogText(output.path).found, query, begin)
    rows = [{"offset": one.offset, "line": one.line, "text": one.text} for one in matches]
    return json({"matches": rows, "next": following})


ROUTES: list[Route] = [
    Route("/api/run/{run}", run),
    Route("/api/run/{run}/log", log),
]
