"""The handlers of `workflow stop|pause|resume|approve|reject`: read the run, decide, append under its version.

Where somebody else was first, the run is read and decided on again.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from maestro.model.errors import NotFound
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.workflow.commands import Decided, decide_approval, decide_pause, decide_resume, decide_stop
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.runtime.handlers.workflow_runs.surroundings import surroundings
from maestro.runtime.handlers.workflow_runs.waiting import until_ended
from maestro.runtime.node.context import Call, Context, Handler
from maestro.runtime.node.run_reader import run_of
from maestro.runtime.protocol import messages as p
from maestro.runtime.server.id_prefixes import check_whole_run
from maestro.runtime.server.rows import Row, when
from maestro.runtime.server.run_rows import header_of, header_row, index_of

STOP_WAIT_S = 10.0
"""How long the end of a run that is stopped is waited for: its `finally` may take any time."""


async def act(call: Call, id: str, decision: Callable[[Run], Decided]) -> Row:
    """Append what a decision on a run says, or note what is so already; the run's header afterwards."""
    context = call.context
    decided = Decided()

    async def events() -> list[NewEvent]:
        nonlocal decided
        header = await header_of(context, id)
        run, _ = await run_of(context, header)
        decided = decision(run)
        version = max(header.seq, await context.floor())
        subject = f"workflow-run:{id}"
        return [NewEvent(subject, fact, version if at == 0 else None) for at, fact in enumerate(decided.facts)]

    await context.decide(call, events)
    if decided.note:
        await call.note(decided.note)
    return header_row(await header_of(context, id))


async def stop(call: Call, command: p.WorkflowStop) -> p.Done:
    """End a run; of a workflow answer with its open runs, or end those that are named."""
    context = call.context
    why = command.reason or "asked"
    if command.runs:
        rows = {run: await act(call, run, lambda found: _stop_if_open(found, why)) for run in command.runs}
        if context.daemon:
            with trio.move_on_after(STOP_WAIT_S):
                for run in rows:
                    await until_ended(context, run)
            rows = {run: header_row(await header_of(context, run)) for run in rows}
        for row in rows.values():
            await call.item(row)
        return p.Done()
    if await context.row(context.views.workflow_run, command.id) is None:
        return p.Done({"workflow": command.id, "runs": await _open_runs(context, command.id)})
    row = await act(call, command.id, lambda run: decide_stop(run, why))
    if context.daemon and not row["ended_at"]:
        with trio.move_on_after(STOP_WAIT_S):
            await until_ended(context, command.id)
        row = header_row(await header_of(context, command.id))
        if not row["ended_at"]:
            await call.note(f"it has not ended yet: maestro workflow wait {command.id}")
    return p.Done(row)


def _stop_if_open(run: Run, why: str) -> Decided:
    """As `decide_stop`, of one of several: it may have ended since they were shown."""
    return Decided(note=f"run {run.id} has ended meanwhile: {run.status}") if run.ended else decide_stop(run, why)


async def _open_runs(context: Context, workflow: str) -> list[Row]:
    """The open runs of a workflow. Raises NotFound where there is none of that name, nor a run."""
    rows: list[RunHeader] = await context.rows(context.views.workflow_runs, index_of(workflow, "open"))
    if not rows and await context.row(context.views.workflow, workflow) is None:
        await check_whole_run(context, workflow, "workflow stop")
        what = f"there is no run and no workflow {shown(workflow)}"
        raise NotFound(what, mend="maestro workflow runs shows all", sought=("workflow-run", workflow))
    return [header_row(row) for row in rows]


async def pause(call: Call, command: p.WorkflowPause) -> p.Done:
    """Start nothing new in a run."""
    await check_whole_run(call.context, command.id, "workflow pause")
    return p.Done(await act(call, command.id, decide_pause))


async def resume(call: Call, command: p.WorkflowResume) -> p.Done:
    """Let a run go on."""
    await check_whole_run(call.context, command.id, "workflow resume")
    context = call.context
    header = await header_of(context, command.id)
    around = await surroundings(context, header, (await run_of(context, header))[0])
    working = around.usage.values()
    usage = sum(one["tokens"] for one in working), sum(one["cost"] for one in working)
    return p.Done(
        await act(call, command.id, lambda run: decide_resume(run, command.add_tokens, command.add_cost, usage))
    )


async def answer(call: Call, command: p.WorkflowAnswer) -> p.Done:
    """Approve a step, or reject it; the same answer again is told, with who gave it and when."""
    step, approved, reason = command.step, command.approved, command.reason
    await check_whole_run(call.context, command.id, "workflow approve" if approved else "workflow reject", step)
    return p.Done(await act(call, command.id, lambda run: decide_approval(run, step, approved, reason, when)))


HANDLERS: dict[type[p.Command], Handler] = {
    p.WorkflowStop: stop,
    p.WorkflowPause: pause,
    p.WorkflowResume: resume,
    p.WorkflowAnswer: answer,
}
