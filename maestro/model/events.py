"""The facts that the log holds: frozen structs, one union, stable names.

A fact is in the past tense and is never changed once released: fields may be added with a default, names and
meanings stay. The facts are defined in `maestro.model.facts`, one module a kind of subject, and public here. `FACTS`
gives each its name in the stream; `VERSIONS` its version where it is above 1.
Times are milliseconds since the Unix epoch, server time; durations say their unit in their name.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from maestro.model.facts import (
    BlobRef as BlobRef,
    Fact as Fact,
    Text as Text,
)
from maestro.model.facts.agent import (
    AgentAssigned as AgentAssigned,
    AgentHealthChanged as AgentHealthChanged,
    AgentRegistered as AgentRegistered,
    AgentReset as AgentReset,
    AgentRestarted as AgentRestarted,
    AgentStopped as AgentStopped,
    CheckFound as CheckFound,
    WorkspaceClaimed as WorkspaceClaimed,
)
from maestro.model.facts.alert import (
    ALERT_FACTS,
    AlertFact,
    AlertRaised as AlertRaised,
    AlertResolved as AlertResolved,
    AlertSnoozed as AlertSnoozed,
    DeliveryAttempted as DeliveryAttempted,
    DeliveryDone as DeliveryDone,
    DeliveryDropped as DeliveryDropped,
    DeliveryQueued as DeliveryQueued,
    DeliveryRequested as DeliveryRequested,
    WebhookConfigured as WebhookConfigured,
    WebhookDisabled as WebhookDisabled,
)
from maestro.model.facts.failsafe import (
    FAILSAFE_FACTS,
    FailsafeFact,
    FailsafeKept as FailsafeKept,
    FailsafeReturned as FailsafeReturned,
    GuardDropped as GuardDropped,
    WorkspaceGuarded as WorkspaceGuarded,
)
from maestro.model.facts.forward import (
    FORWARD_FACTS,
    ForwardAnswered as ForwardAnswered,
    ForwardAsked as ForwardAsked,
    ForwardBegun as ForwardBegun,
    ForwardFact,
)
from maestro.model.facts.log import (
    LOG_FACTS,
    LogBranched as LogBranched,
    LogFact,
    LogForked as LogForked,
    LogSealed as LogSealed,
    RestoreDone as RestoreDone,
    RestoreFailed as RestoreFailed,
    RestorePlaced as RestorePlaced,
    RestoreStarted as RestoreStarted,
    SnapshotExpired as SnapshotExpired,
    SnapshotFailed as SnapshotFailed,
    SnapshotMissing as SnapshotMissing,
    SnapshotPart as SnapshotPart,
    SnapshotPinned as SnapshotPinned,
    SnapshotStarted as SnapshotStarted,
    SnapshotTaken as SnapshotTaken,
    SnapshotUnpinned as SnapshotUnpinned,
    SnapshotWorkspace as SnapshotWorkspace,
)
from maestro.model.facts.node import (
    NodeDrainBegun as NodeDrainBegun,
    NodeDrainEnded as NodeDrainEnded,
    NodeForgotten as NodeForgotten,
    NodeHeld as NodeHeld,
    NodeJoined as NodeJoined,
    NodeLeft as NodeLeft,
    NodeLost as NodeLost,
    NodeResumed as NodeResumed,
)
from maestro.model.facts.parts import (
    PART_FACTS,
    PartFact,
    PartWanted as PartWanted,
    RestoreAsked as RestoreAsked,
    RestoreOpened as RestoreOpened,
    RestorePartFailed as RestorePartFailed,
    RestorePartPlaced as RestorePartPlaced,
    RestorePartStaged as RestorePartStaged,
    RestorePartWanted as RestorePartWanted,
    RestorePlacement as RestorePlacement,
    SnapshotAsked as SnapshotAsked,
    SnapshotOpened as SnapshotOpened,
    SnapshotPartFailed as SnapshotPartFailed,
    SnapshotPartReady as SnapshotPartReady,
    SnapshotPartTaken as SnapshotPartTaken,
)
from maestro.model.facts.permission import PERMISSION_FACTS, PermissionFact
from maestro.model.facts.schedule import (
    SCHEDULE_FACTS,
    ScheduleAdded as ScheduleAdded,
    ScheduleEnded as ScheduleEnded,
    ScheduleFact,
    ScheduleFired as ScheduleFired,
    ScheduleRemoved as ScheduleRemoved,
    ScheduleSkipped as ScheduleSkipped,
    ScheduleSwitched as ScheduleSwitched,
)
from maestro.model.facts.setting import (
    SETTING_FACTS,
    ArchiveNamed as ArchiveNamed,
    SettingChanged as SettingChanged,
    SettingFact,
)
from maestro.model.facts.state import (
    StateDeleted as StateDeleted,
    StateSet as StateSet,
)
from maestro.model.facts.task import (
    RunEnded as RunEnded,
    RunParked as RunParked,
    RunReleased as RunReleased,
    RunSessionOpened as RunSessionOpened,
    RunStarted as RunStarted,
    RunUsageReported as RunUsageReported,
    TaskCancelRequested as TaskCancelRequested,
    TaskDispatched as TaskDispatched,
    TaskFinished as TaskFinished,
    TaskRetried as TaskRetried,
)
from maestro.model.facts.workflow import (
    HandlerCalled as HandlerCalled,
    LoopTurned as LoopTurned,
    StepApproved as StepApproved,
    StepEnded as StepEnded,
    StepReadied as StepReadied,
    StepStarted as StepStarted,
    WorkflowDeleted as WorkflowDeleted,
    WorkflowRunAdmitted as WorkflowRunAdmitted,
    WorkflowRunEnding as WorkflowRunEnding,
    WorkflowRunFinished as WorkflowRunFinished,
    WorkflowRunPaused as WorkflowRunPaused,
    WorkflowRunResumed as WorkflowRunResumed,
    WorkflowRunStarted as WorkflowRunStarted,
    WorkflowStored as WorkflowStored,
    WorkflowSwitched as WorkflowSwitched,
    WorkspaceArchived as WorkspaceArchived,
    WorkspaceArchiveWanted as WorkspaceArchiveWanted,
    WorkspaceRestoreWanted as WorkspaceRestoreWanted,
    WorkspaceReturned as WorkspaceReturned,
)


class Unrecognised(Fact, frozen=True):
    """An event that this build does not know, as a later one wrote it. A fold that meets it stops before it."""

    name: str
    v: int
    data: bytes


AnyFact: TypeAlias = (
    AgentRegistered
    | AgentAssigned
    | AgentStopped
    | AgentRestarted
    | AgentReset
    | AgentHealthChanged
    | WorkspaceClaimed
    | NodeJoined
    | NodeHeld
    | NodeResumed
    | NodeLeft
    | NodeLost
    | TaskDispatched
    | TaskCancelRequested
    | TaskRetried
    | TaskFinished
    | PermissionFact
    | RunReleased
    | RunStarted
    | RunSessionOpened
    | RunUsageReported
    | RunEnded
    | RunParked
    | StateSet
    | StateDeleted
    | LogFact
    | WorkflowStored
    | WorkflowDeleted
    | WorkflowSwitched
    | WorkflowRunStarted
    | WorkflowRunAdmitted
    | WorkflowRunPaused
    | WorkflowRunResumed
    | WorkflowRunEnding
    | WorkflowRunFinished
    | StepReadied
    | StepApproved
    | StepStarted
    | StepEnded
    | LoopTurned
    | HandlerCalled
    | WorkspaceArchiveWanted
    | WorkspaceArchived
    | WorkspaceRestoreWanted
    | WorkspaceReturned
    | AlertFact
    | FailsafeFact
    | ScheduleFact
    | NodeDrainBegun
    | NodeDrainEnded
    | NodeForgotten
    | ForwardFact
    | PartFact
    | SettingFact
    | Unrecognised
)

FACTS: dict[str, type[AnyFact]] = {
    "agent.registered": AgentRegistered,
    "agent.assigned": AgentAssigned,
    "agent.stopped": AgentStopped,
    "agent.restarted": AgentRestarted,
    "agent.reset": AgentReset,
    "agent.health_changed": AgentHealthChanged,
    "workspace.claimed": WorkspaceClaimed,
    "node.joined": NodeJoined,
    "node.held": NodeHeld,
    "node.resumed": NodeResumed,
    "node.left": NodeLeft,
    "node.lost": NodeLost,
    "task.dispatched": TaskDispatched,
    "task.cancel_requested": TaskCancelRequested,
    "task.retried": TaskRetried,
    "task.finished": TaskFinished,
    "run.released": RunReleased,
    "run.started": RunStarted,
    "run.session_opened": RunSessionOpened,
    "run.usage_reported": RunUsageReported,
    "run.ended": RunEnded,
    "run.parked": RunParked,
    "state.set": StateSet,
    "state.deleted": StateDeleted,
    **PERMISSION_FACTS,
    **LOG_FACTS,
    "workflow.stored": WorkflowStored,
    "workflow.deleted": WorkflowDeleted,
    "workflow.switched": WorkflowSwitched,
    "workflow_run.started": WorkflowRunStarted,
    "workflow_run.admitted": WorkflowRunAdmitted,
    "workflow_run.paused": WorkflowRunPaused,
    "workflow_run.resumed": WorkflowRunResumed,
    "workflow_run.ending": WorkflowRunEnding,
    "workflow_run.finished": WorkflowRunFinished,
    "workflow_step.readied": StepReadied,
    "workflow_step.approved": StepApproved,
    "workflow_step.started": StepStarted,
    "workflow_step.ended": StepEnded,
    "workflow_loop.turned": LoopTurned,
    "workflow_handler.called": HandlerCalled,
    "workspace.archive_wanted": WorkspaceArchiveWanted,
    "workspace.archived": WorkspaceArchived,
    "workspace.restore_wanted": WorkspaceRestoreWanted,
    "workspace.returned": WorkspaceReturned,
    **ALERT_FACTS,
    **FAILSAFE_FACTS,
    **SCHEDULE_FACTS,
    "node.drain_begun": NodeDrainBegun,
    "node.drain_ended": NodeDrainEnded,
    "node.forgotten": NodeForgotten,
    **FORWARD_FACTS,
    **PART_FACTS,
    **SETTING_FACTS,
}

NAMES: dict[type[AnyFact], str] = {fact: name for name, fact in FACTS.items()}

VERSIONS: dict[str, int] = {}


class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact in the log. seq: position, id and version at once; prev: the version of its subject before it.

    at: server time in ms, never going back. actor: who appended it. cause: the seq or the command that led to it.
    """

    seq: int
    subject: str
    at: int
    actor: str
    cause: str
    prev: int
    fact: AnyFact

    @property
    def type(self) -> str:
        """The name of the fact in the stream."""
        fact = self.fact
        return fact.name if isinstance(fact, Unrecognised) else NAMES[fact.__class__]


class NewEvent(msgspec.Struct, frozen=True):
    """A fact that is to be appended.

    expected: the version that its subject must have (0 or the floor for a new one), None to append at any version.
    Further events of the same subject in one append follow the first and carry None.
    """

    subject: str
    fact: AnyFact
    expected: int | None = None
