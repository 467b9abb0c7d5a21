"""The tasks that depend on a task and were skipped, as it or another of them did not complete; and their retry."""

from __future__ import annotations

from collections.abc import AsyncIterator

from maestro.model.dispatch import decide_retry_dependants, skipped_for
from maestro.model.events import NewEvent
from maestro.model.task import Task
from maestro.runtime.node.context import Call, Context

PAGE = 1000
GROUP_MAX = 500
"""How many tasks are retried by one append."""


class Skipped:
    """The dependants of one task that were skipped, in the order of their dispatch: dependencies come first."""

    def __init__(self, context: Context, task: str) -> None:
        self._context = context
        self._task = task
        self._again: dict[str, None] = {}  # those that were queued again here, whatever became of them since

    async def some(self) -> list[str]:
        """The ids of the first of them that a retry would not skip again; [] where there are none.

        Looks at `PAGE` skipped tasks at most: every retry asks.
        """
        async for page in self._pages():
            return [name(event) for event in (await self._decide(page))[0]]
        return []

    async def retry(self, call: Call) -> list[str]:
        """Queue all of them again, in order; the ids. Those that would be skipped once more are told, and left."""
        events: list[NewEvent] = []
        left: dict[str, str] = {}

        async def decision() -> list[NewEvent]:
            nonlocal events, left
            events, left = await self._decide([row async for page in self._pages() for row in page])
            events = [event for event in events if name(event) not in self._again][:GROUP_MAX]
            return events

        while await self._context.decide(call, decision) is not None:
            self._again.update(dict.fromkeys(map(name, events)))
        for task, why in left.items():
            if task not in self._again:
                await call.note(f"task {task} stays skipped: {why}", "warn")
        return list(self._again)

    async def _decide(self, rows: list[Task]) -> tuple[list[NewEvent], dict[str, str]]:
        """See `decide_retry_dependants`. rows: skipped tasks, in the order of their dispatch."""
        context = self._context
        still_open = context.daemon.follower.plan.tasks.values() if context.daemon else ()
        rows = sorted([*rows, *still_open], key=lambda row: row.position)
        found = skipped_for((self._task, *self._again), rows)
        ours = {self._task, *(row.id for row in found)}
        others = list(dict.fromkeys(name for row in found for name in row.depends_on if name not in ours))
        statuses = {}
        for start in range(0, len(others), PAGE):
            for other in await context.rows(context.views.tasks_named, others[start : start + PAGE]):
                if not other.open:
                    statuses[other.id] = other.status
        return decide_retry_dependants(self._task, found, statuses, await context.floor())

    async def _pages(self) -> AsyncIterator[list[Task]]:
        """All skipped tasks that were dispatched after the task, page by page."""
        context = self._context
        row = await context.row(context.views.task, self._task)
        after = 0 if row is None else row.position
        while True:
            page = await context.rows(context.views.tasks, status="skipped", since=after + 1, limit=PAGE, newest=False)
            if not page:
                return
            yield page
            after = page[-1].position


def name(event: NewEvent) -> str:
    """The id of the task that an event is about."""
    return event.subject.removeprefix("task:")
