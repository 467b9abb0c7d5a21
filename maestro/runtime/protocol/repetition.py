"""Advice for the user on repeating a command whose outcome is unknown.

Standard library and the protocol only: a command line imports it when it has lost its server.
"""

from __future__ import annotations

from maestro.runtime.protocol import messages as p

SAFE = "repeat it, which is safe"
AGAIN = "try again"
"""For commands that do nothing but read, or wait."""
_SAFE: tuple[type[p.Command], ...] = (
    p.StateSet,
    p.StateDelete,
    p.StatePin,
    p.TaskBatch,
    p.TaskCancel,
    p.TaskAnswer,
    p.RunAsk,
    p.AgentAssign,
    p.AgentRegister,
    p.AgentHealth,
    p.AgentStop,
    p.AgentRestart,
    p.Up,
    p.NodeDrain,
    p.NodeForget,
    p.Shutdown,
    p.WorkflowAnswer,
    p.WorkflowPause,
    p.WorkflowStop,
    p.WorkflowCreate,
    p.WorkflowDelete,
    p.WorkflowSwitch,
    p.AlertAcknowledge,
    p.AlertSnooze,
    p.DeliveryReport,
    p.DeliveryResend,
    p.ScheduleAdd,
    p.ScheduleRemove,
    p.ScheduleSwitch,
    p.SettingSet,
    p.Fork,
)
"""Commands that have the same effect when repeated, or are refused the second time."""
_LOOK: dict[type[p.Command], str] = {
    p.TaskRetry: "maestro task status",
    p.AgentReset: "maestro agent list",
    p.WorkspaceClean: "maestro workspace list",
    p.StateSnapshot: "maestro state snapshots",
    p.StateRestore: "maestro audit",
    p.RestoreLoad: "maestro audit",
    p.AgentsPutBack: "maestro agent list",
    p.AgentMove: "maestro agent list",
    p.RedisFlush: "maestro doctor",
    p.WorkflowResume: "maestro workflow status",
    p.ScheduleRun: "maestro schedule list",
}
"""For commands that do more when repeated: the command that shows whether the first try took effect."""


def how_to_repeat(command: p.Command) -> str:
    """The advice for one command."""
    if isinstance(command, p.TaskDispatch) and command.key is not None:
        return f"repeat it with --key {command.key}, which gives the same task and never a second one"
    if isinstance(command, p.WorkflowStart):
        return f"repeat it with --key {command.key}, which gives the same run and never a second one"
    if isinstance(command, _SAFE):
        return SAFE
    look = _LOOK.get(type(command))
    if look is None and not isinstance(command, p.TaskDispatch):
        return AGAIN
    return f"see whether it took effect before you repeat it: {look or 'maestro task list'}"
