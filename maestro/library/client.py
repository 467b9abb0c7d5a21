"""`connect`: Maestro for Python programs. Each call does what the command of its name does, and raises what that says.

Nothing is held open between calls: each has a connection of its own, so threads may share a client. Settings are those
of the environment, as for a command that is typed at that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from maestro import config
from maestro.library import exchange, requests
from maestro.library.options import DispatchOptions, ListOptions, Path, RestoreOptions, RunOptions, SnapshotOptions
from maestro.library.requests import Texts
from maestro.library.rows import Agent, Event, RestorePreview, Snapshot, StateKey, Task, WorkflowHeader, WorkflowRun

if TYPE_CHECKING:
    from maestro.library.async_client import AsyncMaestro


def connect() -> Maestro:
    """Maestro as the environment has it: `with connect() as maestro`, or `async with`, on trio or asyncio.

    Raises Invalid for a setting that is wrong. Nothing is started before the first call that needs it.
    """
    config.load()
    return Maestro()


class State:
    """The shared state: `maestro state`."""

    def get(self, key: str) -> str:
        """The value of a key. Raises NotFound."""
        return exchange.ask(requests.state_get(key))

    def set(self, key: str, value: str, ttl: str = "24h") -> StateKey:
        """Set a key. ttl: a duration such as `10m`; "0" keeps it."""
        return exchange.ask(requests.state_set(key, value, ttl))

    def list(self, prefix: str = "") -> list[StateKey]:
        """The keys that begin so, with their values."""
        return exchange.ask(requests.state_list(prefix))

    def delete(self, key: str) -> None:
        """Delete a key. Raises NotFound."""
        exchange.ask(requests.state_delete(key))


class Workflows:
    """Runs of workflows: `maestro workflow`."""

    def run(self, workflow: str, **options: Unpack[RunOptions]) -> WorkflowHeader:
        """Start a run, and return at once. Raises Invalid with the place, where a definition has an error."""
        return exchange.ask(requests.workflow_start(workflow, options))

    def status(self, run: str) -> WorkflowRun:
        """A run with its steps. run: its id, or a workflow, whose newest run is meant."""
        return exchange.ask(requests.workflow_status(run))

    def wait(self, run: str, timeout: float | None = None) -> WorkflowRun:
        """Wait for the end of a run. Raises TimedOut after so many seconds; it goes on."""
        return exchange.ask(requests.workflow_wait(run, timeout))

    def approve(self, run: str, step: str, reason: str = "") -> WorkflowHeader:
        """Approve a step that waits for that."""
        return exchange.ask(requests.workflow_answer(run, step, True, reason))

    def reject(self, run: str, step: str, reason: str = "") -> WorkflowHeader:
        """Reject a step that waits for an approval."""
        return exchange.ask(requests.workflow_answer(run, step, False, reason))


class Maestro:
    """What a program can do, each call as the command of its name. state, workflows: those of their groups."""

    def __init__(self) -> None:
        self.state = State()
        self.workflows = Workflows()

    def __enter__(self) -> Maestro:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> AsyncMaestro:
        from maestro.library.async_client import AsyncMaestro

        return AsyncMaestro()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Nothing is held open."""

    def dispatch(self, prompt: str, to: Texts, **options: Unpack[DispatchOptions]) -> Task:
        """Queue a task for agents, and return at once. prompt: as it is, no `@file` or `-`."""
        return exchange.ask(requests.dispatch(prompt, to, options))

    def wait(self, task: str, timeout: float | None = None) -> Task:
        """Wait for the end of a task, whatever that is. Raises TimedOut after so many seconds; it goes on."""
        return exchange.ask(requests.wait_one(task, timeout))

    def wait_all(self, tasks: Texts, timeout: float | None = None) -> list[Task]:
        """As `wait`, for the end of all; each is returned once, in their order."""
        return exchange.ask(requests.wait(tasks, timeout)) if tasks else []

    def result(self, task: str, agent: str | None = None) -> str:
        """The final text of a task's agent. Raises Refused while none has ended, Invalid where it must be named."""
        return exchange.ask(requests.result(task, agent))

    def results(self, task: str) -> dict[str, str]:
        """The final texts of a task's agents. Raises Refused while none has ended."""
        return exchange.ask(requests.results(task))

    def task(self, task: str) -> Task:
        """A task with its runs. Raises NotFound."""
        return exchange.ask(requests.task(task))

    def tasks(self, **options: Unpack[ListOptions]) -> list[Task]:
        """Tasks, newest first."""
        return exchange.ask(requests.tasks(options))

    def cancel(self, task: str, reason: str = "") -> Task:
        """End a task, with all processes of its runs."""
        return exchange.ask(requests.cancel(task, reason))

    def agents(self, status: str = "all") -> list[Agent]:
        """The agents."""
        return exchange.ask(requests.agents(status))

    def snapshot(self, workspaces: Texts = (), **options: Unpack[SnapshotOptions]) -> Snapshot:
        """Keep workspaces, all where none is named, and the log as they are now."""
        return exchange.ask(requests.snapshot(workspaces, options))

    def restore_dry_run(self, source: Path | None = None, **options: Unpack[RestoreOptions]) -> RestorePreview:
        """What a restore would change; nothing is changed."""
        return exchange.ask(requests.restore_preview(source, options))

    def events(
        self, after: int = 0, types: Texts = (), follow: bool = False, limit: int | None = None
    ) -> Iterator[Event]:
        """The events behind a position, in their order, as they are read. follow: go on as events come.

        Where the daemon ends, what is followed goes on behind the last event as soon as the next one is up; else that
        raises StoreAway. Raises VerificationFailed behind the last event that is as it was written, LineageBroken where
        the log is another one then.
        """
        done = yield from exchange.rows_of(requests.events(after, types, follow, limit).command)
        if done.exit_code:
            raise exchange.altered()
