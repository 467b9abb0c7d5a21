"""The one protocol between a command and the server that carries it out (DESIGN.md 8).

Frames are msgpack with a 4-byte big-endian length before them, at most `FRAME_BYTES_MAX`. The client sends `Hello`,
then one command; the server answers `Welcome` or `Skew`, then any number of `Note`, `Item` and `Output`, then one
`Done` or `Failed`. While a command runs the client may send `Interrupt`. The same server code runs in the daemon and,
where there is none, in the client's own process over a socketpair.

Stdlib and msgspec only: every command line pays for what this imports.
"""

from __future__ import annotations

from typing import Any

import msgspec

PROTOCOL = 1
FRAME_BYTES_MAX = 256 * 1024 * 1024


class Caller(msgspec.Struct, frozen=True):
    """Who asks. env: the MAESTRO_* variables and PATH, HOME, LANG of the client; terminal: stdout is one."""

    actor: str
    cwd: str
    env: dict[str, str] = {}
    terminal: bool = False
    run_token: str = ""


class Hello(msgspec.Struct, frozen=True, tag_field="kind", tag="hello"):
    """The first frame. build: version of the code; folds: digest of all fold versions."""

    protocol: int
    build: str
    folds: str
    caller: Caller


class Welcome(msgspec.Struct, frozen=True, tag_field="kind", tag="welcome"):
    """The server takes the command that follows. notices: lines for stderr (limits that differ, a low disk)."""

    build: str
    node: str
    notices: list[str] = []


class Skew(msgspec.Struct, frozen=True, tag_field="kind", tag="skew"):
    """Other protocol, build or folds: the server drains, without killing runs, and will be started anew."""

    build: str
    protocol: int
    running: int


class Note(msgspec.Struct, frozen=True, tag_field="kind", tag="note"):
    """A line for stderr: progress, warnings, hints. level: info, warn or progress."""

    text: str
    level: str = "info"


class Item(msgspec.Struct, frozen=True, tag_field="kind", tag="item"):
    """One row of the answer, as JSON-ready data."""

    data: Any


class Output(msgspec.Struct, frozen=True, tag_field="kind", tag="output"):
    """Raw text for stdout (logs). Already redacted; the client strips control sequences for a terminal."""

    text: str


class Done(msgspec.Struct, frozen=True, tag_field="kind", tag="done"):
    """The end. data: the answer where it is one object; exit_code: of the command line."""

    data: Any = None
    exit_code: int = 0


class Failed(msgspec.Struct, frozen=True, tag_field="kind", tag="failed"):
    """The end, with one line for the user: what, where, how to mend it."""

    code: str
    exit_code: int
    what: str
    where: str = ""
    mend: str = ""
    traceback: str = ""


class Interrupt(msgspec.Struct, frozen=True, tag_field="kind", tag="interrupt"):
    """From the client: Ctrl-C. The server stops the command (not its task) and answers `Done` or `Failed`."""


ServerFrame = Welcome | Skew | Note | Item | Output | Done | Failed


