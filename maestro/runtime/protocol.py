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
    """Who asks. env: its MAESTRO_* variables, PATH, HOME, LANG and XDG folders; terminal: stdout is one."""

    actor: str
    cwd: str
    env: dict[str, str] = {}
    terminal: bool = False
    run_token: str = ""


class Hello(msgspec.Struct, frozen=True, tag_field="kind", tag="hello"):
    """The first frame. build: version of the code; folds: digest of all fold versions.

    folds is "" where the client folds nothing itself: importing the folds would cost a command line more than the rest
    of it. Only `protocol`, `build` and a `folds` that is not "" are compared.
    """

    protocol: int
    build: str
    folds: str
    caller: Caller


class Welcome(msgspec.Struct, frozen=True, tag_field="kind", tag="welcome"):
    """The server takes the command that follows. notices: lines for stderr (limits that differ, a low disk).

    namespace, store: what the server serves, so that a client of another one (by its environment) does not write into
    the wrong one; store is the URL that was set, "" for none. Both are "" on the socket of a run.
    """

    build: str
    node: str
    notices: list[str] = []
    namespace: str = ""
    store: str = ""


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


# ---- commands: one struct each; the names are those of the command line ----
#
# "Items: X" says that the answer is a list, one `Item` a row, and `Done.data` is None. "Data: X" says that it is one
# object, in `Done.data`. Rows are JSON-ready: times are RFC 3339 UTC strings, all clients show the same.


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command. Ids and texts are as typed; the handler validates them."""


class AgentRegister(Command, frozen=True, tag_field="kind", tag="agent register"):
    """With `type` or `definition`: Data: type row. With neither, all that are in agents.d: Items: type rows."""

    type: str | None = None
    definition: str | None = None  # YAML text of --file
    file: str | None = None  # its path, for messages


class AgentAssign(Command, frozen=True, tag_field="kind", tag="agent assign"):
    """Data: agent row."""

    type: str
    to_workspace: str | None = None  # absolute
    role: str | None = None
    priority: int | None = None
    name: str | None = None
    node: str | None = None
    force: bool = False


class AgentList(Command, frozen=True, tag_field="kind", tag="agent list"):
    """Items: agent rows {id, type, state, role, priority, workspace, node, task, heartbeat_age_s, ...}."""

    status: str = "all"


class AgentHealth(Command, frozen=True, tag_field="kind", tag="agent health"):
    """Data: {id, status: healthy|unhealthy, checks: [{name, ok, detail}], log: [line], ...}; exit code 0 or 1."""

    id: str
    detail: bool = False
    log_lines: int = 10


class AgentStop(Command, frozen=True, tag_field="kind", tag="agent stop"):
    """Data: agent row."""

    id: str
    force: bool = False


class AgentRestart(Command, frozen=True, tag_field="kind", tag="agent restart"):
    """Data: agent row."""

    id: str


class AgentReset(Command, frozen=True, tag_field="kind", tag="agent reset"):
    """Data: agent row."""

    id: str


class AgentLogs(Command, frozen=True, tag_field="kind", tag="agent logs"):
    """Output frames."""

    id: str
    follow: bool = False
    lines: int | None = None


class AgentTypes(Command, frozen=True, tag_field="kind", tag="agent types"):
    """Items: {slug, valid, usable, reason, binary, version, modes, adapter, mode, capabilities, source}.

    usable: it is valid and its program is there; null version: not known without `check`, which runs the probes.
    """

    check: bool = False


class TaskDispatch(Command, frozen=True, tag_field="kind", tag="task dispatch"):
    """Data: task row {id, status, outcome, exit_code, title, targets, priority, runs: [...], dispatched_at, ...}; notes
    of level `progress` while `sync` waits.
    """

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
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None


class TaskStatus(Command, frozen=True, tag_field="kind", tag="task status"):
    """Data: task row with its runs."""

    id: str | None = None
    last: bool = False
    agent: str | None = None


class TaskList(Command, frozen=True, tag_field="kind", tag="task list"):
    """Items: task rows, newest first; with `last` Data: task row."""

    last: bool = False
    agent: str | None = None
    status: str | None = None
    since: str | None = None
    limit: int = 100
    all: bool = False


class TaskWait(Command, frozen=True, tag_field="kind", tag="task wait"):
    """Items: task rows, in the order of `ids`; exit code as `dispatch --sync`. With `one` Data: the first task."""

    ids: list[str]
    timeout_s: float | None = None
    one: bool = False


class TaskLogs(Command, frozen=True, tag_field="kind", tag="task logs"):
    """Output frames."""

    id: str
    agent: str | None = None
    follow: bool = False


class TaskCancel(Command, frozen=True, tag_field="kind", tag="task cancel"):
    """Data: task row."""

    id: str
    reason: str = ""


class TaskRetry(Command, frozen=True, tag_field="kind", tag="task retry"):
    """Data: task row. resume: each agent goes on with the session of its last run."""

    id: str
    resume: bool = False


class StateSet(Command, frozen=True, tag_field="kind", tag="state set"):
    """Data: state row {key, value, set_at, expires_at|null, actor}."""

    key: str
    value: str
    ttl: str = "24h"


class StateGet(Command, frozen=True, tag_field="kind", tag="state get"):
    """Data: state row."""

    key: str


class StateList(Command, frozen=True, tag_field="kind", tag="state list"):
    """Items: state rows."""

    prefix: str = ""


class StateDelete(Command, frozen=True, tag_field="kind", tag="state delete"):
    """Data: {key, deleted: true}."""

    key: str


class QueueStatus(Command, frozen=True, tag_field="kind", tag="queue status"):
    """Items: {task, status, target, agent, run, priority, waiting_for, dispatched_at, title}."""

    agent: str | None = None
    task: str | None = None
    which: str = "open"  # open, waiting, processing or completed
    limit: int = 100


class Audit(Command, frozen=True, tag_field="kind", tag="audit"):
    """Items: {seq, at, type, subject, actor, cause, text, data}."""

    subject: str | None = None
    since: str | None = None
    type: str | None = None
    follow: bool = False


class EventsTail(Command, frozen=True, tag_field="kind", tag="events tail"):
    """Items: {seq, at, type, subject, actor, cause, prev, v, data}.

    limit: None for the newest 100, with from_position or group for all. With a group the answer is one batch, and data
    {position, end}: where the batch ends, and whether nothing is left. It is read again until a later question says
    that it is `taken`, up to that position; a limit of 0 asks nothing else.
    """

    follow: bool = False
    from_position: int | None = None
    type: str | None = None
    group: str | None = None
    limit: int | None = None
    taken: int | None = None


class EventsExport(Command, frozen=True, tag_field="kind", tag="events export"):
    """Items: as `events tail`, or CloudEvents."""

    cloudevents: bool = False
    from_position: int = 0
    to_position: int | None = None


class ReplayVerify(Command, frozen=True, tag_field="kind", tag="replay verify"):
    """Data: {ok, position, events, views: [{view, rows, digest, ok}], difference}; exit code 0 or 6."""


class ReplayRebuild(Command, frozen=True, tag_field="kind", tag="replay rebuild"):
    """Data: {generation, position, views}."""

    view: str | None = None


class ReplayAt(Command, frozen=True, tag_field="kind", tag="replay at"):
    """Items: the rows of the view."""

    position: str
    view: str


class ReplayDiff(Command, frozen=True, tag_field="kind", tag="replay diff"):
    """Items: {view, row, change: added|changed|removed, before, after}."""

    a: str
    b: str


class Up(Command, frozen=True, tag_field="kind", tag="up"):
    """Data: node row."""


class Shutdown(Command, frozen=True, tag_field="kind", tag="shutdown"):
    """Data: {node, cancelled, cleaned, kept, ...}."""

    grace_s: float = 10.0
    keep: bool = False


class WorkspaceList(Command, frozen=True, tag_field="kind", tag="workspace list"):
    """Items: {agent, workspace, node, exists, bytes, ...}."""


class WorkspaceClean(Command, frozen=True, tag_field="kind", tag="workspace clean"):
    """Data: {agent, workspace, ...}."""

    agent: str


class NodeList(Command, frozen=True, tag_field="kind", tag="node list"):
    """Items: node rows {id, host, status, held, running, max_concurrent, ...}."""


class Doctor(Command, frozen=True, tag_field="kind", tag="doctor"):
    """Items: {check, status: ok|warning|failed, detail, remedy}; exit code 0, or that of the worst check."""

    accept_loss: bool = False


class RedisFlush(Command, frozen=True, tag_field="kind", tag="redis flush"):
    """Data: {namespace, deleted, backup}."""

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


class Again(msgspec.Struct, frozen=True, tag_field="kind", tag="again"):
    """The server starts anew before it has the answer: ask the next one, with this command."""

    command: AnyCommand


ServerFrame = Welcome | Skew | Note | Item | Output | Done | Failed | Again
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
