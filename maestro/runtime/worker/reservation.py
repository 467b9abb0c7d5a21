"""A run's room on this node while its release and its start are on their way to the log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import RunReleased
from maestro.runtime.worker.execution import Execution
from maestro.runtime.worker.preparation import place, start_of
from maestro.store.contract import WorkEntry
from maestro.workspaces import folders

if TYPE_CHECKING:
    from maestro.runtime.worker.worker import Worker


class Reservation:
    """As `scheduling.Reserved`. Raises Invalid where its ids name no folder."""

    def __init__(self, worker: Worker, fact: RunReleased, agent: Agent, nursery: trio.Nursery) -> None:
        self._folder = place(worker.context.settings, agent, fact.task, fact.attempt)
        node = worker.context.node
        self.started = start_of(node, fact, fact.task, agent, self._folder)
        self._nursery = nursery
        self.actor = worker.actor
        self._worker = worker
        self._running = Execution(worker, WorkEntry(node, "", fact.run, 0))
        self._running.reserve(agent.id)
        worker.runs[fact.run] = self._running

    def begin(self, token: int) -> None:
        """The log has both, the release at this position."""
        self._running.has_begun(token)
        self._nursery.start_soon(self._worker.execute, self._running)

    async def furnish(self, prompt: str) -> None:
        """Make the run's folder while the log is asked. What hinders that is told when the run is prepared."""
        for _ in range(2):
            await trio.lowlevel.checkpoint()  # what is appended goes to the store first
        if not self._running.furnished:
            with contextlib.suppress(MaestroError):
                folders.create(self._folder, prompt.encode("utf-8", "surrogateescape"))
                self._running.furnished = True

    def cancel(self) -> None:
        """It has neither."""
        self._running.through_the_door()
        self._worker.forget(self._running)
