"""The reservation of room on this node for a run, while its release and its start are on their way to the log."""

from __future__ import annotations

from collections.abc import Callable

import trio

from maestro.agents.launch import delivered
from maestro.model.agent import Agent
from maestro.model.errors import MaestroError
from maestro.model.events import RunReleased, TaskDispatched
from maestro.model.scheduling.sites import Site
from maestro.runtime.node.daemon_log import log
from maestro.runtime.worker.execution import Execution
from maestro.runtime.worker.preparation import place, start_of, workplace
from maestro.runtime.worker.run_services import RunServices
from maestro.runtime.worker.step_definitions import definition_for, prompt_of
from maestro.store.contract import WorkEntry
from maestro.workspaces import folders


class Reservation:
    """Room for one run: `Reserved` of `node/handover.py`. Raises Invalid where the ids of the run name no folder.

    fact: its release; who: its agent, and where that is to work. execute: has the worker execute the run. forget: has
    the worker forget it.
    """

    def __init__(
        self,
        services: RunServices,
        fact: RunReleased,
        who: tuple[Agent, Site],
        execute: Callable[[Execution], None],
        forget: Callable[[Execution], None],
    ) -> None:
        node = services.context.node
        agent, site = who
        self._folder = place(services.context.settings, agent, fact.task, fact.attempt)
        self._definitions, self._agent = services.definitions, agent
        self._execute = execute
        self._forget = forget
        # a task that is dispatched in the same append is ready since then
        ready_at = services.follower.plan.census.since(fact.task, fact.slot) or fact.decided_at
        task = services.follower.plan.tasks.get(fact.task)
        workspace = site.workspace or workplace(self._folder, node, task, fact.run)
        self.started = start_of(node, fact, fact.task, self._folder, workspace, ready_at)
        self.actor = services.actor
        self.execution = Execution(services, WorkEntry(node, "", fact.run, 0), reserved_for=(agent.id, site.owner))

    def begin(self, token: int) -> None:
        """Execute the run: the log has its release, at position `token`, and its start right behind it."""
        self.execution.begin(token)
        self._execute(self.execution)

    async def furnish(self, dispatched: TaskDispatched, prompt: str) -> None:
        """Make the folder of the run, with its prompt, while the log is asked."""
        for _ in range(2):
            await trio.lowlevel.checkpoint()  # what is appended goes to the store first
        if self.execution.furnished:
            return
        try:
            definition = definition_for(self._definitions.of(self._agent), dispatched)
            data = prompt_of(self._agent.id, dispatched, prompt.encode("utf-8", "surrogateescape"))
            data = delivered(definition, data)
            folders.create(self._folder, data)
            self.execution.furnished = True
        except MaestroError as error:  # made again, and told to the user, when the run is prepared
            log.debug("the folder of run %s: %s", self.execution.entry.run, error.line())

    def cancel(self) -> None:
        """Give the room back: the append was refused, or its outcome is unknown."""
        self.execution.leave()
        self._forget(self.execution)
