"""The daemon of this node as commands see it: the log that it follows, its runs, its scheduler, and how to end it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from maestro.model.errors import Refused
from maestro.model.events import Event, NewEvent, NodeDrainBegun, NodeDrainEnded
from maestro.runtime.node.daemon_log import log
from maestro.runtime.node.follower import Follower
from maestro.runtime.node.pause import Pause
from maestro.store.contract import Committed

DRAINED_EVERY_S = 0.5


class LocalRuns(Protocol):
    """The runs that are on at this node. The worker offers this."""

    def count(self) -> int:
        """How many runs are on here."""

    def tasks(self) -> list[str]:
        """The ids of the tasks with a run on here."""

    def drain(self) -> None:
        """Take no more runs."""

    @property
    def draining(self) -> bool:
        """Whether no more runs are taken."""

    def stop_all(self, reason: str, force: bool = False, grace_s: float | None = None, lost: bool = False) -> None:
        """Stop every run that is on here: SIGTERM, and SIGKILL after `grace_s` seconds (None: the type's).

        force: SIGKILL at once. lost: the run is to be run again.
        """

    def pause(self) -> Pause:
        """A pause of the runs that are on here, not begun yet."""

    async def empty(self, agent: str = "") -> None:
        """Return when no run of an agent ("": of any) is on here."""


class Dispatcher(Protocol):
    """What may decide on a dispatch at once. The scheduler offers this."""

    async def dispatch(self, events: Sequence[NewEvent], actor: str, cause: str, read_at: int) -> Committed | None:
        """Append the events of a dispatch with what follows from them at once: the run's release, and its start.

        read_at: the position that the decision had read up to (`Append.read_at`).

        None where nothing follows, or another node decides it: nothing was appended then. Raises as `Gateway.append`.
        """


class NodeDaemon:
    """The daemon of this node.

    follower: of the log; its plan is to be read only. runs: those that are on here. dispatcher: for dispatches.
    ending: set when the daemon is to end. start_anew: whether another daemon follows at once. evicted: why the home is
    not this daemon's any more, None while it is; taken: it is another daemon's. monitors: those of this node that look,
    with the time to which each counts as running (server ms). look_for_alerts: looks at once for what is to be told,
    where this daemon leads. errands: how many commands of other nodes are carried out here.
    """

    def __init__(self, follower: Follower, runs: LocalRuns, dispatcher: Dispatcher) -> None:
        self.follower = follower
        self.runs = runs
        self.dispatcher = dispatcher
        self.ending = trio.Event()
        self.start_anew = False
        self.evicted: Refused | None = None
        self.taken = False
        self.look_for_alerts: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self.monitors: dict[str, int] = {}
        self.errands = 0
        self._drains = trio.Event()

    def drain(self, reason: str) -> None:
        """Take no more runs, and start anew when the last one has ended."""
        if not self.runs.draining:
            log.info("draining: %s", reason)
            self.runs.drain()
            self.start_anew = True
            self._drains.set()

    def stop(self) -> None:
        """End the daemon in order, for good."""
        self.start_anew = False
        self.ending.set()

    def evict(self, why: Refused, taken: bool) -> None:
        """End the daemon, as its home is not its own any more. taken: the home is another daemon's."""
        log.error(why.line())
        self.evicted, self.taken = why, taken
        self.stop()

    async def leave_when_drained(self, node: str) -> None:
        """End the daemon once what was on here when its node was drained has ended. node: this one.

        A daemon that starts on a drained node stays: it answers commands, and takes no runs.
        """
        drained = trio.Event()

        def hear(event: Event) -> None:
            nonlocal drained
            if isinstance(event.fact, NodeDrainBegun) and event.fact.node == node:
                drained.set()
            elif isinstance(event.fact, NodeDrainEnded) and event.fact.node == node and drained.is_set():
                drained = trio.Event()

        self.follower.listen(hear)
        while True:
            await drained.wait()
            await trio.sleep(DRAINED_EVERY_S)
            crew = self.follower.plan.crew
            is_busy = self.errands or self.runs.count() or crew.used[node] > 0 or node in crew.still
            if drained.is_set() and not is_busy:
                break
        log.info("node %s was drained: its daemon ends", node)
        self.stop()

    async def end_when_drained(self) -> None:
        """Set `ending` once the last run of a daemon that is to start anew has ended."""
        await self._drains.wait()
        while not (self.start_anew and not self.runs.count()):
            await trio.sleep(0.1)
        self.ending.set()
