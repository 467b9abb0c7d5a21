"""The stream of news to one browser: server-sent events whose ids are positions of the log.

A browser that was cut off asks again with the last id that it has (`Last-Event-ID`), and is told of all behind it.
A stream begins with which log it is of: of another one than before, what the browser has is of no use.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import trio

from maestro.board.board import Board
from maestro.model.errors import MaestroError
from maestro.runtime.server.rows import when
from projections.fold import VIEWS

TOGETHER_S = 0.1
"""News that come within so long are told together."""
SAMPLE_S = 5.0
SILENT_S_MAX = 15.0
"""After so long without news a comment keeps the connection, and finds whether the browser is there."""
STILL = "no node is up, so nothing goes on; `maestro up` starts this one"
AGAIN_MS = 1_000
"""After so long a browser that was cut off asks again."""


async def lines(board: Board, known: int) -> AsyncIterator[bytes]:
    """The lines of a stream, until the log is another one. known: the last position that a browser has, -1 for none."""
    news = board.news
    yield b"retry: %d\n\n" % AGAIN_MS + _event("begin", {"log": board.edition})
    told_away, told_still, sampled, spoke = "", "", -SAMPLE_S, trio.current_time()
    while not news.is_over:
        upcoming, said = news.next, list[bytes]()
        if news.away is not None:
            if told_away != news.away.line():
                said.append(_event("away", {"what": news.away.what, "where": news.away.where, "mend": news.away.mend}))
            told_away = news.away.line()
        elif news.known and (news.head != known or told_away):
            views = news.since(known) if 0 <= known <= news.head else sorted(VIEWS)
            known, told_away = news.head, ""
            said.append(_event("log", {"head": known, "at": when(news.at), "views": views}, known))
        if not told_away and trio.current_time() >= sampled + SAMPLE_S:
            sampled = trio.current_time()
            still, samples = await _samples(board)
            said += samples + ([_event("still", {"why": still})] if still != told_still else [])
            told_still = still
        if not said and trio.current_time() >= spoke + SILENT_S_MAX:
            said.append(b":\n\n")
        if said:
            yield b"".join(said)
            spoke = trio.current_time()
        with trio.move_on_after(SAMPLE_S):
            await upcoming.wait()
            await trio.sleep(TOGETHER_S)


def _event(name: str, data: Mapping[str, Any], position: int | None = None) -> bytes:
    named = b"" if position is None else b"id: %d\n" % position
    return named + b"event: %b\ndata: %b\n\n" % (name.encode(), msgspec.json.encode(data))


async def _samples(board: Board) -> tuple[str, list[bytes]]:
    """Why nothing can go on, and what the heartbeats say of the agents; nothing where they cannot be read."""
    try:
        past = await board.past()
        found = await board.work(_read, board, [key for key in past.rows("agents") if key.startswith("agent:")])
        up = [f"node:{node}" for node, row in past.rows("nodes").items() if row.status == "up"]
        holders = await board.work(board.context.store.work.lease_holders, up)
    except MaestroError:  # the store is away, which is told by itself, or the timeline is being made
        return "", []
    return "" if any(holders) else STILL, [_event("sample", {"agents": found})] if found else []


def _read(board: Board, agents: list[str]) -> dict[str, Any]:
    samples = board.context.store.work.samples([f"{agent}:last_heartbeat" for agent in agents]) if agents else []
    return {
        agent.partition(":")[2]: {
            "heartbeat_at": when(int(sample["at"])),
            "memory_bytes": int(sample.get("memory_bytes", 0)),
            "cpu_percent": float(sample.get("cpu_percent", 0)),
        }
        for agent, sample in zip(agents, samples, strict=True)
        if sample and "at" in sample
    }
