"""The check of a batch: all that is wrong with any of its lines is told before the first of them is dispatched."""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.dispatch import Members, differences, field_errors
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused
from maestro.model.events import TaskDispatched
from maestro.model.ids import shown
from maestro.model.task import Task
from maestro.runtime.handlers.dispatch import checked_prompt, first_use, look_at, other_task, targets_here
from maestro.runtime.handlers.task_sets.batch_lines import BatchLine
from maestro.runtime.handlers.task_sets.batch_tasks import BatchTasks
from maestro.runtime.node.context import Call
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.likeness import propose

PAGE = 1000

Group = Sequence[tuple[BatchLine, TaskDispatched]]


class BatchCheck:
    """The check of one batch."""

    def __init__(self, call: Call, tasks: BatchTasks, command: p.TaskBatch) -> None:
        self._call = call
        self._tasks = tasks
        self._command = command
        self._name = command.name
        self._strict = command.strict_key  # a key that stands for another task is an error
        self._wrong = self._other = 0
        self._members = Members([])
        self._looked_at: set[str] = set()
        self._types: dict[str, str] = {}  # target that nobody is -> what is wrong with it as a type, "" for nothing
        self._unknown: dict[str, list[int]] = {}  # dependency that is no key of an earlier line -> lines

    async def run(self) -> int:
        """Check all lines; how many there are.

        Raises Invalid where something is wrong; Refused where all that is wrong is that keys stand for other tasks.
        """
        count = 0
        self._tasks.rewind()
        while group := await self._tasks.group():
            there = await self._tasks.there([task for _, task in group])
            await self._look_at([target for _, task in group for target in task.targets])
            for line, task in group:
                await self._check(line, task, task.task in there)
            await self._check_keys(group, there)
            count += len(group)
            await self._call.note(f"{self._name}: {count} tasks checked", "progress")
        await self._check_dependencies()
        if self._wrong:
            what = f"{self._wrong} error{'' if self._wrong == 1 else 's'}, so nothing was dispatched"
            raise Invalid(what, self._name, "mend these lines and give it again")
        if self._other:
            what = f"{self._other} key{' stands for another task' if self._other == 1 else 's stand for other tasks'}"
            raise Refused(f"{what}, so nothing was dispatched", self._name, "use another key for another task")
        if not count:
            raise Invalid("no task in it", self._name, 'write a line as {"prompt": "…", "to": "…"}')
        return count

    async def _tell(self, number: int, text: str) -> None:
        self._wrong += 1
        await self._call.item({"line": number, "error": text})

    async def _look_at(self, targets: Sequence[str]) -> None:
        """Examine the agents of these targets, where that has not been done, and know who they are now."""
        new = dict.fromkeys(target for target in targets if target not in self._looked_at)
        if new:
            self._looked_at.update(new)
            await look_at(self._call, await targets_here(self._call.context, list(new)))
            _, self._members = await self._tasks.known(fresh=True)

    async def _check(self, line: BatchLine, task: TaskDispatched, there: bool) -> None:
        """Tell what is wrong with a line by itself, and with its targets unless its task is there already."""
        errors = list(line.errors)
        if not line.broken and not any(text.startswith("prompt") for text in errors):
            try:
                checked_prompt(line.prompt)
            except Invalid as error:
                errors.append(error.line())
        wrong = [error.line() for error in field_errors(task) if task.targets or "targets" not in error.what]
        first = line.number if line.key is None else self._tasks.lines_of[line.key]
        if first != line.number:
            wrong.append(f"the key {shown(task.key or '')} is that of line {first} already")
        elif line.key is not None and line.key.startswith(f"{self._tasks.key}:"):
            wrong.append(f"the key {shown(line.key)} is as those of lines that have none; use another")
        for name in line.depends_on:
            if not self._tasks.is_earlier(name, line):
                self._unknown.setdefault(name, []).append(line.number)
        for target in () if there or wrong else task.targets:
            wrong += await self._check_target(target, task.forced)
        for text in (*errors, *wrong):
            await self._tell(line.number, text)

    async def _check_target(self, target: str, forced: bool) -> list[str]:
        """What is wrong with a target: nothing, too, with a type that registers itself on first use."""
        try:
            self._members.able(target, forced)
        except NotFound as error:
            if target not in self._types:
                try:
                    registers = await first_use(self._call, [target], {}, 0)
                    self._types[target] = "" if registers else error.line()
                except MaestroError as other:
                    await propose(self._call.context, other, self._command)
                    self._types[target] = other.line()
            return [self._types[target]] if self._types[target] else []
        except MaestroError as error:
            return [error.line()]
        return []

    async def _check_keys(self, group: Group, there: dict[str, Task]) -> None:
        """Tell which keys stand for tasks that differ from their lines: as they were dispatched, by the log."""
        before: dict[int, object] = {}
        left = sorted(row.position for row in there.values())
        log = self._call.context.store.log
        while left:
            many = len(left) > 1 and left[1] < left[0] + PAGE
            events = await self._call.context.call(log.read, left[0] - 1, PAGE if many else 1)
            before |= {event.seq: event.fact for event in events}
            left = [position for position in left if events and position > events[-1].seq]
        for line, task in group:
            fact = before.get(there[task.task].position) if task.task in there else None
            if line.errors or not isinstance(fact, TaskDispatched):
                continue
            if differs := differences(await self._tasks.whole(line, task), fact):
                text = other_task(task.key or "", task.task, differs)
                self._other += 1 if self._strict else 0
                if self._strict:
                    await self._call.item({"line": line.number, "error": text})
                else:
                    await self._call.note(f"{self._name}:{line.number}: {text}; that one stands", "warn")

    async def _check_dependencies(self) -> None:
        """Tell which dependencies are neither the key of an earlier line nor a task."""
        names, context = list(self._unknown), self._call.context
        known: set[str] = set()
        for start in range(0, len(names), PAGE):
            rows = await context.rows(context.views.tasks_named, names[start : start + PAGE])
            known.update(row.id for row in rows)
        for name in names:
            for number in () if name in known else self._unknown[name]:
                at = self._tasks.lines_of.get(name)
                why = f"{shown(name)} is the key of line {at}, which comes no earlier" if at else ""
                why = why or f"there is no task {shown(name)}, and no earlier line has that key"
                await self._tell(number, f"depends_on: {why}")
