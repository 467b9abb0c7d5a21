"""The protocol between a command and the server that executes it.

Frames are msgpack with a 4-byte big-endian length before them, at most `FRAME_BYTES_MAX`. The client sends `Hello`,
then one command; the server answers `Welcome` or `Skew`, then any number of `Note`, `Item` and `Output`, then one
`Done` or `Failed` (or `Again`). While a command runs the client may send `Interrupt`. The same server code runs in the
daemon and, where there is none, in the client's own process over a socketpair. Commands that only read
(`handlers.READS`) need neither there: `daemon/plain_server.py` carries them out without frames.

Standard library and msgspec only: every command line pays for what this module imports.
"""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command
from maestro.runtime.protocol.commands.agent import (
    AgentAssign,
    AgentHealth,
    AgentList,
    AgentLogs,
    AgentRegister,
    AgentReset,
    AgentRestart,
    AgentStop,
    AgentTypes,
)
from maestro.runtime.protocol.commands.node import (
    Doctor,
    NodeList,
    RedisFlush,
    Shutdown,
    Up,
    WorkspaceClean,
    WorkspaceList,
)
from maestro.runtime.protocol.commands.record import (
    Audit,
    EventsExport,
    EventsTail,
    ReplayAt,
    ReplayDiff,
    ReplayRebuild,
    ReplayVerify,
    StateDelete,
    StateGet,
    StateList,
    StateSet,
)
from maestro.runtime.protocol.commands.restore import AgentsPutBack, RestoreLoad, RestorePreview, StateRestore
from maestro.runtime.protocol.commands.snapshot import StatePin, StateSnapshot, StateSnapshots, StateVerify
from maestro.runtime.protocol.commands.task import (
    QueueStatus,
    TaskBatch,
    TaskCancel,
    TaskDispatch,
    TaskList,
    TaskLogs,
    TaskRetry,
    TaskStatus,
    TaskWait,
)
from maestro.runtime.protocol.commands.workflow_runs import (
    WorkflowAnswer,
    WorkflowLogs,
    WorkflowPause,
    WorkflowResume,
    WorkflowRuns,
    WorkflowStatus,
    WorkflowStop,
    WorkflowWait,
    WorkflowWatch,
)
from maestro.runtime.protocol.commands.workflows import (
    WorkflowCheck,
    WorkflowCreate,
    WorkflowDelete,
    WorkflowDiff,
    WorkflowGraph,
    WorkflowList,
    WorkflowShow,
    WorkflowStart,
    WorkflowSwitch,
)
from maestro.runtime.protocol.cut import Cut
from maestro.runtime.protocol.replies import Done, Failed, Item, Note, Output, Skew, Welcome

__all__ = [
    "FRAME_BYTES_MAX",
    "INSIDE_RUN",
    "NEEDS_NODE",
    "PROTOCOL",
    "Again",
    "AgentAssign",
    "AgentHealth",
    "AgentList",
    "AgentLogs",
    "AgentRegister",
    "AgentReset",
    "AgentRestart",
    "AgentStop",
    "AgentTypes",
    "AgentsPutBack",
    "AnyCommand",
    "Audit",
    "Caller",
    "ClientFrame",
    "Command",
    "Cut",
    "Doctor",
    "Done",
    "EventsExport",
    "EventsTail",
    "Failed",
    "Hello",
    "Interrupt",
    "Item",
    "NodeList",
    "Note",
    "Output",
    "QueueStatus",
    "RedisFlush",
    "ReplayAt",
    "ReplayDiff",
    "ReplayRebuild",
    "ReplayVerify",
    "RestoreLoad",
    "RestorePreview",
    "ServerFrame",
    "Shutdown",
    "Skew",
    "StateDelete",
    "StateGet",
    "StateList",
    "StatePin",
    "StateRestore",
    "StateSet",
    "StateSnapshot",
    "StateSnapshots",
    "StateVerify",
    "TaskBatch",
    "TaskCancel",
    "TaskDispatch",
    "TaskList",
    "TaskLogs",
    "TaskRetry",
    "TaskStatus",
    "TaskWait",
    "Up",
    "Welcome",
    "WorkflowAnswer",
    "WorkflowCheck",
    "WorkflowCreate",
    "WorkflowDelete",
    "WorkflowDiff",
    "WorkflowGraph",
    "WorkflowList",
    "WorkflowLogs",
    "WorkflowPause",
    "WorkflowResume",
    "WorkflowRuns",
    "WorkflowShow",
    "WorkflowStart",
    "WorkflowStatus",
    "WorkflowStop",
    "WorkflowSwitch",
    "WorkflowWait",
    "WorkflowWatch",
    "WorkspaceClean",
    "WorkspaceList",
]

PROTOCOL = 1
FRAME_BYTES_MAX = 256 * 1024 * 1024


class Caller(msgspec.Struct, frozen=True):
    """The process that sends a command. Earlier clients send a `run_token` besides, which no server reads.

    actor: as events name it.
    cwd: its working folder.
    env: its MAESTRO_* variables, PATH, HOME, LANG and XDG folders.
    terminal: whether its stderr is a terminal, where progress is shown.
    """

    actor: str
    cwd: str
    env: dict[str, str] = {}
    terminal: bool = False


class Hello(msgspec.Struct, frozen=True, tag_field="kind", tag="hello"):
    """The client's first frame. build: version of the code; folds: digest of all fold versions.

    folds is "" where the client folds nothing itself: importing the folds would cost a command line more than the rest
    of it. Only `protocol`, `build` and a `folds` that is not "" are compared.
    """

    protocol: int
    build: str
    folds: str
    caller: Caller


class Interrupt(msgspec.Struct, frozen=True, tag_field="kind", tag="interrupt"):
    """Sent by the client at Ctrl-C. The server stops the command (not its task) and answers `Done` or `Failed`."""


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
    | TaskBatch
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
    | StateSnapshot
    | StateSnapshots
    | StateVerify
    | StatePin
    | RestoreLoad
    | RestorePreview
    | StateRestore
    | AgentsPutBack
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
    | WorkflowAnswer
    | WorkflowLogs
    | WorkflowPause
    | WorkflowResume
    | WorkflowRuns
    | WorkflowStatus
    | WorkflowStop
    | WorkflowWait
    | WorkflowWatch
    | WorkflowCheck
    | WorkflowCreate
    | WorkflowDelete
    | WorkflowDiff
    | WorkflowGraph
    | WorkflowList
    | WorkflowShow
    | WorkflowStart
    | WorkflowSwitch
)


class Again(msgspec.Struct, frozen=True, tag_field="kind", tag="again"):
    """The server restarts before it has the answer: send this command to the next one."""

    command: AnyCommand


ServerFrame = Welcome | Skew | Note | Item | Output | Done | Failed | Again
ClientFrame = Hello | Interrupt | AnyCommand

NEEDS_NODE: tuple[type[Command], ...] = (
    AgentHealth,
    AgentStop,
    AgentRestart,
    AgentReset,
    StateRestore,
    StateSnapshot,
    TaskDispatch,
    TaskBatch,
    TaskCancel,
    TaskRetry,
    TaskWait,
    Up,
    WorkflowAnswer,
    WorkflowPause,
    WorkflowResume,
    WorkflowStop,
    WorkflowWait,
    WorkflowWatch,
    WorkflowStart,
    WorkspaceClean,
)
"""Commands that need this node's daemon; the client starts it where MAESTRO_AUTOSTART allows."""

INSIDE_RUN: tuple[type[Command], ...] = (StateSet, StateGet, StateList, StateDelete)
"""The commands that a process inside a run may use."""
