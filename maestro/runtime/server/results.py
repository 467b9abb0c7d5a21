"""The results of runs as clients get them: always whole texts, though a large one lies apart from its event.

The final text of a run has at most `RESULT_BYTES_MAX` (agents/outcome.py) bytes, so that a client never needs to be
given a part of it, or the name of the blob instead.
"""

from __future__ import annotations

import msgspec

from maestro.model.errors import NotFound
from maestro.model.events import BlobRef, Text
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.rows import Row, task_row

OURS = ("scheduler:", "worker:")
"""Actors that set the result of a task. A key of that form that another actor has set is given as it is."""


async def told_task(context: ReadContext, task: Task) -> Row:
    """A task with its runs and the whole text of each result."""
    texts: dict[str, str] = {}
    for slot in task.slots:
        for run in slot.runs:
            if isinstance(run.result, BlobRef):
                texts[run.id] = await _text(context, run.result)
    return task_row(task, texts)


async def told_value(context: ReadContext, row: StateKey) -> str:
    """The value of a key. The result of a task for several agents is a JSON object of texts by agent."""
    value = await context.text(row.value)
    task = _task_of(row)
    if not task or '{"blob":' not in value:
        return value
    found = await context.row(context.views.task, task)
    if found is None or len(found.slots) < 2:
        return value
    results = msgspec.json.decode(value, type=dict[str, Text])
    texts = {name: await _text(context, text) for name, text in results.items()}
    return msgspec.json.encode(texts, order="deterministic").decode()


def _task_of(row: StateKey) -> str:
    """The task whose result it is, "" for any other key."""
    kind, _, rest = row.key.partition(":")
    task, _, name = rest.rpartition(":")
    return task if (kind, name) == ("task", "result") and row.actor.startswith(OURS) else ""


async def _text(context: ReadContext, text: Text) -> str:
    try:
        return await context.text(text)
    except NotFound as gone:
        return f"[maestro: {gone.what}]"
