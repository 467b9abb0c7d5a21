"""The handover of runs between the scheduler and the worker of one node, which may not import each other.

A release, a start, or the end of a task that follows at once from what is being appended goes into the same append
instead of a turn of the log for each. The scheduler asks the worker for room (`Rooms`), the worker asks the scheduler
for what ends with a run (`TaskEnds`). Where either answers None, or the log refuses the merged append, the plain one is
made, and the run goes the way of every other: a hint in a work stream, a decision when the scheduler reads the end.
"""

from __future__ import annotations

from typing import Protocol

from maestro.model.agent import Agent
from maestro.model.events import RunEnded, RunReleased, RunStarted, TaskDispatched
from maestro.store.contract import Append


class Reserved(Protocol):
    """Room on this node for a run whose release is about to be appended. Call `begin` or `cancel`, once.

    started: the event of its start, to be appended behind the release. actor: who appends that event.
    """

    started: RunStarted
    actor: str

    def begin(self, token: int) -> None:
        """Execute the run: the log has its release, at position `token`, and its start right behind it."""

    def cancel(self) -> None:
        """Give the room back: the append was refused, or its outcome is unknown."""


class Rooms(Protocol):
    """What the scheduler asks of the worker of its node."""

    def reserve(self, fact: RunReleased, dispatched: TaskDispatched | None) -> Reserved | None:
        """Room for a run that is about to be released; None where it must wait for a hint, as it is another node's.

        dispatched: how its task was dispatched, where that is in the same append; None to have it looked up.
        """


class TaskEnds(Protocol):
    """What the worker asks of the scheduler of its node."""

    def with_task_end(self, append: Append) -> Append | None:
        """The append, whose last event ends a run, with the end of the task behind it.

        None where the task has not ended with that run, where that cannot be known, or where another node decides it.
        """


class Failsafe(Protocol):
    """What the worker asks of failsafe mode, which lies above it: it archives workspaces and has them go back."""

    def wants(self, owner: Agent) -> bool:
        """Whether runs in the workspace of this agent are guarded."""

    async def guard(self, owner: Agent, task: str, run: str) -> None:
        """Archive a workspace before a run, and record that; the run may start then.

        Raises Torn where somebody writes there all the time, other MaestroErrors where it cannot be guarded.
        """

    async def settle(self, owner: str, fact: RunEnded, ended_at: int) -> bool:
        """Have a workspace go back after a run that ended so, or record why it does not, and hold its agent.

        ended_at: when the last process of the run was dead, Unix ns, 0 where that is not known. False where nothing has
        to go back, nor will: it is to be recorded with the end of the run.
        """
