"""The output of a run as this node has it: whether its log is here, how much of it, the calls of tools in it.

Of a run on another node its daemon, asked through this node's, tells the end of it, as it does for `task logs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from maestro.board.runs.log_text import LogText
from maestro.board.runs.tool_calls import tool_calls
from maestro.model.errors import MaestroError, NotFound, Refused
from maestro.model.ids import task_of_run
from maestro.model.task import Run
from maestro.runtime.client import client
from maestro.runtime.client.answers import error_of
from maestro.runtime.node.context import Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.rows import Row

READ_BYTES: Final = 16 << 20
"""Calls of tools are looked for in so much of the beginning of a log."""
LINE_BYTES_MAX: Final = 1 << 20
END_BYTES: Final = 1 << 20
"""So much of the end of a log on another node is asked for."""


class Output:
    """The output of one run. path: of its log; ended: no more will come; node: where it lies, "" for here."""

    def __init__(self, context: Context, run: Run) -> None:
        self._context = context
        self._run = run
        self.node = run.node or "" if run.folder and run.node != context.node else ""
        self.path = f"{run.folder}/agent.log"
        self.ended = run.status == "ended"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it lies on another node."""
        return bool(self.node)

    @property
    def why(self) -> str:
        """Why it cannot be read here, "" where it can. Blocks."""
        run = self._run
        if not run.folder:
            return f"run {run.id} has not started"
        if self.node:
            return f"the log of run {run.id} lies on node {self.node}"
        if not LogText(self.path).is_there:
            return f"the log of run {run.id} is gone: files of runs are kept for a time only"
        return ""

    def row(self) -> Row:
        """How much of it is here. Blocks."""
        why = self.why
        size = 0
        if not why:
            try:
                size = LogText(self.path).stretches()[-1].end
            except OSError as error:
                why = f"the log of run {self._run.id} cannot be read: {error.strerror}"
        return {"bytes": size, "here": not why, "why": why or None, "node": self._run.node, "ended": self.ended}

    def check_there(self) -> None:
        """Check that it can be read here. Blocks. Raises NotFound, Refused."""
        if self.node:
            raise Refused(self.why, mend=f"there: maestro task logs {task_of_run(self._run.id)}")
        if why := self.why:
            raise NotFound(why)

    def tools(self) -> list[Row]:
        """The calls of tools that its beginning tells. Blocks."""
        return [] if self.why else [msgspec.structs.asdict(call) for call in tool_calls(self._lines())]

    def _lines(self) -> Iterator[bytes]:
        """The lines of its beginning, without those that are too long."""
        log, at, left = LogText(self.path), 0, b""
        while at < READ_BYTES and (data := log.bytes_at(at)):
            at += len(data)
            *lines, left = (left + data).split(b"\n")
            yield from lines
            left = b"" if len(left) > LINE_BYTES_MAX else left
        yield left

    def end_there(self) -> Row:
        """The end of a log on another node, through the daemon of this one, which is not started. Blocks.

        Raises Refused where no daemon runs here, or that node is away.
        """
        parts: list[str] = []

        def show(told: p.Note | p.Item | p.Output) -> None:
            if isinstance(told, p.Output):
                parts.append(told.text)

        end = client.ask_running(p.RunLog(self._run.id, end=END_BYTES), self._context.settings, show)
        if end is None:
            raise Refused(self.why, f"node {self.node}", "`maestro up` starts the daemon of this node, which asks it")
        if isinstance(end, p.Failed):
            raise error_of(end)
        if not isinstance(end, p.Done):
            raise MaestroError("the daemon of this node starts anew", mend="ask again")
        text = "".join(parts)
        size = len(text.encode("utf-8", "replace"))
        return {"offset": 0, "next": size, "size": size, "text": text, "ended": self.ended, "whole": False}
