"""The agents that a run needs: those that are there, those that register themselves on first use, and stand-ins."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from maestro.model.agent import Agent
from maestro.model.dispatch import DispatchState, Members
from maestro.model.errors import Invalid, MaestroError, NotFound, StoreAway
from maestro.model.events import NewEvent
from maestro.model.ids import shown
from maestro.model.target import check_target, labels_of, who
from maestro.model.workflow.checks import near
from maestro.model.workflow.definition import Step, Workflow
from maestro.model.workflow.overrides import EVERY, STAND_IN, overridden_chain
from maestro.model.workflow.stored.starting import Target
from maestro.runtime.handlers.dispatch import first_use, tell_unlabelled
from maestro.runtime.node.context import Call

OPTION = "--agent-override"


class Chain(NamedTuple):
    """The agents of a step, one of which has to be there. where: workflow and step, for errors."""

    where: str
    targets: tuple[str, ...]


class Workforce:
    """The agents that one run needs. overrides: as the user gave them."""

    def __init__(self, call: Call, target: Target, overrides: Mapping[str, str]) -> None:
        self._call = call
        self._target = target
        self._overrides = overrides
        self._wanted: list[str] = []
        self.agents: dict[str, Agent] = {}
        self.members = Members([])

    async def examine(self, again: Collection[str] | None) -> None:
        """Find out whether all are there that are needed. again: the steps that run, None for all.

        Raises NotFound, Invalid, Refused where of a chain nobody is; one of several that is not there is noted.
        """
        rows = await self._call.context.agents()
        self.agents = {agent.id: agent for agent in rows}
        self._check_overrides()
        chains = [*self._chains(again), *(Chain(OPTION, (to,)) for to in self._overrides.values() if to != STAND_IN)]
        self.members = Members(self.agents.values())
        missing: dict[str, MaestroError] = {}
        for target in dict.fromkeys(one for chain in chains for one in chain.targets if one != STAND_IN):
            if (error := await self._missing(target)) is not None:
                missing[target] = error
        for chain in chains:
            errors = [missing[one] for one in chain.targets if one in missing]
            if errors and len(errors) == len(chain.targets):
                first = errors[0]
                first.where = chain.where if not first.where else f"{chain.where}: {first.where}"
                raise first
        await self._tell_labels(list(dict.fromkeys(one for chain in chains for one in chain.targets)))
        for target, error in missing.items():
            await self._call.note(f"{target} cannot work, others of its chain will: {error.line()}", "warn")
        self._wanted = [one for chain in chains for one in chain.targets if one != STAND_IN and one not in missing]
        self._wanted = list(dict.fromkeys(self._wanted))

    async def _tell_labels(self, targets: Sequence[str]) -> None:
        """Warn of targets that wait for labels that no node has."""
        if any(map(labels_of, targets)):
            nodes = {node.id: node for node in await self._call.context.rows(self._call.context.views.nodes)}
            await tell_unlabelled(self._call, targets, DispatchState(list(self.agents.values()), nodes=nodes))

    async def _missing(self, target: str) -> MaestroError | None:
        """Why nobody answers to a target; else None, and who is new is in `agents`."""
        try:
            check_target(target)
            if who(target) not in self.members.of and await first_use(self._call, [target], self.agents, 0):
                self.members = Members(self.agents.values())
            if who(target) not in self.members.of:
                mend = "maestro agent list shows all, maestro agent assign makes one"
                return NotFound(f"no agent matches {shown(target)}", mend=mend)
        except StoreAway:
            raise
        except MaestroError as error:
            return error
        return None

    async def first_use(self, floor: int) -> tuple[list[NewEvent], list[Agent]]:
        """The events that register those who are new, on the newest state; and all who may work."""
        rows = await self._call.context.agents()
        agents = {agent.id: agent for agent in rows}
        events = await first_use(self._call, self._wanted, agents, floor)
        members = Members(agents.values(), self._wanted)
        return events, list({one.id: one for each in members.of.values() for one in each}.values())

    def chain(self, step: Step) -> tuple[str, ...]:
        """Who works for a step, as the overrides have it: () for nobody, `run` for a command of the run's folder."""
        if step.kind == "agent":
            return overridden_chain(step.agents, self._overrides)
        if step.kind != "run":
            return ()
        if step.place in ("", "run"):
            return (STAND_IN,) if EVERY in self._overrides else ("run",)
        return overridden_chain((step.place,), self._overrides)

    def _chains(self, again: Collection[str] | None) -> list[Chain]:
        found: list[Chain] = []
        for name, workflow in self._workflows().items():
            for step in workflow.steps:
                if again is not None and name == self._target.id and step.id not in again:
                    continue
                where = f"step {step.id}" if name == self._target.id else f"step {step.id} of {name}"
                targets = tuple(one for one in self.chain(step) if step.kind == "agent" or one != "run")
                if targets and "{{" not in targets[0]:
                    found.append(Chain(where, targets))
                if step.kind == "agent" and step.place not in ("", "run") and "{{" not in step.place:
                    found.append(Chain(f"{where}: in", overridden_chain((step.place,), self._overrides)))
        return found

    def _workflows(self) -> dict[str, Workflow]:
        below = {name: one.definition for name, one in self._target.children.items()}
        return {**below, self._target.id: self._target.workflow}

    def _check_overrides(self) -> None:
        """Raise Invalid for one that stands for nobody whom a step names."""
        named = {
            one
            for workflow in self._workflows().values()
            for step in workflow.steps
            for one in (*step.agents, step.place)
            if one not in ("", "run")
        }
        for of in self._overrides:
            if of != EVERY and of not in named:
                raise Invalid(f"no step names the agent {shown(of)}", OPTION, near(of, named) or "`*` stands for all")