# ---- commands: one struct each; the names are those of the command line ----


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. Ids and texts are as typed; the handler validates them."""


class AgentRegister(Command, frozen=True, tag_field="kind", tag="agent register"):
    type: str | None = None
    definition: str | None = None  # YAML text of --file
    file: str | None = None  # its path, for messages


class AgentAssign(Command, frozen=True, tag_field="kind", tag="agent assign"):
    type: str
    to_workspace: str | None = None  # absolute
    role: str | None = None
    priority: int | None = None
    name: str | None = None
    node: str | None = None
    force: bool = False


class AgentList(Command, frozen=True, tag_field="kind", tag="agent list"):
    status: str = "all"


class AgentHealth(Command, frozen=True, tag_field="kind", tag="agent health"):
    id: str
    detail: bool = False
    log_lines: int = 10


class AgentStop(Command, frozen=True, tag_field="kind", tag="agent stop"):
    id: str
    force: bool = False


class AgentRestart(Command, frozen=True, tag_field="kind", tag="agent restart"):
    id: str


class AgentReset(Command, frozen=True, tag_field="kind", tag="agent reset"):
    id: str


class AgentLogs(Command, frozen=True, tag_field="kind", tag="agent logs"):
    id: str
    follow: bool = False
    lines: int | None = None


class AgentTypes(Command, frozen=True, tag_field="kind", tag="agent types"):
    pass


class TaskDispatch(Command, frozen=True, tag_field="kind", tag="task dispatch"):
    prompt: str
    to: list[str]
    sync: bool = False
    timeout_s: float | None = None
    depends_on: list[str] = []
    priority: int | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    force: bool = False
    cancel_on_interrupt: bool = False


class TaskStatus(Command, frozen=True, tag_field="kind", tag="task status"):
    id: str | None = None
    last: bool = False
    agent: str | None = None


class TaskList(Command, frozen=True, tag_field="kind", tag="task list"):
    last: bool = False
    agent: str | None = None
    status: str | None = None
    since: str | None = None
    limit: int = 100
    all: bool = False


class TaskWait(Command, frozen=True, tag_field="kind", tag="task wait"):
    ids: list[str]
    timeout_s: float | None = None


class TaskLogs(Command, frozen=True, tag_field="kind", tag="task logs"):
    id: str
    agent: str | None = None
    follow: bool = False


class TaskCancel(Command, frozen=True, tag_field="kind", tag="task cancel"):
    id: str
    reason: str = ""


class TaskRetry(Command, frozen=True, tag_field="kind", tag="task retry"):
    id: str


class StateSet(Command, frozen=True, tag_field="kind", tag="state set"):
    key: str
    value: str
    ttl: str = "24h"


class StateGet(Command, frozen=True, tag_field="kind", tag="state get"):
    key: str


class StateList(Command, frozen=True, tag_field="kind", tag="state list"):
    prefix: str = ""


class StateDelete(Command, frozen=True, tag_field="kind", tag="state delete"):
    key: str


class QueueStatus(Command, frozen=True, tag_field="kind", tag="queue status"):
    agent: str | None = None
    task: str | None = None
    which: str = "open"  # open, waiting, processing or completed
    limit: int = 100


class Audit(Command, frozen=True, tag_field="kind", tag="audit"):
    subject: str | None = None
    since: str | None = None
    type: str | None = None
    follow: bool = False


class EventsTail(Command, frozen=True, tag_field="kind", tag="events tail"):
    follow: bool = False
    from_position: int | None = None
    type: str | None = None
    group: str | None = None
    limit: int = 100


class EventsExport(Command, frozen=True, tag_field="kind", tag="events export"):
    cloudevents: bool = False
    from_position: int = 0
    to_position: int | None = None


class ReplayVerify(Command, frozen=True, tag_field="kind", tag="replay verify"):
    pass


class ReplayRebuild(Command, frozen=True, tag_field="kind", tag="replay rebuild"):
    view: str | None = None


class ReplayAt(Command, frozen=True, tag_field="kind", tag="replay at"):
    position: str
    view: str


class ReplayDiff(Command, frozen=True, tag_field="kind", tag="replay diff"):
    a: str
    b: str


class Up(Command, frozen=True, tag_field="kind", tag="up"):
    pass


class Shutdown(Command, frozen=True, tag_field="kind", tag="shutdown"):
    grace_s: float = 10.0
    keep: bool = False


class WorkspaceList(Command, frozen=True, tag_field="kind", tag="workspace list"):
    pass


class WorkspaceClean(Command, frozen=True, tag_field="kind", tag="workspace clean"):
    agent: str


class NodeList(Command, frozen=True, tag_field="kind", tag="node list"):
    pass


class Doctor(Command, frozen=True, tag_field="kind", tag="doctor"):
    accept_loss: bool = False


class RedisFlush(Command, frozen=True, tag_field="kind", tag="redis flush"):
    confirm: str
    backup: str | None = None  # path of the export made first, None with --no-backup


AnyCommand = (
    AgentRegister
    | AgentAssign
    | AgentList
    | AgentHealth
    | AgentStop
    | AgentRestart
    | AgentReset
    | AgentLogs
    | AgentTypes
    | TaskDispatch
    | TaskStatus
    | TaskList
    | TaskWait
    | TaskLogs
    | TaskCancel
    | TaskRetry
    | StateSet
    | StateGet
    | StateList
    | StateDelete
    | QueueStatus
    | Audit
    | EventsTail
    | EventsExport
    | ReplayVerify
    | ReplayRebuild
    | ReplayAt
    | ReplayDiff
    | Up
    | Shutdown
    | WorkspaceList
    | WorkspaceClean
    | NodeList
    | Doctor
    | RedisFlush
)

ClientFrame = Hello | Interrupt | AnyCommand

NEEDS_NODE: tuple[type[Command], ...] = (
    AgentHealth,
    AgentStop,
    AgentRestart,
    AgentReset,
    TaskDispatch,
    TaskCancel,
    TaskRetry,
    TaskWait,
    Up,
    WorkspaceClean,
)
"""Commands that need this node's daemon; the client starts it where MAESTRO_AUTOSTART allows."""
