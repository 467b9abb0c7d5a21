"""All that recurs in a namespace: schedules of commands, and those of the stored workflows, as one list.

Due times count from when a schedule was added, changed or switched on, and from the last restore. A workflow's row does
not say when it was switched: the time of its last event does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.documents.recurrence import due_between, next_due
from maestro.model.errors import Invalid, NotFound
from maestro.model.events import Text
from maestro.model.schedules.commands import parts_of
from maestro.model.schedules.recurring import Came, Recurring
from maestro.model.schedules.schedule import Firing, Schedule
from maestro.model.workflow.definition import Workflow
from maestro.model.workflow.stored_workflow import StoredWorkflow
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.read_context import ReadContext

KEPT_MAX = 10_000
_definitions = msgspec.json.Decoder(Workflow)


class Scheduled(msgspec.Struct, frozen=True):
    """A schedule, and what it does. command: in words; request: as in `ScheduleAdded`, "" for a workflow's own.

    version: seq of the last event of the schedule, or of its workflow; params: of the run of a workflow's own.
    """

    recurring: Recurring
    version: int
    enabled: bool
    command: tuple[str, ...]
    request: Text = ""
    cwd: str = "/"
    node: str = ""
    workflow: str = ""
    params: dict[str, Any] = {}

    @property
    def id(self) -> str:
        """The name of the schedule, or `<workflow>#<n>`."""
        return self.recurring.id


class Schedules:
    """The schedules of one store. What never changes of the log is read once."""

    def __init__(self, context: ReadContext) -> None:
        self._context = context
        self._times: dict[int, int] = {0: 0}
        self._workflows: dict[int, Workflow] = {}

    async def all(self) -> list[Scheduled]:
        """All schedules, those that are switched off too."""
        context = self._context
        restored_at = await self.restored_at()
        found = [_of_command(row, restored_at) for row in await context.rows(context.views.schedules)]
        for row in await context.rows(context.views.workflows):
            if row.newest.schedules:
                found += await self._of_workflow(row, restored_at)
        return found

    async def one(self, id: str) -> Scheduled | None:
        """One schedule, None where there is none."""
        context = self._context
        workflow, number = parts_of(id)
        if number is None:
            row = await context.row(context.views.schedule, id)
            return None if row is None else _of_command(row, await self.restored_at())
        stored = await context.row(context.views.workflow, workflow)
        if stored is None or stored.deleted or not stored.newest.schedules:
            return None
        found = await self._of_workflow(stored, await self.restored_at())
        return next((one for one in found if one.id == id), None)

    async def restored_at(self) -> int:
        """When the log was restored last, server ms; 0 for never."""
        return await self._time(await self._context.floor())

    async def _time(self, seq: int) -> int:
        if seq not in self._times:
            event = await self._context.call(self._context.store.log.event, seq)
            if len(self._times) > KEPT_MAX:
                self._times = {0: 0}
            self._times[seq] = event.at if event is not None else 0
        return self._times[seq]

    async def _of_workflow(self, row: StoredWorkflow, restored_at: int) -> list[Scheduled]:
        workflow = await self._definition(row.newest.position)
        since = max(await self._time(row.seq), row.newest.at, restored_at)
        return [
            Scheduled(
                Recurring(f"{row.id}#{number}", one.cron, one.tz, one.missed, since),
                row.seq,
                row.enabled,
                ("workflow", "run", row.id, *(f"--param={name}={value}" for name, value in one.params.items())),
                workflow=row.id,
                params=dict(one.params),
            )
            for number, one in enumerate(workflow.schedules if workflow is not None else ())
        ]

    async def _definition(self, position: int) -> Workflow | None:
        if position not in self._workflows:
            event = await self._context.call(self._context.store.log.event, position)
            definition: Text | None = getattr(event.fact, "definition", None) if event is not None else None
            if definition is None:
                return None
            if len(self._workflows) > KEPT_MAX:
                self._workflows.clear()
            try:
                self._workflows[position] = _definitions.decode(await self._context.text(definition))
            except (NotFound, msgspec.DecodeError) as error:  # the schedules of others go on
                seldom.warn(f"schedules of the workflow stored by event {position}", str(error))
                return None
        return self._workflows[position]


def _of_command(row: Schedule, restored_at: int) -> Scheduled:
    since = max(row.added_at, row.switched_at, restored_at)
    recurring = Recurring(row.name, row.cron, row.tz, row.missed, since)
    return Scheduled(recurring, row.version, row.enabled, tuple(row.command), row.request, row.cwd, row.node)


def come(recurring: Recurring, firing: Firing | None, now: int) -> Came | None:
    """The due times that have come and were not decided on. It takes long where many have. Raises Invalid."""
    due = due_between(recurring.cron, recurring.tz, recurring.after(firing), now)
    return Came(due.latest, due.count) if due is not None else None


def ahead(recurring: Recurring, firing: Firing | None, now: int) -> int | None:
    """The next due time that will come, server ms; None for none, or where this machine cannot read it."""
    try:
        return next_due(recurring.cron, recurring.tz, max(now, recurring.after(firing)))
    except Invalid as error:
        seldom.warn(f"schedule {recurring.id}", error.line())
        return None


async def busy(context: ReadContext, scheduled: Scheduled, firing: Firing | None) -> str:
    """Why another firing cannot begin, "" where it can: what the last one began is still on, or its node is away."""
    if firing is None:
        return ""
    if firing.open and scheduled.node:
        node = await context.row(context.views.node, scheduled.node)
        if node is None or node.status != "up":
            return f"the firing before waits for node {scheduled.node}, which is {node.status if node else 'unknown'}"
    if not firing.made:
        return ""
    task = await context.row(context.views.task, firing.made)
    if task is not None and task.open:
        return f"task {task.id} of the firing before is {task.status}"
    run = await context.row(context.views.workflow_run, firing.made)
    if run is not None and run.open:
        return f"run {run.id} of the firing before is {run.status}"
    return ""
