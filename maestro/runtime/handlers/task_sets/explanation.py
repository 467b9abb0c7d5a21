"""The handler of `task explain`: why a task, or a workflow's run, does not go on, since when, and what would let it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maestro.model.errors import Invalid, NotFound, StoreAway
from maestro.model.ids import shown
from maestro.model.scheduling.explanation import Explained, chain, ended
from maestro.model.scheduling.ways import way_on
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.task_sets.reasons import gone_of, reasons_of
from maestro.runtime.node.read_context import ReadCall, ReadContext
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.id_prefixes import run_meant, task_meant
from maestro.runtime.server.rows import Row, when

if TYPE_CHECKING:
    from maestro.runtime.node.context import Handler


async def explain(call: ReadCall, command: p.TaskExplain) -> p.Done:
    """Answer with why a task does not go on, and with what keeps the one that it waits for. Raises NotFound."""
    context = call.context
    try:
        header: RunHeader | None = await context.row(context.views.workflow_run, command.id)
        if header is not None:
            return p.Done(await _of_run(context, header))
        name, run = await task_meant(context, command.id), await run_meant(context, command.id)
        if command.id not in (name, run):
            mend = "give more of the one that is meant"
            raise Invalid(f"{shown(command.id)} begins task {name} and workflow run {run}", mend=mend)
        found = await context.call(context.views.task, name)
        if found.row is not None:
            return p.Done(await _of_task(context, found.row, bool(found.sealed)))
        header = await context.row(context.views.workflow_run, run)
    except StoreAway as away:
        known = context.daemon.follower.known(command.id) if context.daemon is not None else None
        if known is None:
            raise
        return p.Done(_while_away(known, away))
    if header is None:
        what = f"there is no task {shown(command.id)}"
        raise NotFound(what, mend="maestro task list shows all", sought=("task", command.id))
    return p.Done(await _of_run(context, header))


async def _of_task(context: ReadContext, task: Task, sealed: bool) -> Row:
    if not task.open:
        end = ended(task, await gone_of(context, [task]))
        found = [(task.id, [end._replace(way="") if sealed else end])]
    else:
        reasons, now = await reasons_of(context, [task])
        found = list(chain(reasons, task, now))
    row = _row(task, found[0][1])
    below = row
    for name, told in found[1:]:
        below["because"] = {"id": name, "reasons": [_reason(one) for one in told], "because": None}
        below = below["because"]
    return row


def _row(task: Task, told: list[Explained]) -> Row:
    return {
        "id": task.id,
        "kind": "task",
        "status": task.status,
        "title": task.title,
        "reasons": [_reason(one) for one in told],
        "because": None,
    }


def _reason(one: Explained) -> Row:
    return {
        "target": one.target or None,
        "reason": one.reason,
        "waits": one.waits,
        "what": one.text,
        "since": when(one.since),
        "to_go_on": one.way or None,
    }


def _while_away(task: Task, away: StoreAway) -> Row:
    """What is known of a task while the store is away: nothing is decided then, and it is said no better."""
    return _row(task, [Explained(0, "", "store_away", f"the store: {away.what}", 0, way_on("store_away"))])


async def _of_run(context: ReadContext, header: RunHeader) -> Row:
    from maestro.model.workflow.explanation import held_steps
    from maestro.runtime.handlers.workflow_runs.surroundings import surroundings
    from maestro.runtime.node.run_reader import run_of

    run, _ = await run_of(context, header)
    found = held_steps(run, await surroundings(context, header, run))
    return {
        "id": header.id,
        "kind": "run",
        "status": header.status,
        "title": run.workflow.name or header.workflow,
        "reasons": [
            {
                "step": one.step or None,
                "task": one.task or None,
                "reason": one.reason,
                "waits": one.waits,
                "what": one.text,
                "since": one.since,
                "to_go_on": one.way or None,
            }
            for one in found
        ],
        "because": None,
    }


HANDLERS: dict[type[p.Command], Handler] = {p.TaskExplain: explain}
