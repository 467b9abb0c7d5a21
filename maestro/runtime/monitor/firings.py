"""Firings: a node carries out what has fired of schedules, by the handlers of the command line.

A firing is open from `schedule.fired` to `schedule.ended`. Whoever finds one open carries it out: the node that the
schedule names, else the leader. Its command has a key (a snapshot an id) that is made of schedule and due time, so
that a firing that was carried out but not ended yet is recognised, and nothing is done twice.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import trio

from maestro.model import events as e
from maestro.model.errors import MaestroError, StoreAway, Unknown
from maestro.model.events import Event, NewEvent
from maestro.model.schedules.recurring import End, decide_end, key_of, too_late
from maestro.model.schedules.schedule import Firing
from maestro.runtime.monitor.schedules import Scheduled, Schedules
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.forwards.forwarding import OUTAGE_S_MAX
from maestro.runtime.node.patience import patiently
from maestro.runtime.protocol import messages as p
from maestro.runtime.scheduler.duty import IDLE_S_MAX
from maestro.runtime.scheduler.lead import Lead
from maestro.runtime.server.rows import when

AGAIN_S = 2.0
AT_ONCE_MAX = 32
LOOK_BACK = 20
"""How many events of an agent are read at most for the last that has stopped it."""
ADD_ANEW = "add the schedule anew: this build cannot read it"
Request = p.StateSnapshot | p.TaskDispatch | p.WorkflowStart | p.WorkspaceClean
"""What a schedule may carry out."""
_requests = msgspec.json.Decoder(Request)


class Firings:
    """The firings that one daemon carries out."""

    def __init__(self, context: Context, follower: Follower, lead: Lead) -> None:
        self._context = context
        self._follower = follower
        self._lead = lead
        self._schedules = Schedules(context)
        self._limit = trio.CapacityLimiter(AT_ONCE_MAX)
        self._on: set[tuple[str, int]] = set()
        self._news = trio.Event()
        self._look = True
        follower.listen(self._hear)
        lead.begins(self._take_over)

    def _hear(self, event: Event) -> None:
        if isinstance(event.fact, (e.ScheduleFired, e.RestoreDone)):
            self._look = True
            self._news.set()

    def _take_over(self) -> None:
        self._look = True
        self._news.set()

    async def run(self) -> None:
        """Carry out open firings, for ever: those that were left by others too, once this daemon leads."""
        async with trio.open_nursery() as nursery:
            while not self._follower.stopped:
                self._news = trio.Event()
                if self._look:
                    try:
                        self._look = False
                        await self.begin(nursery)
                    except MaestroError as error:
                        self._look = True
                        seldom.warn("firings", error.line())
                with trio.move_on_after(AGAIN_S if self._look else IDLE_S_MAX):
                    await self._news.wait()

    async def begin(self, nursery: trio.Nursery) -> None:
        """Begin all open firings that are this daemon's and not under way."""
        for firing in await self._context.rows(self._context.views.firings, "open"):
            new = [due for due in firing.open if (firing.schedule, due) not in self._on]
            scheduled = await self._schedules.one(firing.schedule) if new else None
            node = scheduled.node if scheduled is not None else ""
            if node == self._context.node or (not node and self._lead.leading()):
                for due in new:
                    self._on.add((firing.schedule, due))
                    nursery.start_soon(self._carry_out, scheduled, firing, due)

    async def _carry_out(self, scheduled: Scheduled | None, firing: Firing, due: int) -> None:
        """Carry out one firing and end it. Where the store is away it stays open, and is taken up again."""
        ended = False
        try:
            async with self._limit:
                end = await self._end_of(scheduled, firing, due)
            if not end.ok:
                log.warning("schedule %s: the firing of %s failed: %s", firing.schedule, when(due), end.why)
            await self._append(firing.schedule, due, end)
            ended = True
        except MaestroError as error:
            seldom.warn("firings", error.line())
            await trio.sleep(AGAIN_S)
        finally:
            self._on.discard((firing.schedule, due))
            if not ended:
                self._look = True
                self._news.set()

    async def _end_of(self, scheduled: Scheduled | None, firing: Firing, due: int) -> End:
        if scheduled is None:
            return End(False, why="the schedule is not there any more")
        restored_at = await self._schedules.restored_at()
        why = too_late(scheduled.recurring.missed, firing, due, self._lead.now(), restored_at)
        if why:
            return End(False, why=why)
        found: list[Any] = []
        call = self._call(scheduled, firing, found)
        try:
            command = await self._command(scheduled, firing, due)
            works = await self._works(command, firing)
            with patiently(OUTAGE_S_MAX):
                done = await self._context.handler(type(command))(call, command)
                if works:
                    await self._context.handler(p.AgentRestart)(call, p.AgentRestart(works))
        except (StoreAway, Unknown):  # it is taken up again, and what is done by then is found
            raise
        except Exception as error:  # noqa: BLE001 - one schedule's defect must not end the daemon
            known = user_error(error)
            if known is None:
                log.error("a firing ended by a defect", exc_info=error)
            return End(False, why=known.line() if known else f"defect in maestro: {error!r}")
        return _told(done, found)

    async def _works(self, command: p.Command, firing: Firing) -> str:
        """The agent that a command will stop, or has stopped before it was broken off, and that took work until then;
        "" for none. It is to go on afterwards.
        """
        context = self._context
        if not isinstance(command, p.WorkspaceClean):
            return ""
        row = await context.row(context.views.agent, command.agent)
        if row is None or not row.stopped:
            return row.id if row is not None else ""
        return row.id if await context.call(self._has_stopped, row.version, firing) else ""

    def _has_stopped(self, version: int, firing: Firing) -> bool:
        """Whether an agent was stopped last for a firing: here, or by the node that was asked for it. Blocks.

        version: of the agent; what is told of its health may have come behind the stop.
        """
        log = self._context.store.log
        event = log.event(version)
        for _ in range(LOOK_BACK):
            if event is None or isinstance(event.fact, e.AgentStopped):
                break
            event = log.event(event.prev) if event.prev else None
        if event is None or not isinstance(event.fact, e.AgentStopped) or not event.cause.isdecimal():
            return False
        asked = log.event(int(event.cause))
        causes = [event.cause, asked.cause if asked is not None and isinstance(asked.fact, e.ForwardAsked) else ""]
        return str(firing.version) in causes

    def _call(self, scheduled: Scheduled, firing: Firing, found: list[Any]) -> Call:
        """The call of a command that nobody waits for. found: gets the rows of its answer, which tell what is wrong."""

        async def send(frame: p.ServerFrame) -> None:
            if isinstance(frame, p.Item):
                found.append(frame.data)

        caller = p.Caller(f"schedule:{scheduled.id}", scheduled.cwd, self._context.caller_environment)
        call = Call(self._context, caller, send)
        call.cause = str(firing.version)  # of `schedule.fired`: nothing else comes to an open firing
        call.patient = True
        return call

    async def _command(self, scheduled: Scheduled, firing: Firing, due: int) -> p.Command:
        """The command of a firing, with the key that makes it one and the same. Raises MaestroError."""
        key = key_of(scheduled.id, when(due) or "")
        if scheduled.workflow:
            told = f"the params of {scheduled.id}"
            return p.WorkflowStart(scheduled.workflow, vars=scheduled.params, vars_file=told, key=key)
        try:
            request = _requests.decode(await self._context.content(scheduled.request))
        except msgspec.DecodeError as error:
            raise MaestroError(f"its command cannot be read: {error}", mend=ADD_ANEW) from None
        match request:
            case p.TaskDispatch():
                return msgspec.structs.replace(request, key=key, first=False, sync=False)
            case p.WorkflowStart():
                return msgspec.structs.replace(request, key=key, first=False)
            case p.StateSnapshot():
                return msgspec.structs.replace(request, firing=snapshot_of(key, firing.last_at))
            case p.WorkspaceClean():
                return request

    async def _append(self, schedule: str, due: int, end: End) -> None:
        context = self._context
        call = Call(context, p.Caller(f"schedule:{schedule}", "/"), _nowhere)
        call.patient = True

        async def decision() -> list[NewEvent]:
            row = await context.row(context.views.firing, schedule)
            return decide_end(schedule, due, row, end, await context.floor())

        await context.decide(call, decision)


async def _nowhere(_: p.ServerFrame) -> None:
    return


def snapshot_of(key: str, fired_at: int) -> str:
    """What the id of a firing's snapshot begins with: as all ids of snapshots with a time, by which they are sorted;
    here that of the event that fired it, which is the same for whoever carries it out.
    """
    moment = (when(fired_at) or "").partition(".")[0].replace("-", "").replace(":", "")
    return f"s-{moment}Z-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _told(done: p.Done, found: list[Any]) -> End:
    """How a firing ended, from the answer of its command: the id of what it made, or what was wrong."""
    if done.data is None or done.exit_code:
        wrong = [str(row["text"]) for row in found if isinstance(row, dict) and row.get("level") == "error"]
        return End(False, why="; ".join(wrong) or f"exit code {done.exit_code}")
    return End(True, str(done.data.get("id") or done.data.get("snapshot") or ""))
