"""The wishes of workflows for workspaces on this node: heard from the log, fulfilled one after the other.

Those of one instance come in order; those of several for one workspace as the plan gives it to them (`vacant`).
A wish that was not answered when the daemon ended is found by the next one, in the runs that hold a workspace here.
The leader may ask for it again: it is done once all the same, since each is looked up in the log before.
"""

from __future__ import annotations

from collections import deque

import trio

from maestro.model.errors import StoreAway, Unknown
from maestro.model.events import Event, WorkspaceArchived, WorkspaceArchiveWanted, WorkspaceReturned
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.wishes import Wish, newest
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.subject_events import events_behind
from maestro.runtime.restores.steps.step_restore import error_of, put_back
from maestro.runtime.snapshots.step_archive import archive
from maestro.runtime.snapshots.step_wishes import AGAIN_S, answer, stands, wish_of

STOPPED = "the run is being stopped"


class WorkspaceWishes:
    """Fulfils the wishes for workspaces of this node, for as long as `run` does."""

    def __init__(self, context: Context, follower: Follower) -> None:
        self._context = context
        self._heard: deque[Event] = deque()
        self._has_heard = trio.lowlevel.ParkingLot()
        self._waiting: dict[tuple[str, str], deque[Event]] = {}
        follower.listen(self._hear)

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, Wish) and event.fact.node == self._context.node:
            self._heard.append(event)
            self._has_heard.unpark()

    async def run(self) -> None:
        """Fulfil wishes for ever, those of earlier daemons first."""
        for event in await self._context.insist(self._unanswered):
            self._heard.append(event)
        async with trio.open_nursery() as nursery:
            while True:
                while self._heard:
                    event = self._heard.popleft()
                    holder = (wish_of(event).run, wish_of(event).instance)
                    if holder in self._waiting:
                        self._waiting[holder].append(event)
                    else:
                        self._waiting[holder] = deque([event])
                        nursery.start_soon(self._serve, holder)
                await self._has_heard.park()

    async def _unanswered(self) -> list[Event]:
        """The newest wishes of each instance that holds a workspace here; some may be answered."""
        context = self._context
        found: list[Event] = []
        for header in await context.rows(context.views.workflow_runs, "open"):
            if any(node == context.node for node, _ in header.held.values()):
                found += newest(await context.call(self._events_of, header), context.node)
        return found

    def _events_of(self, header: RunHeader) -> list[Event]:
        return events_behind(self._context.store, f"workflow-run:{header.id}", header.position) or []

    async def _serve(self, holder: tuple[str, str]) -> None:
        """Fulfil the wishes of one instance until none is left."""
        waiting = self._waiting[holder]
        while waiting:
            await self._fulfil(waiting.popleft())
        del self._waiting[holder]

    async def _fulfil(self, event: Event) -> None:
        context = self._context
        while True:
            try:
                match await stands(context, event):
                    case "stopped":
                        await answer(context, event, _refused(event, STOPPED))
                    case "open":
                        is_archive = isinstance(event.fact, WorkspaceArchiveWanted)
                        fact = await (archive(context, event) if is_archive else put_back(context, event))
                        if fact is not None:
                            await answer(context, event, fact)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the run must hear of it
                if _is_away(error):
                    if context.gateway.closing:
                        return
                    seldom.warn("a wish of a workflow", error_of(error))
                    await trio.sleep(AGAIN_S)
                    continue
                log.warning("%s of %s: %s", event.type, wish_of(event).workspace, error_of(error), exc_info=error)
                await answer(context, event, _refused(event, error_of(error)))
                return


def _is_away(error: BaseException) -> bool:
    """Whether the store could not be reached, or has not said what became of an append: the wish is tried again."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_away(part) for part in error.exceptions)
    return isinstance(error, StoreAway | Unknown)


def _refused(event: Event, why: str) -> WorkspaceArchived | WorkspaceReturned:
    wish = wish_of(event)
    if isinstance(wish, WorkspaceArchiveWanted):
        return WorkspaceArchived(wish.run, wish.instance, error=why)
    return WorkspaceReturned(wish.run, wish.instance, wish.snapshot, error=why)
