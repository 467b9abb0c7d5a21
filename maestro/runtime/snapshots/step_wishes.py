"""What the wishes of workflows for workspaces have in common: whether they stand, where that is, and their answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from maestro.model.definition import AgentDefinition
from maestro.model.errors import Refused, StoreAway, Unknown
from maestro.model.events import Event, NewEvent, WorkspaceArchived, WorkspaceReturned
from maestro.model.scheduling.lanes import SHARED
from maestro.model.workflow.wishes import Standing, Wish, standing
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.subject_events import events_behind
from maestro.runtime.protocol import messages as p
from maestro.runtime.provision.workspace_hold import held
from maestro.runtime.snapshots.sources import Source
from maestro.runtime.worker.preparation import lock_path
from maestro.workspaces import templates, workflow_folders
from maestro.workspaces.folders import is_folder

LOOK_EVERY_S = 0.05
AGAIN_S = 0.5
REASSIGN = "assign the agent there again, or stop the run"


def call_of(context: Context, wish: Event) -> Call:
    """The command that a node gives itself for a wish: its notes go nowhere, its events name the wish."""

    async def send(_: object) -> None:
        return

    call = Call(context, p.Caller(f"node:{context.node}", "/"), send)
    call.cause, call.patient = f"wish:{wish.seq}", True
    return call


def wish_of(event: Event) -> Wish:
    """The wish that an event is."""
    assert isinstance(event.fact, Wish)
    return event.fact


async def stands(context: Context, event: Event) -> Standing:
    """Whether a wish stands now, by the log."""
    wish = wish_of(event)
    header = await context.row(context.views.workflow_run, wish.run)
    if header is None or not header.open:  # it may have ended before the wish
        return "over"
    later = await context.call(events_behind, context.store, event.subject, event.seq)
    return "over" if later is None else standing(wish, later)


async def answer(context: Context, event: Event, fact: WorkspaceArchived | WorkspaceReturned) -> None:
    """Append the answer to a wish, once; nothing where it does not stand any more. Outages are waited out."""
    while True:
        try:
            if await stands(context, event) == "over":
                return
            await context.append([NewEvent(event.subject, fact)], f"node:{context.node}", f"wish:{event.seq}")
            return
        except (StoreAway, Unknown) as error:
            if context.gateway.closing:
                raise
            seldom.warn("answering a wish of a workflow", error.line())
            await trio.sleep(AGAIN_S)


async def source_of(context: Context, wish: Wish) -> Source:
    """The workspace of a wish, as snapshots name it; a run's own is made, where it is absent, for who works there.

    A run's own is no agent's: its owner there is the run whose folder it is. Raises Refused where the agent does not
    work there any more, or that is not the folder of the run.
    """
    if wish.agent:
        row = await context.row(context.views.agent, wish.agent)
        if row is None or row.workspace != wish.workspace or row.node not in (None, context.node):
            what = f"agent {wish.agent} does not work in {wish.workspace} any more"
            raise Refused(what, "workspace", REASSIGN)
        return Source(f"workspaces/{wish.agent}", wish.workspace, wish.agent)
    header = await context.row(context.views.workflow_run, wish.run)
    if header is None or wish.workspace != workflow_folders.workspace(header.folder):
        raise Refused(f"{wish.workspace} is not in the folder of run {wish.run}", "workspace")
    who = context.daemon.follower.plan.crew.agent(wish.target) if context.daemon is not None else None
    template = AgentDefinition(who.definition).workspace_template if who is not None else ""
    name = await trio.to_thread.run_sync(_furnished, header.folder, template)
    return Source(f"{workflow_folders.TREES}/{name}", wish.workspace, name)


def _furnished(folder: str, template: str) -> str:
    name, workspace = workflow_folders.make(folder), workflow_folders.workspace(folder)
    if not is_folder(workspace):  # else it is as a step has left it, even if that is empty
        templates.fill(workspace, template)
    return name


@asynccontextmanager
async def vacant(context: Context, event: Event) -> AsyncIterator[None]:
    """Hold the workspace of a wish during the block; waits until no run is on there, and no other instance holds it."""
    wish = wish_of(event)
    assert context.daemon is not None
    await context.changed(event.seq - 1)
    follower = context.daemon.follower
    lock = str(lock_path(context.settings.home, wish.workspace))

    def busy() -> bool:
        crew, holds = follower.plan.crew, follower.plan.holds
        is_written = any(crew.writers.get((node, wish.workspace)) for node in (context.node, SHARED))
        return is_written or holds.keeps_out((context.node, wish.workspace), (wish.run, wish.instance))

    while True:
        while busy():
            await trio.sleep(LOOK_EVERY_S)
        async with held(lock):
            if not busy():
                yield
                return
