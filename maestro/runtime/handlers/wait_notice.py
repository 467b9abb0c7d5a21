"""The notices of a command that waits: what it waits for; on a terminal what agents do meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from maestro.model.errors import MaestroError
from maestro.model.task import Run, Task
from maestro.runtime.handlers.run_output import newest_lines
from maestro.runtime.node.context import Call, Context

SILENT_S = 2.0
AGAIN_S = 1.0
LOOK_S = 0.25
NAMED_MAX = 6
"""How many slots of the tasks are told by name; the others are counted."""
RUNS_MAX = 4
"""Of how many runs the last lines are shown."""
LINES_MAX = 3
NODE_AWAY: Final = (
    "maestro node list shows its node: start the daemon there (maestro up), or wait until it is taken for lost"
)


@asynccontextmanager
async def notice_of_wait(call: Call, why: Callable[[], Awaitable[str]]) -> AsyncIterator[None]:
    """While the block takes longer than a moment, note to the user what `why` says, each time that it is new."""

    async def tell() -> None:
        said = ""
        await trio.sleep(SILENT_S)
        while True:
            words = await why()
            if words != said:
                said = words
                await call.note(f"waiting for {words}")
            await trio.sleep(AGAIN_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def progress_of(call: Call, ids: Sequence[str]) -> AsyncIterator[None]:
    """While the block waits for tasks, show a terminal their states, and the last lines of what runs on this node."""
    if not call.caller.terminal:
        yield
        return

    async def tell() -> None:
        said: tuple[str, list[str]] = ("", [])
        while True:
            with suppress(MaestroError):  # whoever waits for the tasks tells of it
                tasks = [task for task in [await _known(call.context, name) for name in ids] if task is not None]
                now = (_states(tasks), await _printed(call.context, tasks))
                if now != said:
                    said = now
                    await call.note(now[0], "progress", now[1])
            await trio.sleep(LOOK_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        yield
        nursery.cancel_scope.cancel()


async def _known(context: Context, task: str) -> Task | None:
    known = context.daemon.follower.known(task) if context.daemon else None
    if known is not None:
        return known
    found: Task | None = await context.row(context.views.task, task)
    return found


def _states(tasks: Sequence[Task]) -> str:
    """The states of tasks in words, by target."""
    parts = []
    for task in tasks:
        for slot in task.slots:
            run = slot.runs[-1] if slot.runs else None
            where = run.agent if run and slot.status != "waiting" else slot.target
            attempt = f", attempt {len(slot.runs)}" if len(slot.runs) > 1 else ""
            parts.append(f"{where} {slot.outcome or slot.status}{attempt}")
    more = f"; and {len(parts) - NAMED_MAX} more" if len(parts) > NAMED_MAX else ""
    named = (
        f"task {tasks[0].id}" if len(tasks) == 1 else f"{sum(not task.open for task in tasks)} of {len(tasks)} ended"
    )
    return f"{named}: {'; '.join(parts[:NAMED_MAX])}{more}"


async def _printed(context: Context, tasks: Sequence[Task]) -> list[str]:
    """The last lines that the runs of tasks have printed here, each with its agent where several run."""
    runs = [run for task in tasks for slot in task.slots for run in slot.runs[-1:] if run.status == "running"]
    here = [run for run in runs if run.node == context.node and run.folder]

    def read() -> list[str]:
        return [line for run in here[:RUNS_MAX] for line in _lines(run, len(runs) > 1)]

    printed = await trio.to_thread.run_sync(read) if here else []
    left = len(runs) - len(here[:RUNS_MAX])
    return [*printed, f"and {left} more that run"] if left and printed else printed


def _lines(run: Run, named: bool) -> list[str]:
    try:
        lines = newest_lines(Path(run.folder) / "agent.log", LINES_MAX)
    except OSError:
        return []
    return [f"{run.agent}: {line}" if named else line for line in lines]
