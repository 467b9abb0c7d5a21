"""Repeating a command whose outcome is unknown: how that is safe, in words for the user.

Stdlib and the protocol only: a command line imports it where its server was lost.
"""

from __future__ import annotations

from maestro.runtime.protocol import messages as p

SAFE = "repeat it, which is safe"
_SAFE: tuple[type[p.Command], ...] = (
    p.StateSet,
    p.StateDelete,
    p.StatePin,
    p.TaskCancel,
    p.AgentAssign,
    p.AgentRegister,
    p.AgentHealth,
    p.AgentStop,
    p.AgentRestart,
    p.Up,
    p.Shutdown,
)
"""What is the same done twice, or is refused the second time."""
_LOOK: dict[type[p.Command], str] = {
    p.TaskRetry: "maestro task status",
    p.AgentReset: "maestro agent list",
    p.WorkspaceClean: "maestro workspace list",
    p.StateSnapshot: "maestro state snapshots",
    p.StateRestore: "maestro audit",
    p.RestoreLoad: "maestro audit",
    p.AgentsPutBack: "maestro agent list",
    p.RedisFlush: "maestro doctor",
}
"""What shows whether it took effect, for those that do more the second time."""


def how_to_repeat(command: p.Command) -> str:
    """What to do where nobody knows whether a command took effect."""
    if isinstance(command, p.TaskDispatch) and command.key is not None:
        return f"repeat it with --key {command.key}, which gives the same task and never a second one"
    if isinstance(command, _SAFE):
        return SAFE
    look = _LOOK.get(type(command))
    if look is None and not isinstance(command, p.TaskDispatch):
        return "try again"
    return f"see whether it took effect before you repeat it: {look or 'maestro task list'}"
