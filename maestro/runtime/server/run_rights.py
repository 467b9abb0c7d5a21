"""What a process inside a run may send to its daemon: commands on the state, and on the tasks of its own."""

from __future__ import annotations

from maestro.model.errors import Refused
from maestro.model.ids import task_of_run
from maestro.model.scheduling.delegation import NUMBER_MAX
from maestro.model.state import check_own
from maestro.runtime.node.ids import id_of_delegated
from maestro.runtime.protocol import messages as p

UNKNOWN_RUN = "?"
"""Stands for the run of a process that is inside one, and has come by the daemon's socket."""


def check_rights(namespace: str, run: str, command: p.Command) -> None:
    """Check that a process of this run may send this command. Raises Refused.

    Whether the run may dispatch what it asks for, the decision says (`model/scheduling/delegation.py`).
    """
    if isinstance(command, p.StateSet | p.StateDelete):
        check_own(command.key, task_of_run(run))
    if isinstance(command, p.INSIDE_RUN):
        return
    if not isinstance(command, p.DELEGATING):
        raise Refused("a process inside a run may use `state` only", mend="run this from outside the agent")
    if run == UNKNOWN_RUN:
        what = "this process has dropped MAESTRO_RUN_SOCKET from its environment, and may use `state` only"
        raise Refused(what, mend="pass that variable on: programs that start MCP servers have a setting for it")
    named = _named(command)
    if named is None:
        return
    own = {id_of_delegated(namespace, run, number) for number in range(1, NUMBER_MAX + 1)}
    if not named or not own.issuperset(named):
        what = "a process inside a run may look at the tasks only that this run has dispatched"
        raise Refused(what, mend="name one by the whole id that its dispatch answered")


def _named(command: p.Command) -> list[str] | None:
    """The tasks that a command names; None for a dispatch, which names none."""
    if isinstance(command, p.TaskWait):
        return command.ids
    if isinstance(command, p.TaskStatus):
        return [command.id] if command.id and not (command.last or command.agent) else []
    return None
