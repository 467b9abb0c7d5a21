"""The output of runs, from their log files on this node, whole or as it comes, without what a terminal would act on."""

from __future__ import annotations

import codecs
from pathlib import Path

import trio

from maestro.agents.printable import Plainly, plain
from maestro.model.errors import Refused
from maestro.model.task import Run
from maestro.runtime.context import Call

CHUNK_BYTES = 64 * 1024
POLL_S = 0.1
NEWLINE = 10


async def tail_runs(call: Call, runs: list[str], follow: bool, lines: int | None = None) -> None:
    """Send the logs of these runs one after the other; with `follow`, until each has ended."""
    if not runs:
        await call.note("nothing has run yet")
    for run in runs:
        await _tail(call, run, follow, lines)


async def _find(call: Call, run: str) -> Run:
    """The run as the views have it now."""
    task = await call.context.row(call.context.views.task, run.rpartition("-")[0])
    if task is not None:
        for slot in task.slots:
            for found in slot.runs:
                if found.id == run:
                    return found
    raise Refused(f"run {run} is not known any more")


async def _tail(call: Call, run_id: str, follow: bool, lines: int | None) -> None:
    run = await _find(call, run_id)
    while follow and run.status == "released":
        await trio.sleep(POLL_S)
        run = await _find(call, run_id)
    if not run.folder:
        await call.note(f"run {run.id} has not started")
        return
    if run.node != call.context.node:
        raise Refused(f"the log of run {run.id} lies on node {run.node}", mend="ask for it there")
    path = Path(run.folder) / "agent.log"
    decoder, plainly = codecs.getincrementaldecoder("utf-8")("replace"), Plainly()
    position = await trio.to_thread.run_sync(_start_of_tail, path, lines)
    while True:
        chunk = await trio.to_thread.run_sync(_read, path, position)
        position += len(chunk)
        if chunk:
            await call.output(plainly.feed(decoder.decode(chunk)))
        elif not follow or run.status == "ended":
            break
        else:
            await trio.sleep(POLL_S)
            run = await _find(call, run_id)
    await call.output(plainly.feed(decoder.decode(b"", final=True), final=True))


def _read(path: Path, position: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""


def _start_of_tail(path: Path, lines: int | None) -> int:
    """Where the last `lines` lines begin; 0 for all."""
    if lines is None:
        return 0
    if lines <= 0:
        return path.stat().st_size if path.exists() else 0
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, 2)
            while position > 0:
                step = min(CHUNK_BYTES, position)
                position -= step
                file.seek(position)
                chunk = file.read(step)
                for at in range(len(chunk) - 1, -1, -1):
                    if chunk[at] == NEWLINE and position + at + 1 < end:
                        lines -= 1
                        if lines == 0:
                            return position + at + 1
            return 0
    except FileNotFoundError:
        return 0


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines of a log, for `agent health`."""
    start = _start_of_tail(path, lines)
    try:
        with path.open("rb") as file:
            file.seek(start)
            text = file.read(CHUNK_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return plain(text).splitlines()[-lines:]
