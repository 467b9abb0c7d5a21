"""Commands that a tool has carried out by this node's daemon, in a thread, and their answers and errors."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, NoReturn

import anyio
import msgspec

from maestro.config import Settings
from maestro.mcp.tool_server import Failure, ToolFailure
from maestro.model.errors import Invalid, MaestroError, TimedOut
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p

OUTPUT_CHARS_MAX = 64 * 1024
"""So much of an agent's output is kept, the last of it."""
TOOLS = {
    "agent list": "agent_list",
    "task list": "task_list",
    "task wait": "task_wait",
    "task cancel": "task_cancel",
    "task status": "task_status",
    "state list": "state_list",
    "workflow list": "workflow_list",
    "workflow status": "workflow_status",
}
"""Commands that remedies name -> the tools that do the same, where there is one."""
_COMMAND = re.compile(rf"`?maestro ({'|'.join(TOOLS)})\b( --?[a-z-]+)*`?")


class Answer(msgspec.Struct):
    """What a command has answered. rows: of a list; data: of one object; output: raw text, the last of it; notes: what
    it says besides; timed_out: it has waited as long as it was to.
    """

    rows: list[Any] = msgspec.field(default_factory=list)
    data: Any = None
    output: str = ""
    notes: list[str] = msgspec.field(default_factory=list)
    timed_out: bool = False


class Requests:
    """Sends commands with these settings. tools: the names of the tools that are offered, for remedies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.tools: set[str] = set()

    async def ask(self, command: p.Command, waits: bool = False) -> Answer:
        """Have a command carried out. waits: running into its timeout is an answer. Raises ToolFailure."""
        try:
            return await anyio.to_thread.run_sync(partial(self._ask, command, waits), abandon_on_cancel=True)
        except MaestroError as error:
            self.fail(error.what, error.where, error.mend, error.code)

    def fail(self, what: str, where: str = "", mend: str = "", code: str = Invalid.code) -> NoReturn:
        """Raise ToolFailure: what is wrong, where, and what to do, by tools where there are some."""
        line, mend = f"{where}: {what}" if where else what, _COMMAND.sub(self._tool, mend)
        failure = Failure(what=what, where=where, mend=mend, code=code)
        raise ToolFailure(f"{line}; {mend}" if mend else line, failure)

    def _tool(self, found: re.Match[str]) -> str:
        name = TOOLS[found[1]]
        return f"the tool {name}" if name in self.tools else found[0]

    def _ask(self, command: p.Command, waits: bool) -> Answer:
        answer = Answer()

        def show(message: p.Note | p.Item | p.Output) -> None:
            if isinstance(message, p.Item):
                answer.rows.append(message.data)
            elif isinstance(message, p.Output):
                answer.output = (answer.output + message.text)[-OUTPUT_CHARS_MAX:]
            elif message.level != "progress" and message.text not in answer.notes:
                answer.notes.append(message.text)

        end = client.execute(command, self._settings, show, here=False)
        if isinstance(end, p.Done):
            answer.data = end.data
        elif waits and end.code == TimedOut.code:
            answer.timed_out = True
        else:
            self.fail(end.what, end.where, end.mend, end.code)
        return answer
