"""The rows of workflows' runs as clients get them: headers for lists, and whole runs with their instances.

A run's own result is always whole, as that of a task; those of its instances are shortened.
"""

from __future__ import annotations

from collections.abc import Sequence

from maestro.model.errors import NotFound
from maestro.model.ids import is_id, shown
from maestro.model.workflow.folding.endings import exit_code
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.status import Surroundings, status_of
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.server.id_prefixes import run_meant
from maestro.runtime.server.rows import Row, when

RUN_STARTS_ONE = "maestro workflow run starts one"


def index_of(workflow: str | None, status: str | None) -> str:
    """The index of the view that has the runs of a workflow (None: of all) in a status (None: in any)."""
    parts = ["open" if status == "open" else f"status:{status}"] if status else []
    parts += [f"workflow:{workflow}"] if workflow else []
    return ":".join(parts) or "all"


async def newest_of(context: ReadContext, workflow: str | None) -> RunHeader | None:
    """The newest run (of a workflow) that is no other's child, None for none."""
    found: list[RunHeader] = await context.rows(context.views.workflow_runs, index_of(workflow, None), 1)
    return found[0] if found else None


def no_run_of(workflow: str) -> NotFound:
    """The error where a workflow has no run of its own: those of children are found by their parents."""
    what = f"there is no run of workflow {workflow} yet but, perhaps, as the child of a step of another"
    return NotFound(what, mend=RUN_STARTS_ONE)


def header_row(header: RunHeader, asking: Sequence[str] | None = None) -> Row:
    """The row of a run in a list. steps_begun, steps_ended: attempts of steps; asking: the approvals that it
    waits for, None where that was not looked up.
    """
    return {
        "id": header.id,
        "workflow": header.workflow,
        "version": header.version,
        "status": header.status,
        **({} if asking is None else {"waiting_for": list(asking)}),
        "paused": header.paused or None,
        "outcome": header.outcome or None,
        "why": header.why or None,
        "parent": header.parent or None,
        "resumed_from": header.resumed_from or None,
        "group": header.group or None,
        "actor": header.actor,
        "started_at": when(header.started_at),
        "ended_at": when(header.ended_at),
        "duration_s": round((header.ended_at - header.started_at) / 1000, 3) if header.ended_at else None,
        "steps_begun": header.begun,
        "steps_ended": header.ended,
        "usage": {"tokens": header.tokens, "cost": round(header.cost, 9)},
    }


async def header_of(context: ReadContext, run: str) -> RunHeader:
    """The header of a run by its id. Raises NotFound."""
    header: RunHeader | None = await context.row(context.views.workflow_run, run)
    if header is None:
        what = f"there is no run {shown(run)} of a workflow"
        raise NotFound(what, mend="maestro workflow runs shows all", sought=("workflow-run", run))
    return header


async def header_meant(context: ReadContext, text: str) -> RunHeader:
    """As `header_of`, by an id or the beginning of one, or the newest run of a workflow. Raises NotFound, Invalid."""
    known = await context.row(context.views.workflow_run, text)
    if known is None and is_id(text) and (found := await newest_of(context, text)) is not None:
        return found
    run = await run_meant(context, text)
    if run == text and known is None and await context.row(context.views.workflow, text) is not None:
        raise no_run_of(text)
    return await header_of(context, run)


async def run_row(context: ReadContext, header: RunHeader, run: Run, around: Surroundings) -> Row:
    """A whole run, with its instances. source: whether its exit code is an agent's or Maestro's own."""
    code, source = exit_code(run)
    ended = {"exit_code": code, "source": source} if run.ended else {"exit_code": None, "source": None}
    row = status_of(run, around)
    row["usage"] = live_usage(run, around)
    row["actor"] = header.actor
    if run.result:
        row["result"] = await result_text(context, run)
    steps = row.pop("steps")
    return row | ended | {"steps": steps}


async def result_text(context: ReadContext, run: Run) -> str:
    """The whole result of a run."""
    try:
        return await context.text(run.result)
    except NotFound as gone:
        return f"[maestro: {gone.what}]"


def live_usage(run: Run, around: Surroundings) -> Row:
    """What a run has used, with what works now."""
    used: Row = {
        "tokens": run.tokens,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cost": run.cost,
    }
    for one in around.usage.values():
        used = {key: value + one.get(key, 0) for key, value in used.items()}
    return used | {"cost": round(used["cost"], 9)}
