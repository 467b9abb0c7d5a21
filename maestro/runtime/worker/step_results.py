"""The results of a workflow's step: the texts that its run told, for the templates of later steps."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from maestro.agents import outcome
from maestro.agents.definitions import Definition
from maestro.agents.verdict import JudgedEnd
from maestro.model.events import RunEnded, TaskDispatched
from maestro.printable_text import plain
from maestro.runtime.evaluation.evaluator import Evaluator
from maestro.runtime.node.context import RESULT_INLINE_BYTES_MAX, Context
from maestro.runtime.worker.run_end import redaction
from maestro.runtime.worker.run_observer import read_ends
from maestro.workspaces.folders import RunFolder

TEXT_BYTES_MAX = 1024 * 1024
"""How much is kept of the end of an output or a final text."""
CHECK_BYTES_MAX = 64 * 1024
"""How much is kept of the end of what a failed verification printed."""


class Told(NamedTuple):
    """What a run told: its final text, its stdout (the same where it has no final text of its own), what its failed
    verification printed.
    """

    result: str
    output: str
    check: str = ""


def told_by(definition: Definition, dispatched: TaskDispatched, folder: RunFolder, seen: JudgedEnd) -> Told:
    """What a run told, from the files in its folder. Blocks."""
    output = _shown(*_stdout(folder, seen.stdout_bytes))
    if definition.output.text is not None:
        data = ("" if seen.told is None else seen.told.text).encode("utf-8", "replace")
        result = _shown(data[-TEXT_BYTES_MAX:], len(data)).strip()
    else:
        result = output if dispatched.command else output.strip()
    check = ""
    if seen.check is not None and seen.check.exit_code != 0:
        check = _shown(seen.check.output[-CHECK_BYTES_MAX:], len(seen.check.output))
    return Told(result, output, check)


async def fitted(
    evaluator: Evaluator, definition: Definition, dispatched: TaskDispatched, folder: RunFolder, seen: JudgedEnd
) -> JudgedEnd:
    """The end of a run with what of its final text does not fit the schema, where one is asked for after a good end."""
    schema = dispatched.answer_schema
    if schema is None or outcome.judge(definition, seen).outcome != "ok":
        return seen
    told = await trio.to_thread.run_sync(told_by, definition, dispatched, folder, seen)
    return msgspec.structs.replace(seen, misfit=await evaluator.misfit(told.result, schema))


async def completed(
    context: Context,
    definition: Definition,
    dispatched: TaskDispatched,
    folder: RunFolder,
    end: tuple[RunEnded, JudgedEnd],
) -> RunEnded:
    """The end of a run with what it told, without secrets; large texts are kept apart. end: as its judge saw it."""
    fact, seen = end
    told = await trio.to_thread.run_sync(told_by, definition, dispatched, folder, seen)
    redact = await trio.to_thread.run_sync(redaction, context, definition)
    result, output, check = map(redact, told)
    texts = {"result": result, "output": "" if output == result else output, "check": check}
    kept = {
        name: await context.insist(partial(context.keep, text, RESULT_INLINE_BYTES_MAX)) for name, text in texts.items()
    }
    return msgspec.structs.replace(fact, error=redact(seen.misfit), **kept)


def _stdout(folder: RunFolder, size: int) -> tuple[bytes, int]:
    """The end of stdout as it was kept, and how large all of it was."""
    if not size:
        return b"", 0
    try:
        with Path(folder.stdout).open("rb") as file:
            if file.seek(0, os.SEEK_END) >= size:
                return read_ends(folder.stdout, TEXT_BYTES_MAX), size
    except OSError:
        pass
    return read_ends(folder.tail), size  # the copy is gone, or more was printed than it takes


def _shown(data: bytes, size: int) -> str:
    """A text as later steps read it: without terminal sequences and trailing newlines. size: of the whole."""
    text = plain(data.decode("utf-8", "replace")).rstrip("\n")
    left = size - len(data)
    return f"[… {left} bytes before this are in agent.log]\n{text.lstrip(chr(0xFFFD))}" if left > 0 else text
