"""The handlers of `workflow runs|status`, which only read."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING

from maestro.model.errors import Invalid, MaestroError, NotFound
from maestro.model.ids import shown
from maestro.model.permissions.requests import asked_words
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.workflow_runs.surroundings import surroundings, tasks_of
from maestro.runtime.node.read_context import ReadCall, ReadContext
from maestro.runtime.node.run_reader import run_of
from maestro.runtime.protocol import messages as p
from maestro.runtime.protocol.cut import cut_of_page
from maestro.runtime.server.past_rows import PastRows
from maestro.runtime.server.run_rows import (
    RUN_STARTS_ONE,
    header_meant,
    header_row,
    index_of,
    newest_of,
    no_run_of,
    run_row,
)
from projections.view_reader import ALL

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler

STATUSES = ("queued", "running", "paused", "completed", "failed", "cancelled", "timed_out")
LIMIT_MAX = 100_000


async def runs(call: ReadCall, command: p.WorkflowRuns) -> p.Done:
    """List a page of runs, newest first; runs of children are with their parents, not here."""
    context = call.context
    if command.status is not None and command.status not in STATUSES:
        raise Invalid(f"status {shown(command.status)} is unknown", mend=f"use one of {', '.join(STATUSES)}")
    if not 1 <= command.limit <= LIMIT_MAX:
        raise Invalid(f"limit {command.limit} is out of range", mend=f"use 1 to {LIMIT_MAX}")
    if command.all_time and command.waiting:
        raise Invalid("both --all-time and --waiting", mend="leave one out: what waits is never old")
    if command.last:
        header = await newest(context, command.workflow)
        return p.Done(header_row(header, (await _asking(context, [header])).get(header.id, ())))
    await _check_workflow(context, command.workflow)
    which = index_of(command.workflow, "open" if command.open or command.waiting else command.status)
    found = await context.page(context.views.workflow_runs, which, LIMIT_MAX if command.waiting else command.limit + 1)
    rows, total = found.rows, found.total
    asking = await _asking(context, rows if command.waiting else rows[: command.limit])
    if command.waiting:
        rows = [row for row in rows if row.id in asking and command.status in (None, row.status)]
        total = len(rows)
    if command.all_time and len(rows) <= command.limit:
        rows = sorted([*rows, *await _past(context, command, {row.id for row in rows})], key=lambda row: -row.position)
    for header in rows[: command.limit]:
        await call.item(header_row(header, asking.get(header.id, ())))
    is_cut = len(rows) > command.limit
    total_here = None if command.all_time else total
    return p.Done(cut=cut_of_page(command.limit, "runs", LIMIT_MAX, total_here) if is_cut else None)


async def _past(context: ReadContext, command: p.WorkflowRuns, here: Collection[str]) -> list[RunHeader]:
    """The newest runs that are told from sealed history. here: those that are rows."""
    workflow, status = command.workflow, command.status

    def fits(row: RunHeader) -> bool:
        return not row.parent and workflow in (None, row.workflow) and status in (None, row.status)

    page = functools.partial(context.views.past_runs, workflow=workflow, status=status)
    past = PastRows(context, page, context.views.workflow_runs_named)
    return await past.newest(fits, command.limit + 1, here)


async def _asking(context: ReadContext, headers: list[RunHeader]) -> dict[str, list[str]]:
    """By run, the approvals that it waits for, and the steps whose agents ask for a permission; those of its child runs
    included, which no list shows by themselves.
    """
    wanted = {header.id for header in headers if header.open}
    if not wanted:
        return {}
    found: dict[str, list[str]] = {}
    works: dict[str, tuple[str, str]] = {}
    for header in await context.rows(context.views.workflow_runs, "open", ALL, False):
        above = header.id if not header.parent else header.root
        if above in wanted:
            try:
                run, _ = await run_of(context, header)
            except MaestroError:  # that something of one run is gone hides the others from nobody
                continue
            of = f" of run {header.id}" if header.parent else ""
            found.setdefault(above, []).extend(f"approval: {name}{of}" for name in run.asking)
            works |= {run.instances[name].task: (above, f"{name}{of}") for name in run.working}
    for task in await tasks_of(context, [task for task in works if task]):
        if asked_words(task)[1]:
            found[works[task.id][0]].append(f"permission: {works[task.id][1]}")
    return {run: names for run, names in found.items() if names}


async def _check_workflow(context: ReadContext, workflow: str | None) -> None:
    """Check that there is, or was, a workflow of this id. Raises NotFound."""
    if workflow is None or await context.row(context.views.workflow, workflow) is not None:
        return
    if not await context.rows(context.views.workflow_runs, index_of(workflow, None), 1):
        what = f"there is no workflow {shown(workflow)}"
        raise NotFound(what, mend="maestro workflow list shows all", sought=("workflow", workflow))


async def newest(context: ReadContext, workflow: str | None) -> RunHeader:
    """The newest run (of a workflow). Raises NotFound."""
    await _check_workflow(context, workflow)
    found = await newest_of(context, workflow)
    if found is None:
        raise no_run_of(workflow) if workflow else NotFound("there is no run yet", mend=RUN_STARTS_ONE)
    return found


async def status(call: ReadCall, command: p.WorkflowStatus) -> p.Done:
    """Answer with one run by id, or with the newest one (of a workflow)."""
    context = call.context
    if command.last or command.id is None:
        header = await newest(context, command.id)
    else:
        header = await header_meant(context, command.id)
    run, events = await run_of(context, header)
    row = await run_row(context, header, run, await surroundings(context, header, run))
    if any(step["status"] in ("failed", "timed_out") for step in row["steps"]):
        from maestro.runtime.handlers.workflow_runs.last_lines import add_last_lines

        await add_last_lines(context, row)
    if command.trace:
        from maestro.runtime.handlers.workflow_runs.trace import trace_rows

        row["trace"] = await trace_rows(context, header, events)
    return p.Done(row)


HANDLERS: dict[type[p.Command], Handler] = {p.WorkflowRuns: runs, p.WorkflowStatus: status}
