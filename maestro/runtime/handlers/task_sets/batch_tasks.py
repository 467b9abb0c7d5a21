"""The tasks that the lines of a batch stand for: their keys and ids, and which of them are there already."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import trio

from maestro.model.dispatch import DispatchState, Members
from maestro.model.events import TaskDispatched
from maestro.model.task import Task
from maestro.runtime.handlers.dispatch import title_of
from maestro.runtime.handlers.task_sets.batch_lines import BatchFile, BatchLine
from maestro.runtime.node.context import Context
from maestro.runtime.node.ids import id_of_key
from maestro.runtime.restores.across.pending import pending_of

GROUP_MAX = 200
GROUP_BYTES = 1024 * 1024


class BatchTasks:
    """The tasks of a batch, a group of lines at a time. key: what the keys of lines without one begin with.

    lines_of: by key, the first line that has it; known for all lines that were read.
    """

    def __init__(self, context: Context, file: BatchFile, key: str) -> None:
        self.key = key
        self.lines_of: dict[str, int] = {}
        self.context = context
        self._file = file

    def rewind(self) -> None:
        """Begin with the first line again."""
        self._file.rewind()

    async def group(self) -> list[tuple[BatchLine, TaskDispatched]]:
        """The next lines, each with the event that dispatches its task, but for its prompt; [] at the end.

        Raises as `BatchFile.some`.
        """
        lines = await trio.to_thread.run_sync(self._file.some, GROUP_MAX, GROUP_BYTES)
        for line in lines:
            if line.key is not None:
                self.lines_of.setdefault(line.key, line.number)
        return [(line, self._task(line)) for line in lines]

    async def whole(self, line: BatchLine, task: TaskDispatched) -> TaskDispatched:
        """The event of a line with its prompt: the text, or the blob that holds it."""
        return msgspec.structs.replace(task, prompt=await self.context.keep(line.prompt))

    async def there(self, tasks: Sequence[TaskDispatched]) -> dict[str, Task]:
        """Those of the tasks that were dispatched before, by id."""
        rows = await self.context.rows(self.context.views.tasks_named, [task.task for task in tasks])
        return {row.id: row for row in rows}

    async def known(self, fresh: bool) -> tuple[DispatchState, Members]:
        """The agents and nodes: the newest, or as in the daemon's plan."""
        context = self.context
        if context.daemon is not None and not fresh:
            plan = context.daemon.follower.plan
            state = DispatchState(list(plan.agents.values()), nodes=plan.nodes, here=context.node, floor=plan.floor)
        else:
            nodes = {node.id: node for node in await context.rows(context.views.nodes)}
            agents = await context.agents()
            state = DispatchState(agents, nodes=nodes, here=context.node, floor=await context.floor())
        state = msgspec.structs.replace(state, pending=await pending_of(context, state.agents))
        return state, Members(state.agents, pending=state.pending)

    def is_earlier(self, name: str, line: BatchLine) -> bool:
        """Whether a dependency of a line is the key of an earlier one; else it is the id of a task."""
        return self.lines_of.get(name, line.number) < line.number

    def _task(self, line: BatchLine) -> TaskDispatched:
        key = f"{self.key}:{line.number}" if line.key is None else line.key
        return TaskDispatched(
            task=self._id(key),
            prompt="",
            title=title_of(line.prompt) if line.prompt.strip() else "",
            targets=tuple(line.to),
            depends_on=tuple(self._id(name) if self.is_earlier(name, line) else name for name in line.depends_on),
            priority=line.priority,
            timeout_s=line.timeout,
            retries=line.retries,
            key=key,
            trace=line.trace,
            forced=line.force,
            verify=line.verify,
            budget_tokens=line.budget_tokens,
            budget_cost=line.budget_cost,
        )

    def _id(self, key: str) -> str:
        return id_of_key(self.context.settings.namespace, key)


def row(line: BatchLine, task: TaskDispatched, there: bool) -> dict[str, object]:
    """The row of a line that is dispatched. there: whether it had been before."""
    return {
        "line": line.number,
        "id": task.task,
        "key": task.key,
        "title": task.title,
        "targets": task.targets,
        "depends_on": task.depends_on,
        "there": there,
    }
