"""The routes of the log itself: the session, end and density, views as `replay at` shows them, events, the stream."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from maestro import __version__
from maestro.board import event_page, news_stream
from maestro.board.answers import board_of, cached, is_known, json, number, past_of
from maestro.board.board import Board
from maestro.model.errors import Invalid
from maestro.runtime.handlers.replays import rows_at
from maestro.runtime.server.rows import when
from projections.fold import VIEWS
from projections.lineage import find_cuts
from replayers import rewind
from replayers.positions import time_of
from replayers.timeline.past_views import Past

BUCKETS, BUCKETS_MAX = 400, 2_000
EVENTS, EVENTS_MAX = 100, 1_000


async def session(request: Request) -> Response:
    """What a page needs to know once: which installation this is, whether it may act, and the token of its POSTs."""
    board = board_of(request)
    return json(
        {
            "namespace": board.settings.namespace,
            "version": __version__,
            "node": board.context.node,
            "actions": board.actions,
            "token": board.token,
            "views": sorted(VIEWS),
        }
    )


async def log_(request: Request) -> Response:
    """The ends of the log, its restores, and how far the timeline is made."""
    board = board_of(request)
    found = await board.work(_ends, board)
    building = board.building if board.building is not None and board.building.end else None
    stopped = board.stopped and {"position": board.stopped.seq - 1, "what": board.stopped.what}
    return json({**found, "building": building, "stopped": stopped})


def _ends(board: Board) -> dict[str, Any]:
    store = board.context.store
    head = store.log.head()
    return {
        "head": head.seq,
        "first": min(1, head.seq),
        "now": when(store.now()),
        "started_at": when(time_of(store.log, min(1, head.seq))),
        "restores": [{"at": cut.at, "to": cut.to} for cut in find_cuts(store.log, head.floor)],
    }


async def density(request: Request) -> Response:
    """How many events there are along the log, by kind, with their times."""
    board = board_of(request)
    head = (await board.head()).seq
    first, last = number(request, "from", 1), min(head, number(request, "to", head))
    buckets = number(request, "buckets", BUCKETS, BUCKETS_MAX, 1)
    await board.recorded(last)
    found = await board.work(board.timeline.density, first, last, buckets)
    rows = [
        {**msgspec.structs.asdict(bucket), "first_at": when(bucket.first_at), "last_at": when(bucket.last_at)}
        for bucket in found
    ]
    return json({"buckets": rows, "head": head})


async def view(request: Request) -> Response:
    """A view at a position, byte for byte as `maestro replay at P VIEW --format json` prints it."""
    board, name = board_of(request), request.path_params["view"]
    if name not in VIEWS:
        raise Invalid(f"there is no view {name[:80]!r}", mend=f"the views are {', '.join(VIEWS)}")
    past = await past_of(request)
    headers = cached(request, past)
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(await board.work(_printed, board, past, name), headers=headers, media_type="application/json")


def _printed(board: Board, past: Past, name: str) -> bytes:
    found = rewind.at(board.context.store, past.position, name, past.at, lambda _: past)
    rows = b",\n".join(map(msgspec.json.encode, rows_at(found)))
    return b"[\n" + rows + b"\n]\n" if rows else b"[]\n"


async def events(request: Request) -> Response:
    """Events as `events tail` prints them: the newest first up to a position, or with `after` the ones behind it.

    They are read from the log itself, also those that this build cannot fold.
    """
    board, asked = board_of(request), request.query_params
    head = (await board.head()).seq
    position = number(request, "at", head) if asked.get("at") else head
    if position > head:
        raise Invalid(f"there is no position {position}", mend=f"the log goes from 1 to {head}")
    query = event_page.Query(
        number(request, "before", position + 1),
        number(request, "after", 0) if asked.get("after") else None,
        number(request, "limit", EVENTS, EVENTS_MAX, 1),
        asked.get("subject", ""),
        asked.get("kind", ""),
    )
    found = await board.work(event_page.read, board.context.store.log, query, position)
    at = await board.work(time_of, board.context.store.log, position)
    return json({"position": position, "at": when(at), "head": head, "events": found.events, "further": found.further})


async def stream(request: Request) -> Response:
    """News as server-sent events: of the log behind a position, samples of agents, and whether the store is away."""
    given = request.headers.get("last-event-id", "")
    known = (
        int(given)
        if given.isascii() and given.isdigit() and len(given) < 17
        else number(request, "after", -1, least=-1)
    )
    return StreamingResponse(news_stream.lines(board_of(request), known), media_type="text/event-stream")


ROUTES: list[Route] = [
    Route("/api/session", session),
    Route("/api/log", log_),
    Route("/api/density", density),
    Route("/api/view/{view}", view),
    Route("/api/events", events),
    Route("/api/stream", stream),
]
