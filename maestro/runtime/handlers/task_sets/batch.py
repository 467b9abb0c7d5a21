"""The handler of `task dispatch --batch`: a file of tasks, checked as a whole, then dispatched in groups.

What is kept of the whole file is the keys of its lines; prompts are read again, group by group. Every line has a key:
its own, or one made of the batch and its number; so a batch that was broken off is given again, and is finished.
"""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.model.coordination.awaited_nodes import nodes_to_start, told_to_start
from maestro.model.dispatch import DispatchState, Members, decide_batch
from maestro.model.errors import MaestroError, Unknown
from maestro.model.events import NewEvent, TaskDispatched
from maestro.model.ids import check_text
from maestro.model.target import who
from maestro.model.task import Task
from maestro.runtime.handlers.dispatch import first_use, tell_unlabelled
from maestro.runtime.handlers.task_sets.batch_check import BatchCheck
from maestro.runtime.handlers.task_sets.batch_lines import BatchFile
from maestro.runtime.handlers.task_sets.batch_tasks import BatchTasks, row
from maestro.runtime.node.context import Call, Handler
from maestro.runtime.protocol import messages as p

AGAIN = "the same batch again dispatches the rest"


async def dispatch_batch(call: Call, command: p.TaskBatch) -> p.Done:
    """Check every line, then dispatch all. Raises as `BatchCheck.run`, once all that is wrong was told."""
    file = await trio.to_thread.run_sync(BatchFile, command.path, command.name)
    try:
        if command.spooled:
            Path(command.path).unlink(missing_ok=True)
        if command.key:
            check_text(command.key, "batch key")
        key = command.key or f"batch-{await trio.to_thread.run_sync(file.digest)}"
        tasks = BatchTasks(call.context, file, key)
        dispatching = _Dispatching(call, tasks)
        call.when_interrupted(dispatching.interrupted)
        dispatching.count = await BatchCheck(call, tasks, command).run()
        await dispatching.run()
        if dispatching.there:
            new = "" if command.key else "; --batch-key NAME makes lines without a key new tasks"
            what = f"{dispatching.there} of {dispatching.count} tasks had been dispatched before"
            await call.note(f"{command.name}: {what}{new}")
        return p.Done()
    finally:
        file.close()


class _Dispatching:
    """The appends of a batch that was found to be right. count: its lines; there: those that were there before."""

    def __init__(self, call: Call, tasks: BatchTasks) -> None:
        self.count = self.there = 0
        self._call = call
        self._tasks = tasks
        self._done = 0
        self._warned: set[str] = set()

    async def interrupted(self) -> str:
        """What Ctrl-C leaves behind, in words."""
        if not self._done:
            return "interrupted; nothing was dispatched"
        return f"interrupted; {self._done} of {self.count} tasks are dispatched: {AGAIN}"

    async def run(self) -> None:
        """Dispatch all lines that are not dispatched yet, in groups; a row for each line."""
        self._tasks.rewind()
        while group := await self._tasks.group():
            try:
                there, state = await self._append([await self._tasks.whole(line, task) for line, task in group])
            except MaestroError as error:
                if not isinstance(error, Unknown):
                    error.what = f"{self._done} of {self.count} tasks are dispatched, then: {error.what}"
                    error.mend = f"{error.mend}; {AGAIN}" if error.mend else AGAIN
                raise
            self._done += len(group)
            self.there += len(there)
            for line, task in group:
                await self._warn(task, state)
                await self._call.item(row(line, task, task.task in there))
            await self._call.note(f"{self._done} of {self.count} tasks dispatched", "progress")

    async def _append(self, tasks: list[TaskDispatched]) -> tuple[dict[str, Task], DispatchState]:
        """Append a group at once; those of it that are there already, and what was known."""
        there: dict[str, Task] = {}
        state = DispatchState([])

        async def decision(fresh: bool) -> list[NewEvent]:
            nonlocal there, state
            there = await self._tasks.there(tasks)
            new = [task for task in tasks if task.task not in there]
            state, members = await self._tasks.known(fresh)
            unknown = dict.fromkeys(name for task in new for name in task.targets if who(name) not in members.of)
            agents = {agent.id: agent for agent in state.agents}
            first = await first_use(self._call, list(unknown), agents, state.floor) if unknown else []
            return first + decide_batch(
                new, Members(agents.values(), pending=state.pending) if first else members, state
            )

        async def attempt() -> list[NewEvent]:
            try:
                return await decision(fresh=False)
            except MaestroError:  # the plan may be behind the log: the newest state has the last word
                return await decision(fresh=True)

        await self._call.context.decide(self._call, attempt)
        return there, state

    async def _warn(self, task: TaskDispatched, state: DispatchState) -> None:
        """Say what a task waits for where the nodes of its agents are down, or lack labels; once for each target."""
        if self._warned.issuperset(task.targets):
            return
        for target, nodes in nodes_to_start(task, state).items():
            if target not in self._warned:
                await self._call.note(told_to_start(target, nodes, state.nodes), "warn")
        await tell_unlabelled(self._call, [name for name in task.targets if name not in self._warned], state)
        self._warned.update(task.targets)


HANDLERS: dict[type[p.Command], Handler] = {p.TaskBatch: dispatch_batch}
