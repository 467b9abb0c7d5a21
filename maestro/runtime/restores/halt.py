"""The halt of a restore: its agents are stopped, their runs have ended, and no run of theirs starts until its end."""

from __future__ import annotations

import trio

from maestro.model.agent import decide_stop
from maestro.model.errors import Refused
from maestro.model.events import NewEvent
from maestro.model.restore import stop_reason
from maestro.runtime.node.context import Call
from maestro.runtime.restores.journal import BegunRestore

STOP_S_MAX = 60.0
LOOK_EVERY_S = 0.5


class Halt:
    """Keeps the agents of one restore from running on this node, from `begin` to `end`.

    away: nodes that are not up, so that the runs there are not waited for.
    """

    def __init__(self, call: Call, begun: BegunRestore, away: frozenset[str]) -> None:
        self._call = call
        self._context = call.context
        self._begun = begun
        self._away = away
        self._still = call.context.daemon.runs.pause() if call.context.daemon else None

    async def begin(self) -> None:
        """Stop the agents on all nodes, wait until their runs have ended, and keep new ones from starting here.

        Raises Refused where a run does not end in time.
        """
        begun, context = self._begun, self._context
        for name in begun.stopped:

            async def decision(name: str = name) -> list[NewEvent]:
                row = await context.row(context.views.agent, name)
                return decide_stop(name, row, stop_reason(begun.restore), False, await context.floor()) if row else []

            await context.decide(self._call, decision)
        await self._call.note("stopping the agents", "progress")
        head = await context.call(context.store.log.head)
        await context.changed(head.seq - 1)
        with trio.move_on_after(STOP_S_MAX) as scope:
            while running := self._running():
                await trio.sleep(LOOK_EVERY_S if len(running) > 1 else 0.05)
        if scope.cancelled_caught:
            which = ", ".join(self._running())
            raise Refused(
                f"these agents did not stop within {STOP_S_MAX:.0f} s: {which}", mend="maestro agent stop <id> --force"
            )
        if self._still is not None:
            await self._still.begin(None if begun.to is not None else begun.stopped)

    def end(self) -> None:
        """Let runs of the agents start again. Does nothing before `begin`, or the second time."""
        if self._still is not None:
            self._still.end()

    def _running(self) -> list[str]:
        """The agents with a run that a node which is up still has to end.

        Runs of agents that are always there are not among them: nobody stops these, and no workspace of an agent is
        theirs. What they run here stands still meanwhile, and ends with `restore.done`.
        """
        daemon = self._context.daemon
        if daemon is None:
            return []
        plan = daemon.follower.plan
        runs = [run for run in plan.crew.live.values() if run.agent in plan.agents]
        mine = [run for run in runs if self._begun.to is not None or {run.agent, run.owner} & {*self._begun.stopped}]
        return [run.agent for run in mine if run.node not in self._away]
