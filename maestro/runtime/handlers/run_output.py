"""The output of runs, from their log files, whole or as it comes, made safe for a terminal.

Of a run on another node, that node prints it.
"""

from __future__ import annotations

import codecs
from pathlib import Path

import trio

from maestro.model.errors import NotFound, Refused, Unknown
from maestro.model.ids import shown, task_of_run
from maestro.model.task import Run, Task
from maestro.printable_text import PlainText, plain
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.forwards.forwarding import START_THERE, check_up, printed
from maestro.runtime.protocol import messages as p
from maestro.runtime.supervision.capped_log import CappedLogReader
from maestro.runtime.supervision.spec import SENT_BYTES_MAX

CHUNK_BYTES = 64 * 1024
POLL_S = 0.1
GLANCE_BYTES = 8 * 1024
GLANCE_CHARS_MAX = 400
END_BYTES_MAX = 1024 * 1024


async def tail_runs(call: Call, runs: list[str], follow: bool, lines: int | None = None) -> None:
    """Send the output of these runs one after the other; with `follow`, until each has ended."""
    if not runs:
        await call.note("nothing has run yet")
    for run in runs:
        await _tail(call, run, follow, lines)


async def follow_task(call: Call, id: str, agent: str | None) -> None:
    """Send the output of a task's runs (of one agent) as it comes, from the last attempt on, until the task has ended.

    Attempts before that are not sent. Raises NotFound.
    """
    context = call.context
    task, position = await _latest(context, id)
    passed = {run.id for slot in task.slots for run in slot.runs[:-1]}
    sent = False
    told = False
    while True:
        runs = [run for slot in task.slots for run in slot.runs if agent in (None, run.agent)]
        fresh = next(((run.id, run.agent, run.attempt) for run in runs if run.id not in passed), None)
        if fresh is not None:
            name, whose, attempt = fresh
            if sent:
                await call.note(f"attempt {attempt} of {whose}")
            passed.add(name)
            sent = True
            await _tail(call, name, True, None)
        elif not task.open:
            break
        elif not sent and not told:
            told = True
            await call.note(f"task {id} has not started yet: waiting for it")
        else:
            await _news(context, id, position)
        task, position = await _latest(context, id)
    if not sent:
        why = f": {task.reason}" if task.reason else ""
        await call.note(f"task {id} is {task.status} and never ran{why}")


async def _latest(context: Context, id: str) -> tuple[Task, int | None]:
    """The task, and the position that it is of, None where it comes from the daemon's plan. Raises NotFound."""
    if context.daemon is not None:
        known = context.daemon.follower.known(id)
        if known is not None:
            return known, None
    found = await context.call(context.views.task, id)
    if found.row is None:
        raise NotFound(f"there is no task {shown(id)}", mend="maestro task list shows all", sought=("task", id))
    return found.row, found.checkpoint.seq


async def _news(context: Context, id: str, position: int | None) -> None:
    """Return when the task may have changed. No change is missed, as nothing is awaited between `_latest` and this."""
    if position is None and context.daemon is not None:
        await context.daemon.follower.news(id)
    else:
        await context.changed(position or 0)


async def _task(context: Context, task: str) -> Task:
    """The task, as the views have it now. Raises Refused."""
    found = await context.row(context.views.task, task)
    if found is None:
        raise Refused(f"task {task} is not known any more")
    return found


async def _find(call: Call, run: str) -> Run:
    """The run, as the views have it now. Raises Refused."""
    task = await _task(call.context, task_of_run(run))
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
        await _tail_there(call, run, p.RunLog(run.id, lines, follow=follow))
        return
    reader = CappedLogReader(_log_of(run))
    decoder, plainly = codecs.getincrementaldecoder("utf-8")("replace"), PlainText()
    if lines is not None:
        await trio.to_thread.run_sync(reader.to_last, lines)
    left = SENT_BYTES_MAX
    while follow or left > 0:
        chunk = await trio.to_thread.run_sync(reader.read, CHUNK_BYTES)
        left -= len(chunk)
        if chunk:
            await call.output(plainly.feed(decoder.decode(chunk)))
        elif not follow or run.status == "ended":
            break
        else:
            await trio.sleep(POLL_S)
            run = await _find(call, run_id)
    await call.output(plainly.feed(decoder.decode(b"", final=True), final=True))


def _log_of(run: Run) -> str:
    return f"{run.folder}/agent.log"


async def _tail_there(call: Call, run: Run, wanted: p.RunLog) -> None:
    """As `_tail`, of a run on another node, which prints it. Raises Refused where that is away."""
    node, plainly = str(run.node), PlainText()
    lies = f"the log of run {run.id}"
    await check_up(call.context, node, lies)

    async def out(text: str) -> None:
        await call.output(plainly.feed(text))

    try:
        await printed(call, node, wanted, out)
    except Unknown:
        raise Refused(f"{lies} lies on node {node}, which has gone away", mend=START_THERE) from None
    await call.output(plainly.feed("", final=True))


async def send_log(call: Call, command: p.RunLog) -> p.Done:
    """Print the log of a run: for another node, of one of this node."""
    run = await _find(call, command.run)
    if call.forwarded and run.node != call.context.node:
        raise Refused(f"the log of run {run.id} lies on node {run.node}", mend="try again")
    if command.end > 0:
        await send_end(call, run.id, command.end)
    else:
        await _tail(call, run.id, command.follow, command.lines)
    return p.Done()


async def send_end(call: Call, run_id: str, size: int) -> None:
    """Send the end of a run's output as it is now: at most so many bytes of it, whatever its lines are like."""
    run = await _find(call, run_id)
    if not run.folder:
        await call.note(f"run {run.id} has not started")
    elif run.node != call.context.node:
        await _tail_there(call, run, p.RunLog(run.id, end=size))
    else:
        text = await trio.to_thread.run_sync(_end, _log_of(run), min(size, END_BYTES_MAX))
        await call.output(plain(text.decode("utf-8", "replace")))


def _end(log: str, size: int) -> bytes:
    """The end of a log, at most so many bytes. Blocks."""
    reader = CappedLogReader(log)
    reader.to_end(size)
    text = b""
    while len(text) < size and (chunk := reader.read(size - len(text))):
        text += chunk
    return text


def newest_lines(path: Path, lines: int) -> list[str]:
    """The last lines of a log that say something, each shortened, from a bounded part of its end: for a glance."""
    said = plain(_end(str(path), GLANCE_BYTES).decode("utf-8", "replace")).splitlines()
    return [line[:GLANCE_CHARS_MAX] for line in said if line.strip()][-lines:]


def last_lines(path: Path, lines: int) -> tuple[list[str], bool]:
    """The last lines of a log, of at most `CHUNK_BYTES`, and whether that leaves out some of them."""
    reader = CappedLogReader(str(path))
    reader.to_last(lines)
    text, is_cut = b"", False
    while chunk := reader.read(CHUNK_BYTES):
        is_cut = is_cut or len(text) + len(chunk) > CHUNK_BYTES
        text = (text + chunk)[-CHUNK_BYTES:]
    found = plain(text.decode("utf-8", "replace")).splitlines()
    return (found[1:] or found)[-lines:] if is_cut else found[-lines:], is_cut


HANDLERS: dict[type[p.Command], Handler] = {p.RunLog: send_log}
