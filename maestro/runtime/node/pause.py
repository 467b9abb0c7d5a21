"""The pause of runs on this node: no program starts, running ones are frozen, ends of others are in the log.

So the workspaces of agents at work are read as they were at one position of the log. Timeouts do not run meanwhile: the
wardens see to that. A daemon that is killed takes its runs with it, so nothing stays frozen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

import trio

from maestro.model.errors import Refused
from maestro.runtime.node.daemon_log import log

START_S_MAX = 120.0
"""How long a pause waits for a start that is under way: it may be copying a template."""
FREEZE_S_MAX = 15.0
FLUSH_S_MAX = 10.0
POLL_S = 0.005


class Rest(Protocol):
    """How the process tree of a run was frozen."""

    @property
    def complete(self) -> bool:
        """Whether every process of the tree stands still."""


class Freezable(Protocol):
    """The process tree of a run, as a pause needs it."""

    @property
    def frozen(self) -> Rest | None:
        """How the tree was frozen; None while it runs."""

    @property
    def end(self) -> object | None:
        """How the run ended; None while the tree lives."""

    def freeze(self) -> None:
        """Have the tree stand still; does not wait."""

    async def comes_to_rest(self) -> None:
        """Return when the tree stands still, or has ended."""

    def thaw(self) -> None:
        """Let the tree go on."""


class Pausable(Protocol):
    """A run, as a pause needs it."""

    @property
    def agent_id(self) -> str:
        """The agent of the run; "" while it is not known."""

    @property
    def agent_ids(self) -> tuple[str, ...]:
        """That agent, and the one in whose workspace the run works."""

    @property
    def process(self) -> Freezable | None:
        """The process tree of the run; None before its launch."""

    @property
    def over(self) -> bool:
        """Whether no process of the run is alive; its end may not be in the log yet."""


class StartGate:
    """The gate that every start of a program goes through, closed to held agents. ALL stands for every agent."""

    ALL = ""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._inside: Counter[str] = Counter()
        self._waiting: set[object] = set()
        self._lot = trio.lowlevel.ParkingLot()

    def held(self, agent: str) -> bool:
        """Whether the gate is closed to this agent."""
        return self._held[agent] > 0 or self._held[self.ALL] > 0

    def waits(self, who: object) -> bool:
        """Whether this run waits before the gate."""
        return who in self._waiting

    def inside(self, agents: Iterable[str] | None) -> bool:
        """Whether a start of one of these agents (None: of any) is under way."""
        return any(self._inside.values()) if agents is None else any(self._inside[agent] for agent in agents)

    async def opens(self, agent: str, who: object) -> None:
        """Wait while the agent is held. who: the run that waits, for `waits`."""
        try:
            while self.held(agent):
                self._waiting.add(who)
                await self._lot.park()
        finally:
            self._waiting.discard(who)

    @contextmanager
    def aside(self, who: object) -> Iterator[None]:
        """Count a run as waiting before the gate for the time of the block, so that no pause waits for its end."""
        self._waiting.add(who)
        try:
            yield
        finally:
            self._waiting.discard(who)

    @asynccontextmanager
    async def passing(self, agent: str, who: object) -> AsyncIterator[None]:
        """Wait while the agent is held; its start is under way for the time of the block. who: the run, for `waits`."""
        await self.opens(agent, who)
        self.enter(agent)
        try:
            yield
        finally:
            self.leave(agent)

    def enter(self, agent: str) -> None:
        """Count a start of this agent as under way until `leave`. The caller has seen that the agent is not held."""
        self._inside[agent] += 1

    def leave(self, agent: str) -> None:
        """Count a start of this agent as over: it was made, or given up."""
        self._inside[agent] -= 1

    def hold(self, agents: Iterable[str] | None) -> None:
        """Close the gate to these agents, to all where it is None."""
        self._held.update([self.ALL] if agents is None else agents)

    def release(self, agents: Iterable[str] | None) -> None:
        """Open the gate again, once for each `hold`."""
        self._held.subtract([self.ALL] if agents is None else agents)
        self._lot.unpark_all()


class Pause:
    """A pause of the runs of some agents: `begin`, read their workspaces, `end`. runs: gives those that are on here."""

    def __init__(self, gate: StartGate, runs: Callable[[], Iterable[Pausable]]) -> None:
        self._gate = gate
        self._runs = runs
        self._agents: list[str] | None = []
        self._began = False
        self._frozen: list[Freezable] = []

    async def begin(self, agents: Iterable[str] | None, freeze: bool = True) -> list[str]:
        """Close the gate to these agents (None: to all), and freeze their runs; returns warnings for the user.

        freeze: False lets go on what runs already. Raises Refused where a run does not come to rest; call `end` all the
        same.
        """
        self._agents = None if agents is None else list(agents)
        self._began = True
        self._gate.hold(self._agents)
        with trio.move_on_after(START_S_MAX):
            while self._gate.inside(self._agents):
                await trio.sleep(POLL_S)
        if self._gate.inside(self._agents):
            raise Refused("a run has been in preparation for too long", mend="try again when it has started")
        if not freeze:
            return []
        warnings = await self._freeze()
        await self._flush()
        return warnings

    def thaw(self) -> None:
        """Let go on what was frozen; the gate stays as it is."""
        for process in self._frozen:
            if process.end is None:
                process.thaw()
        self._frozen = []

    def end(self) -> None:
        """Let all go on, and open the gate. Does nothing where no pause has begun."""
        self.thaw()
        if self._began:
            self._began = False
            self._gate.release(self._agents)

    def _mine(self) -> list[Pausable]:
        return [run for run in self._runs() if self._agents is None or not set(self._agents).isdisjoint(run.agent_ids)]

    async def _freeze(self) -> list[str]:
        runs = [(run.agent_id, run.process) for run in self._mine() if run.process is not None and not run.over]
        for _, process in runs:
            process.freeze()
            self._frozen.append(process)
        deadline = trio.current_time() + FREEZE_S_MAX
        warnings = []
        for agent, process in runs:
            with trio.move_on_at(deadline):
                await process.comes_to_rest()
            if process.frozen is None and process.end is None:
                raise Refused(f"agent {agent} cannot be paused", mend=f"stop it: maestro agent stop {agent} --force")
            if process.frozen is not None and not process.frozen.complete:
                warnings.append(f"a process of agent {agent} did not stand still: it is in a call of the system")
        return warnings

    async def _flush(self) -> None:
        """Wait until the end of each run that has ended by itself is in the log, so that it counts as done."""
        with trio.move_on_after(FLUSH_S_MAX) as scope:
            while any(run.process is not None and run.over and not self._gate.waits(run) for run in self._mine()):
                await trio.sleep(POLL_S)
        if scope.cancelled_caught:
            log.warning("the end of a run does not get into the log: the pause goes on without it")
