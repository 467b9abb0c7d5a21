"""The run that a new one takes up: which one, what of it is taken over, and whether folder and archives are there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import trio

from maestro.model.errors import Invalid, NotFound, Refused
from maestro.model.ids import shown
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.instances import parse_instance
from maestro.model.workflow.resumption import Resumption, resumption
from maestro.model.workflow.run import Run
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored.params import fits
from maestro.model.workflow.stored.starting import Place, Target
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.run_reader import run_of
from maestro.runtime.protocol import messages as p

PAGE = 100


class Predecessor(msgspec.Struct, frozen=True):
    """An earlier run that a new one takes up. needs_folder: what is taken over lies there."""

    header: RunHeader
    run: Run
    takes: Resumption
    needs_folder: bool

    @property
    def place(self) -> Place:
        """Where its folder is."""
        return Place(self.header.node, self.header.folder)

    def params(self, workflow: Workflow) -> dict[str, Any]:
        """Its params, as far as the definition still has such vars."""
        declared = workflow.vars
        old = self.run.fact.params
        return {name: value for name, value in old.items() if name in declared and fits(value, declared[name])}


async def predecessor(call: Call, command: p.WorkflowStart, target: Target) -> Predecessor:
    """Find the earlier run, and what a new one takes over of it. Raises NotFound, Refused as `resumption`."""
    context = call.context
    header = await _header(context, command.run, target.id)
    if header.workflow != target.id:
        raise Refused(f"run {header.id} is one of workflow {header.workflow}", "--run", "name a run of this workflow")
    if header.open:
        raise Refused(f"run {header.id} has not ended: {header.status}", mend=f"maestro workflow stop {header.id}")
    run, _ = await run_of(context, header)
    takes = resumption(run, command.resume, target.workflow, command.files == "restore" and not command.force)
    agents = {agent.id for agent in await context.agents() if agent.workspace is not None}
    reused = [parsed[0] for id in takes.reused if (parsed := parse_instance(id)) is not None]
    needs = any(_in_folder(run.steps[step], agents) for step in reused if step in run.steps)
    found = Predecessor(header, run, takes, needs)
    await check_folder(context, found)
    return found


async def _header(context: Context, run: str, workflow: str) -> RunHeader:
    if run:
        header = await context.row(context.views.workflow_run, run)
        if header is None:
            raise NotFound(f"there is no run {shown(run)} of a workflow", "--run", f"maestro workflow runs {workflow}")
        return header
    before: int | None = None
    while page := await context.rows(context.views.workflow_runs, f"workflow:{workflow}", PAGE, True, before):
        for header in page:
            if not header.open:
                return header
        before = page[-1].position
    raise NotFound(f"no run of workflow {workflow} has ended", "--resume-from", f"maestro workflow runs {workflow}")


async def check_folder(context: Context, before: Predecessor) -> None:
    """Raise Refused where another open run has taken the folder over, or it is gone and would be needed."""
    header = before.header
    for other in await context.rows(context.views.workflow_runs, "open"):
        if (other.node, other.folder) == (header.node, header.folder):
            what = f"run {other.id}, which is open, has taken over the folder of run {header.id}"
            raise Refused(what, mend=f"maestro workflow stop {other.id}")
    if not before.needs_folder or header.node != context.node:
        return
    if not await trio.to_thread.run_sync(Path(header.folder).is_dir):
        what = f"the folder of run {header.id} is gone: {header.folder}"
        raise Refused(what, mend=f"start anew: maestro workflow run {header.workflow}")


def _in_folder(step: Step, with_workspace: Collection[str]) -> bool:
    """Whether a step worked in the run's folder."""
    if step.kind == "run":
        return step.place in ("", "run")
    if step.kind != "agent":
        return False
    return step.place == "run" or (not step.place and not any(agent in with_workspace for agent in step.agents))


def check_step(text: str) -> None:
    """Raise Invalid for what can be no step and no instance."""
    if text != "failed" and parse_instance(text) is None:
        raise Invalid(f"{shown(text)} is no step", "--resume-from", "name a step, STEP:i for an item, or `failed`")
