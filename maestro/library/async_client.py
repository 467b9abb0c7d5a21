"""`async with connect()`: as `client.py`, for trio and asyncio. A call that is cancelled ends its command."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Unpack

from maestro.library import async_exchange, exchange, requests
from maestro.library.options import DispatchOptions, ListOptions, Path, RestoreOptions, RunOptions, SnapshotOptions
from maestro.library.requests import Texts
from maestro.library.rows import Agent, Event, RestorePreview, Snapshot, StateKey, Task, WorkflowHeader, WorkflowRun
from maestro.runtime.protocol import messages as p


class AsyncState:
    """The shared state: `maestro state`."""

    async def get(self, key: str) -> str:
        """The value of a key. Raises NotFound."""
        return await async_exchange.ask(requests.state_get(key))

    async def set(self, key: str, value: str, ttl: str = "24h") -> StateKey:
        """Set a key. ttl: a duration such as `10m`; "0" keeps it."""
        return await async_exchange.ask(requests.state_set(key, value, ttl))

    async def list(self, prefix: str = "") -> list[StateKey]:
        """The keys that begin so, with their values."""
        return await async_exchange.ask(requests.state_list(prefix))

    async def delete(self, key: str) -> None:
        """Delete a key. Raises NotFound."""
        await async_exchange.ask(requests.state_delete(key))


class AsyncWorkflows:
    """Runs of workflows: `maestro workflow`."""

    async def run(self, workflow: str, **options: Unpack[RunOptions]) -> WorkflowHeader:
        """Start a run, and return at once. Raises Invalid with the place, where a definition has an error."""
        return await async_exchange.ask(requests.workflow_start(workflow, options))

    async def status(self, run: str) -> WorkflowRun:
        """A run with its steps. run: its id, or a workflow, whose newest run is meant."""
        return await async_exchange.ask(requests.workflow_status(run))

    async def wait(self, run: str, timeout: float | None = None) -> WorkflowRun:
        """Wait for the end of a run. Raises TimedOut after so many seconds; it goes on."""
        return await async_exchange.ask(requests.workflow_wait(run, timeout))

    async def approve(self, run: str, step: str, reason: str = "") -> WorkflowHeader:
        """Approve a step that waits for that."""
        return await async_exchange.ask(requests.workflow_answer(run, step, True, reason))

    async def reject(self, run: str, step: str, reason: str = "") -> WorkflowHeader:
        """Reject a step that waits for an approval."""
        return await async_exchange.ask(requests.workflow_answer(run, step, False, reason))


class AsyncMaestro:
    """What a program can do, each call as the command of its name. state, workflows: those of their groups."""

    def __init__(self) -> None:
        self.state = AsyncState()
        self.workflows = AsyncWorkflows()

    async def dispatch(self, prompt: str, to: Texts, **options: Unpack[DispatchOptions]) -> Task:
        """Queue a task for agents, and return at once. prompt: as it is, no `@file` or `-`."""
        return await async_exchange.ask(requests.dispatch(prompt, to, options))

    async def wait(self, task: str, timeout: float | None = None) -> Task:
        """Wait for the end of a task, whatever that is. Raises TimedOut after so many seconds; it goes on."""
        return await async_exchange.ask(requests.wait_one(task, timeout))

    async def wait_all(self, tasks: Texts, timeout: float | None = None) -> list[Task]:
        """As `wait`, for the end of all; each is returned once, in their order."""
        return await async_exchange.ask(requests.wait(tasks, timeout)) if tasks else []

    async def result(self, task: str, agent: str | None = None) -> str:
        """The final text of a task's agent. Raises Refused while none has ended, Invalid where it must be named."""
        return await async_exchange.ask(requests.result(task, agent))

    async def results(self, task: str) -> dict[str, str]:
        """The final texts of a task's agents. Raises Refused while none has ended."""
        return await async_exchange.ask(requests.results(task))

    async def task(self, task: str) -> Task:
        """A task with its runs. Raises NotFound."""
        return await async_exchange.ask(requests.task(task))

    async def tasks(self, **options: Unpack[ListOptions]) -> list[Task]:
        """Tasks, newest first."""
        return await async_exchange.ask(requests.tasks(options))

    async def cancel(self, task: str, reason: str = "") -> Task:
        """End a task, with all processes of its runs."""
        return await async_exchange.ask(requests.cancel(task, reason))

    async def agents(self, status: str = "all") -> list[Agent]:
        """The agents."""
        return await async_exchange.ask(requests.agents(status))

    async def snapshot(self, workspaces: Texts = (), **options: Unpack[SnapshotOptions]) -> Snapshot:
        """Keep workspaces, all where none is named, and the log as they are now."""
        return await async_exchange.ask(requests.snapshot(workspaces, options))

    async def restore_dry_run(self, source: Path | None = None, **options: Unpack[RestoreOptions]) -> RestorePreview:
        """What a restore would change; nothing is changed."""
        return await async_exchange.ask(requests.restore_preview(source, options))

    async def events(
        self, after: int = 0, types: Texts = (), follow: bool = False, limit: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """The events behind a position, in their order, as they are read. follow: go on as events come.

        Where the daemon ends, what is followed goes on behind the last event as soon as the next one is up; else that
        raises StoreAway. Raises VerificationFailed behind the last event that is as it was written, LineageBroken where
        the log is another one then.
        """
        stream = async_exchange.frames_of(requests.events(after, types, follow, limit).command)
        async with aclosing(stream):
            async for each in stream:
                if isinstance(each, p.Item):
                    yield each.data
                elif each.exit_code:
                    raise exchange.altered()
