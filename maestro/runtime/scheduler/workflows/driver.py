"""Drives runs of workflows: tells what has ended, tells or does what the model decides, until the run waits."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from maestro.model.errors import StoreAway
from maestro.model.events import AnyFact, NewEvent, WorkflowRunEnding, WorkflowRunFinished
from maestro.model.workflow.decide import Work, decide, due, over_budget, unanswered
from maestro.runtime.node.clock import Clock
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log, seldom
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.run_reader import read_run
from maestro.runtime.scheduler.workflows.appends import RunAppends
from maestro.runtime.scheduler.workflows.attempts import Attempts
from maestro.runtime.scheduler.workflows.endings import Endings
from maestro.runtime.scheduler.workflows.evaluation import Evaluation
from maestro.runtime.scheduler.workflows.live_run import LiveRun, LiveRuns
from maestro.runtime.scheduler.workflows.wishes import works_in_folder
from maestro.runtime.scheduler.workflows.works import Works

REFUSED_S = 0.02
BATCH_MAX = 128
"""Events that are foreseen before they are appended."""
AWAY_S = 0.5


class Driver:
    """Drives runs. nursery: in which they are driven, None while this daemon does not lead."""

    def __init__(self, context: Context, follower: Follower, clock: Clock, runs: LiveRuns, appends: RunAppends) -> None:
        self.nursery: trio.Nursery | None = None
        self._context = context
        self._follower = follower
        self._clock = clock
        self._runs = runs
        self._appends = appends
        self._evaluation = Evaluation(context)
        self._attempts = Attempts(context, follower, runs)
        self._endings = Endings(follower, self._evaluation)
        self._works = Works(context, follower, runs, self._evaluation)

    async def aclose(self) -> None:
        """End what was started."""
        await self._evaluation.aclose()

    async def catch_up(self, live: LiveRun) -> None:
        """Find what of a run ended while nobody led."""
        await self._attempts.catch_up(live)

    def wake(self, live: LiveRun) -> None:
        """Have a run driven, once more where it is being driven."""
        if live.driving:
            live.again = True
        elif self.nursery is not None and live.id in self._runs:
            live.driving = True
            self.nursery.start_soon(self._drive, live)

    async def _drive(self, live: LiveRun) -> None:
        try:
            while True:
                live.again = False
                try:
                    has_moved = await self._move(live)
                except StoreAway as error:
                    seldom.warn("runs of workflows", error.line())
                    await trio.sleep(AWAY_S)
                    has_moved = True
                if not (has_moved or live.again):
                    break
        except Exception as error:  # noqa: BLE001 - one run must not end the others; it is driven again at its next event
            log.error("run %s of workflow %s cannot go on", live.id, live.run.fact.workflow, exc_info=error)
        finally:
            live.driving = False
        now = self._clock.now()
        live.due = due(live.run, now, self._held(live), self._held_ms(live, now))
        if live.due:
            self._runs.news.set()  # the leader waits no longer than that
        if live.run.ended:
            self._end(live)

    async def _move(self, live: LiveRun) -> bool:
        """Make the next moves of a run, in one append; whether there may be more."""
        if live.is_stale:
            header = await self._context.row(self._context.views.workflow_run, live.id)
            if header is None:
                return False
            run, _ = await self._context.gateway.ask(read_run, self._context.store, header)
            live.replace(run, header.seq)
            await self._attempts.catch_up(live)  # an end that was told, and refused, is to be told again
        events: list[NewEvent] = []
        try:
            events = await self._next(live)
            if not events:
                live.settle(live.seq)
                return False
            seq = await self._appends.append(live, events)
        except BaseException:
            live.is_stale = True
            raise
        if seq:
            live.settle(seq)
        else:
            live.is_stale = True
            await trio.sleep(REFUSED_S)
        return True

    async def _next(self, live: LiveRun) -> list[NewEvent]:
        """What is to be told next, up to the next wait: each fact is foreseen, so that one append has all of it."""
        found: list[NewEvent] = []
        while len(found) < BATCH_MAX:
            now = self._clock.now()
            events = await self._events(live, now)
            if not events:
                break
            for event in events:
                if event.subject == f"workflow-run:{live.id}":
                    live.foresee(event.fact, now, self._appends.actor)
            found += events
        return found

    async def _events(self, live: LiveRun, now: int) -> list[NewEvent]:
        """The next events of a run: ends of attempts, else a fact that follows, else what its work gives."""
        run = live.run
        if ends := await self._endings.events(live, now):
            return ends
        if run.status == "queued" and not run.ends_as:
            return await self._admission(live)
        if live.is_folder_lost and not run.ends_as:
            lost = f"node {run.fact.node}, where the folder of this run is, is lost"
            live.is_folder_lost = False
            if works_in_folder(self._follower.plan, run):
                return [_of(live, WorkflowRunEnding(live.id, "failed", lost, stops=True))]
        if live.silent:
            nodes, live.silent = live.silent, set()
            if again := [_of(live, wish) for wish in unanswered(run) if wish.node in nodes]:
                return again
        busy = frozenset(Work("cancel", id) for id in live.cancelled) | self._attempts.waiting(live)
        moves = decide(run, now, busy, self._attempts.usage(live), self._held(live), self._held_ms(live, now))
        works = [move for move in moves if isinstance(move, Work)]
        if facts := [move for move in moves if not isinstance(move, Work)]:
            return [_of(live, await self._complete(live, fact)) for fact in facts]
        return await self._carry_out(live, works, now)

    async def _carry_out(self, live: LiveRun, works: Sequence[Work], now: int) -> list[NewEvent]:
        """Do the work that a run asks for; the events that tell it. What is cancelled is cancelled at once."""
        for work in works:
            if work.kind == "cancel":
                live.cancelled.add(work.subject)
                await self._appends.cancel(live, self._runs, work.subject)
        return [event for work in works if work.kind != "cancel" for event in await self._works.do(live, work, now)]

    def _held(self, live: LiveRun) -> str:
        """Why a run starts nothing new on account of those above it: "", `pause` or `budget`."""
        for above in self._runs.parents(live):
            if above.run.ends_as:
                continue  # it waits for this one's end, handlers included, and nobody can resume it
            if above.run.paused:
                return "budget" if above.run.paused == "budget" else "pause"
            if over_budget(above.run, self._attempts.usage(above)):
                return "budget"
        return ""

    def _held_ms(self, live: LiveRun, now: int) -> int:
        """How long those above a run have been paused since it started."""
        return sum(above.run.paused_since(live.run.started_at, now) for above in self._runs.parents(live))

    async def _complete(self, live: LiveRun, fact: AnyFact) -> AnyFact:
        """A decided fact with what only the shell can add: the result of a run that has ended well."""
        if not isinstance(fact, WorkflowRunFinished) or fact.status != "completed" or not live.run.workflow.result:
            return fact
        return await self._evaluation.result(live.run, fact)

    async def _admission(self, live: LiveRun) -> list[NewEvent]:
        """What lets a run of a group start; [] where it waits. Others that must end for it are told to."""
        own: list[NewEvent] = []
        for id, fact in self._runs.groups.admission(live.id, self._is_ending) or ():
            other = self._runs.get(id)
            if other is live:
                own.append(_of(live, fact))
            elif (
                other is not None
                and not other.run.ends_as
                and not await self._appends.append(other, [_of(other, fact)])
            ):
                live.again = True  # another event of that run came first
                await trio.sleep(REFUSED_S)
        return own

    def _is_ending(self, run: str) -> bool:
        other = self._runs.get(run)
        return other is None or bool(other.run.ends_as)

    def _end(self, live: LiveRun) -> None:
        """Forget a run that has ended; who waited for it goes on."""
        parent = self._runs.get(live.run.fact.parent)
        if parent is not None:
            parent.child_ends[live.run.fact.instance] = live.run
        followers = self._runs.forget(live)
        for other in [*followers, *([parent] if parent is not None else [])]:
            self.wake(other)

    def ask_again(self, node: str) -> None:
        """Ask a node anew for what it had not answered: it began anew."""
        for live in self._runs:
            if any(wish.node == node for wish in live.run.wishes.values()):
                live.silent.add(node)
                self.wake(live)

    def node_lost(self, node: str) -> None:
        """End the runs whose folder was on a node that is lost."""
        for live in self._runs:
            if live.run.fact.node == node:
                live.is_folder_lost = True
                self.wake(live)


def _of(live: LiveRun, fact: AnyFact) -> NewEvent:
    return NewEvent(f"workflow-run:{live.id}", fact)
