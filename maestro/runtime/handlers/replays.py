"""The handlers of `replay verify|rebuild|at|diff`: the log proves views, builds them anew, shows them as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.runtime.monitor.alert_world import VERIFIED
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.node.daemon_log import log
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row, when
from projections.bounding.bounds import BOUNDED
from replayers import positions, rebuild as rebuilds, rewind, verify as verifies
from replayers.timeline.timeline import Timeline

VERIFIED_TTL_MS = 30 * 86_400_000

T = TypeVar("T")
Look = Callable[[int], rewind.Looked]


def _progress(call: Call, what: str) -> Any:
    """A callback for a thread that tells the client how many events are done."""

    def tell(position: int, end: int) -> None:
        share = 100 * position // max(1, end)
        trio.from_thread.run(call.note, f"{what}: {position} of {end} events ({share} %)", "progress")

    return tell


async def verify(call: Call, command: p.ReplayVerify) -> p.Done:
    """Fold the log from the start; compare the result with the live views, and each event with the chain."""
    try:
        result = await trio.to_thread.run_sync(verifies.verify, call.context.store, _progress(call, "verified"))
    except VerificationFailed as error:
        await _keep_found(call, error.what)
        raise
    answer = {
        "ok": not result.differences,
        "position": result.checkpoint.seq,
        "events": result.events,
        "generation": result.generation,
        "views": [{"view": view, "digest": digest} for view, digest in result.digests.items()],
        "differences": [{"position": each.position, "what": each.what} for each in result.differences],
        "differences_found": result.found,
    }
    if result.sealed:
        answer["bounded"] = {"keep": result.keep, "sealed": result.sealed, "views": sorted(BOUNDED)}
    await _keep_found(call, "" if not result.differences else str(result.differences[0].what))
    shown, total = len(result.differences), result.found
    cut = p.Cut(shown, "differences", "the first is the one that counts", total) if total > shown else None
    return p.Done(answer, 6 if result.differences else 0, cut)


async def _keep_found(call: Call, why: str) -> None:
    """Leave what was found where the alert `replay_mismatch` is judged by it."""
    sample = {"ok": "" if why else "1", "why": why}
    with suppress(MaestroError):
        await call.context.call(call.context.store.work.samples_put, {VERIFIED: sample}, VERIFIED_TTL_MS)


async def rebuild(call: Call, command: p.ReplayRebuild) -> p.Done:
    """Build the views anew beside the live ones, then switch."""
    progress = _progress(call, "rebuilt")
    built = await trio.to_thread.run_sync(rebuilds.rebuild, call.context.store, command.view, progress)
    return p.Done({"generation": built.generation, "position": built.checkpoint.seq, "views": built.digests})


async def at(call: Call, command: p.ReplayAt) -> p.Done:
    """Send the rows of a view as they were at a position."""
    store = call.context.store
    position, when_asked = await trio.to_thread.run_sync(positions.reached, store, command.position)

    def find(look: Look | None) -> rewind.Rewound:
        return rewind.at(store, position, command.view, when_asked, look)

    found = await trio.to_thread.run_sync(_looked, call, find)
    for row in rows_at(found):
        await call.item(row)
    return p.Done()


def rows_at(found: rewind.Rewound) -> Iterator[Row]:
    """The rows of a view as it was, as they are shown."""
    for row_id, row in found.rows.items():
        state = {"state": msgspec.convert(row, Agent).state} if row_id.startswith("agent:") else {}
        yield {"row": row_id, **with_times(row), **state}


def _looked(call: Call, find: Callable[[Look | None], T]) -> T:
    """What is found by the timeline of this node, where it has one that can be used, else by a fold. Blocks."""
    timeline = Timeline.open(call.context.store, call.context.settings.home)
    if timeline.exists:
        try:
            return find(timeline.at)
        except Refused as error:
            log.warning("the past is folded from the start of the log: %s", error.line())
        finally:
            timeline.close()
    return find(None)


def with_times(value: Any) -> Any:
    """A row, or a part of one, with its times in RFC 3339."""
    if isinstance(value, list):
        return [with_times(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: when(one) if name.endswith("_at") and isinstance(one, int) else with_times(one)
        for name, one in value.items()
    }


async def diff(call: Call, command: p.ReplayDiff) -> p.Done:
    """Send the rows that changed between two positions."""
    store = call.context.store
    a = await trio.to_thread.run_sync(positions.position, store, command.a)
    b = await trio.to_thread.run_sync(positions.position, store, command.b)
    for text, position in ((command.a, a), (command.b, b)):
        early = await trio.to_thread.run_sync(positions.before_all, store, text, position)
        if early:
            await call.note(f"{early}: taken as the beginning, where there is nothing yet")
    changes = await trio.to_thread.run_sync(_looked, call, lambda look: list(rewind.diff(store, a, b, look)))
    for change in changes:
        await call.item(
            {
                "view": change.view,
                "row": change.row,
                "change": change.kind,
                "before": with_times(change.before),
                "after": with_times(change.after),
            }
        )
    return p.Done()


HANDLERS: dict[type[p.Command], Handler] = {
    p.ReplayVerify: verify,
    p.ReplayRebuild: rebuild,
    p.ReplayAt: at,
    p.ReplayDiff: diff,
}
