"""Runs that have ended in a workspace since it was archived before a step: what they did would be lost."""

from __future__ import annotations

from collections.abc import Collection

from maestro.model.events import RunStarted, WorkflowRunStarted, WorkspaceRestoreWanted
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.node.context import Context
from maestro.store.contract import Store


async def bystander(context: Context, wish: WorkspaceRestoreWanted, position: int) -> str:
    """A run that worked in the workspace since a position, and whose work a restore would lose; "" for none.

    Not so are earlier attempts of the instance itself, and, where its run has resumed another one, what runs again.
    """
    head = await context.call(context.store.log.head)
    started = await context.call(_started_in, context.store, (context.node, wish.workspace), position, head.seq)
    if not started:
        return ""
    again = await _Again.of(context, wish)
    for fact in started:
        if not await again.has(fact.task):
            return fact.run
    return ""


def _started_in(store: Store, place: tuple[str, str], after: int, upto: int) -> list[RunStarted]:
    found: dict[str, RunStarted] = {}
    for events in store.log.scan(after, upto):
        for event in events:
            fact = event.fact
            if isinstance(fact, RunStarted) and (fact.node, fact.workspace) == place:
                found.setdefault(fact.task, fact)
    return list(found.values())


class _Again:
    """What runs again because of the run of a wish: of the runs that it has resumed, all that it does not reuse."""

    def __init__(self, context: Context, wish: WorkspaceRestoreWanted, earlier: Collection[str], reused: set[str]):
        self._context = context
        self._wish = wish
        self._earlier = earlier
        self._reused = reused

    @classmethod
    async def of(cls, context: Context, wish: WorkspaceRestoreWanted) -> _Again:
        top, _ = await _topmost(context, wish.run, wish.instance)
        event = await context.call(context.store.log.event, top.position) if top is not None else None
        reused = set(event.fact.reused) if event is not None and isinstance(event.fact, WorkflowRunStarted) else set()
        earlier: list[str] = []
        row = top
        while row is not None and row.resumed_from and row.resumed_from not in earlier:
            earlier.append(row.resumed_from)
            row = await context.row(context.views.workflow_run, earlier[-1])
        return cls(context, wish, earlier, reused)

    async def has(self, task: str) -> bool:
        """Whether the work of a task is done again."""
        row = await self._context.row(self._context.views.task, task)
        if row is None or not row.workflow:
            return False
        if (row.workflow, row.step) == (self._wish.run, self._wish.instance):
            return True
        top, instance = await _topmost(self._context, row.workflow, row.step)
        return top is not None and top.id in self._earlier and instance not in self._reused


async def _topmost(context: Context, run: str, instance: str) -> tuple[RunHeader | None, str]:
    """The run that nobody is the parent of, above a run of a workflow, and the instance in it."""
    row = await context.row(context.views.workflow_run, run)
    while row is not None and row.parent:
        instance = row.instance
        row = await context.row(context.views.workflow_run, row.parent)
    return row, instance
