"""The handlers of `workflow wait`, and of a run in the foreground, whose changes are sent as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from maestro.model.errors import TimedOut
from maestro.model.workflow.folding.endings import exit_code
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.status import Surroundings, steps_of
from maestro.runtime.handlers.workflow_runs.last_lines import add_last_lines, last_lines_of
from maestro.runtime.handlers.workflow_runs.reading import newest
from maestro.runtime.handlers.workflow_runs.surroundings import surroundings
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.run_reader import read_run, run_events
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row
from maestro.runtime.server.run_rows import (
    header_meant,
    header_of,
    header_row,
    live_usage,
    run_row,
)

LOOK_S = 0.2
"""So long a run is left alone after it was looked at, whatever happens meanwhile."""
BELOW = "below"
"""The level of notes that stand below what is drawn of a run."""
TICK_S = 1.0
"""So often a run is sent though nothing changed: time passes, and agents print."""


class Watched:
    """A run that is read once, and then kept current from its new events."""

    def __init__(self, context: Context, header: RunHeader) -> None:
        self.context = context
        self.header = header
        self.run: Run | None = None

    async def look(self) -> bool:
        """Take over what is new. Whether anything was. Raises NotFound where a restore has taken the run away."""
        header = await header_of(self.context, self.header.id)
        if self.run is not None and header.seq == self.header.seq:
            return False
        log, known = self.context.store.log, self.header
        back = header.seq < known.seq or (await self.context.floor()) > known.seq
        if self.run is None or back:
            self.run, _ = await self.context.call(read_run, self.context.store, header)
        else:
            for event in await self.context.call(run_events, log, header, known.seq):
                self.run.apply(event.fact, event.at, event.actor)
        self.header = header
        return True

    async def row(self) -> Row:
        """The run as a whole, its result included."""
        assert self.run is not None
        row = await run_row(self.context, self.header, self.run, await self.around())
        await add_last_lines(self.context, row)
        return row

    async def around(self) -> Surroundings:
        """What surrounds the run now."""
        assert self.run is not None
        return await surroundings(self.context, self.header, self.run)

    @property
    def code(self) -> int:
        """The exit code of a command that waited for it."""
        assert self.run is not None
        return exit_code(self.run)[0]


async def wait(call: Call, command: p.WorkflowWait) -> p.Done:
    """Wait for all runs; the exit code is that of the first one that did not complete."""
    context, call.again = call.context, command
    headers = [await header_meant(context, name) for name in command.ids]
    ids = list(dict.fromkeys(header.id for header in headers))
    call.again = msgspec.structs.replace(command, ids=ids)
    ended: dict[str, Watched] = {}

    async def interrupted() -> str:
        return await say_how_to_go_on(call, [run for run in ids if run not in ended])

    call.when_interrupted(interrupted)

    async def one(run: str) -> None:
        await until_ended(context, run)
        ended[run] = watched = Watched(context, await header_of(context, run))
        await watched.look()

    async with _limited(command.timeout_s, lambda: [run for run in ids if run not in ended]):
        async with trio.open_nursery() as nursery:
            for run in ids:
                nursery.start_soon(one, run)
    for run in ids:
        await call.item(await ended[run].row())
    return p.Done(exit_code=next((code for code in (ended[run].code for run in ids) if code), 0))


async def until_ended(context: Context, run: str) -> None:
    """Return when a run has ended."""
    while True:
        found = await context.call(context.views.workflow_run, run)
        if found.row is None or not found.row.open:
            return
        await context.changed(found.checkpoint.seq)
        await trio.sleep(LOOK_S)


async def watch(call: Call, command: p.WorkflowWatch) -> p.Done:
    """Wait for a run, and send what changes meanwhile."""
    context, call.again = call.context, command
    meant = await header_meant(context, command.id) if command.id else await newest(context, None)
    watched = Watched(context, meant)
    run = watched.header.id
    call.again = msgspec.structs.replace(command, id=run)

    async def interrupted() -> str:
        return await say_how_to_go_on(call, [run])

    call.when_interrupted(interrupted)
    await watched.look()
    async with _limited(command.timeout_s, lambda: [run]):
        if command.rows:
            await _send_changes(call, watched, command.lines)
        else:
            while watched.header.open:
                await until_ended(context, run)
                await watched.look()
    return p.Done(await watched.row(), watched.code)


async def _send_changes(call: Call, watched: Watched, with_lines: bool) -> None:
    """Send the run until it has ended: its instances once, then those that change."""
    context = call.context
    known: dict[str, Row] = {}
    lines: dict[str, str] = {}
    told_at = 0.0
    while True:
        assert watched.run is not None
        around = await watched.around()
        rows = {row["id"]: row for row in steps_of(watched.run, around)}
        changed = [row for id, row in rows.items() if known.get(id) != row]
        run = header_row(watched.header) | {"usage": live_usage(watched.run, around), "idle": around.idle or None}
        item: Row = {"now": around.now / 1000, "run": run, "steps": changed}
        if not known:
            item["whole"] = True
        elif gone := [id for id in known if id not in rows]:
            item["gone"] = gone
        if with_lines and trio.current_time() - told_at >= TICK_S:
            told_at = trio.current_time()
            lines = await last_lines_of(context, rows.values())
        if with_lines:
            item["lines"] = lines
        await call.item(item)
        known = rows
        if not watched.header.open:
            return
        await _next_look(context, watched)


async def _next_look(context: Context, watched: Watched) -> None:
    """Wait until the run has changed, or a second has passed, and take over what is new."""
    deadline = trio.current_time() + TICK_S
    while True:
        await trio.sleep(LOOK_S)
        checkpoint = (await context.call(context.views.workflow_run, watched.header.id)).checkpoint
        if await watched.look() or trio.current_time() >= deadline:
            return
        with trio.move_on_at(deadline):
            await context.changed(checkpoint.seq)


@asynccontextmanager
async def _limited(seconds: float | None, left: object) -> AsyncIterator[None]:
    """A block that may take so long; None for no limit. left: says which runs are not over. Raises TimedOut."""
    with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
        yield
    if scope.cancelled_caught:
        named = ", ".join(left())  # type: ignore[operator]
        raise TimedOut(f"not finished after {seconds:g} s: {named}", mend="they go on; wait again")


async def say_how_to_go_on(call: Call, runs: list[str]) -> str:
    """At Ctrl-C: note how runs are seen again, looked at and ended; the last line says which of them go on."""
    named = " ".join(runs)
    await call.note(f"to watch {'it' if len(runs) == 1 else 'them'}: maestro workflow wait {named}", BELOW)
    if len(runs) != 1:
        return f"interrupted; {len(runs)} runs go on"
    await call.note(f"to look at it: maestro workflow status {named}", BELOW)
    await call.note(f"to end it: maestro workflow stop {named}", BELOW)
    return f"interrupted; run {named} goes on"


HANDLERS: dict[type[p.Command], Handler] = {p.WorkflowWait: wait, p.WorkflowWatch: watch}
