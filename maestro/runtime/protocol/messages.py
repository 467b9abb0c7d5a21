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

from maestro.runtime.protocol.commands import (
    Command as Command,
)
from maestro.runtime.protocol.commands.agent import (
    AgentAssign as AgentAssign,
    AgentHealth as AgentHealth,
    AgentList as AgentList,
    AgentLogs as AgentLogs,
    AgentRegister as AgentRegister,
    AgentReset as AgentReset,
    AgentRestart as AgentRestart,
    AgentStop as AgentStop,
    AgentTypes as AgentTypes,
    RunLog as RunLog,
)
from maestro.runtime.protocol.commands.monitor import (
    AlertAcknowledge as AlertAcknowledge,
    AlertList as AlertList,
    AlertSnooze as AlertSnooze,
    DeliveryReport as DeliveryReport,
    DeliveryResend as DeliveryResend,
    DeliveryTake as DeliveryTake,
    MonitorFigures as MonitorFigures,
    MonitorLook as MonitorLook,
    ScheduleAdd as ScheduleAdd,
    ScheduleList as ScheduleList,
    ScheduleRemove as ScheduleRemove,
    ScheduleRun as ScheduleRun,
    ScheduleSwitch as ScheduleSwitch,
)
from maestro.runtime.protocol.commands.node import (
    Doctor as Doctor,
    NodeDrain as NodeDrain,
    NodeForget as NodeForget,
    NodeList as NodeList,
    RedisFlush as RedisFlush,
    Shutdown as Shutdown,
    Up as Up,
    WorkspaceClean as WorkspaceClean,
    WorkspaceList as WorkspaceList,
)
from maestro.runtime.protocol.commands.record import (
    Audit as Audit,
    EventsExport as EventsExport,
    EventsTail as EventsTail,
    ReplayAt as ReplayAt,
    ReplayDiff as ReplayDiff,
    ReplayRebuild as ReplayRebuild,
    ReplayVerify as ReplayVerify,
    StateDelete as StateDelete,
    StateGet as StateGet,
    StateList as StateList,
    StateSet as StateSet,
)
from maestro.runtime.protocol.commands.restore import (
    AgentMove as AgentMove,
    AgentsPutBack as AgentsPutBack,
    Fork as Fork,
    RestoreLoad as RestoreLoad,
    RestorePreview as RestorePreview,
    StateRestore as StateRestore,
)
from maestro.runtime.protocol.commands.settings import (
    SettingList as SettingList,
    SettingSet as SettingSet,
)
from maestro.runtime.protocol.commands.snapshot import (
    StatePin as StatePin,
    StateSnapshot as StateSnapshot,
    StateSnapshots as StateSnapshots,
    StateVerify as StateVerify,
)
from maestro.runtime.protocol.commands.task import (
    QueueStatus as QueueStatus,
    RunAsk as RunAsk,
    TaskAnswer as TaskAnswer,
    TaskBatch as TaskBatch,
    TaskCancel as TaskCancel,
    TaskDispatch as TaskDispatch,
    TaskExplain as TaskExplain,
    TaskList as TaskList,
    TaskLogs as TaskLogs,
    TaskRetry as TaskRetry,
    TaskStatus as TaskStatus,
    TaskWait as TaskWait,
)
from maestro.runtime.protocol.commands.workflow_runs import (
    WorkflowAnswer as WorkflowAnswer,
    WorkflowLogs as WorkflowLogs,
    WorkflowPause as WorkflowPause,
    WorkflowResume as WorkflowResume,
    WorkflowRuns as WorkflowRuns,
    WorkflowStatus as WorkflowStatus,
    WorkflowStop as WorkflowStop,
    WorkflowWait as WorkflowWait,
    WorkflowWatch as WorkflowWatch,
)
from maestro.runtime.protocol.commands.workflows import (
    WorkflowCheck as WorkflowCheck,
    WorkflowCreate as WorkflowCreate,
    WorkflowDelete as WorkflowDelete,
    WorkflowDiff as WorkflowDiff,
    WorkflowGraph as WorkflowGraph,
    WorkflowList as WorkflowList,
    WorkflowShow as WorkflowShow,
    WorkflowStart as WorkflowStart,
    WorkflowSwitch as WorkflowSwitch,
)
from maestro.runtime.protocol.cut import (
    Cut as Cut,
)
from maestro.runtime.protocol.replies import (
    Done as Done,
    Failed as Failed,
    Item as Item,
    Note as Note,
    Output as Output,
    Skew as Skew,
    Welcome as Welcome,
)

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
    | RunLog
    | TaskDispatch
    | TaskBatch
    | TaskExplain
    | TaskStatus
    | TaskList
    | TaskWait
    | TaskLogs
    | TaskCancel
    | TaskRetry
    | TaskAnswer
    | RunAsk
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
    | AgentMove
    | Fork
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
    | NodeDrain
    | NodeForget
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
    | AlertAcknowledge
    | AlertList
    | AlertSnooze
    | DeliveryReport
    | DeliveryResend
    | DeliveryTake
    | MonitorFigures
    | MonitorLook
    | ScheduleAdd
    | ScheduleList
    | ScheduleRemove
    | ScheduleRun
    | ScheduleSwitch
    | SettingList
    | SettingSet
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
    AgentMove,
    StateRestore,
    StateSnapshot,
    TaskDispatch,
    TaskBatch,
    TaskCancel,
    TaskRetry,
    TaskAnswer,
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
    MonitorLook,
    MonitorFigures,
    AlertAcknowledge,
    AlertSnooze,
    DeliveryTake,
    DeliveryReport,
    DeliveryResend,
    ScheduleAdd,
    ScheduleRun,
)
"""Commands that need this node's daemon; the client starts it where MAESTRO_AUTOSTART allows."""

INSIDE_RUN: tuple[type[Command], ...] = (StateSet, StateGet, StateList, StateDelete, RunAsk)
"""The commands that any process inside a run may use; nobody types the last one."""
DELEGATING: tuple[type[Command], ...] = (TaskDispatch, TaskWait, TaskStatus)
"""Those that it may use besides where its agent's type has `delegate`: on tasks that the run itself has dispatched."""
OF_MONITORS: tuple[type[Command], ...] = (MonitorLook, DeliveryTake, DeliveryReport)
"""The commands that nobody types: what comes of them is the doing of a monitor, whoever has started that."""
