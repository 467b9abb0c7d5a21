"""What a process inside a run may dispatch: to whom, how deep and how many, by the `delegate` of its agent's type.

The number is held by the log: the n-th task of a run has an id that run and n make, and a subject begins once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from maestro.model.agent import Agent
from maestro.model.definition import Delegate
from maestro.model.dispatch import SAME
from maestro.model.errors import NotFound, Refused
from maestro.model.events import TaskDispatched
from maestro.model.ids import shown
from maestro.model.target import targets_of, who
from maestro.model.task import Task

DEPTH_MAX: Final = 10
NUMBER_MAX: Final = 1000
MAY_SAY: Final = frozenset({"prompt", "targets", "timeout_s", "budget_tokens", "budget_cost"})
"""The fields of a dispatch that a run may choose; all others would reach beyond what its type was granted."""


class Delegator(msgspec.Struct, frozen=True):
    """A run that has dispatched a task, or wants to. workspace: where it works; delegate: the right of its agent's
    type, None for none.
    """

    run: str
    agent: str
    type: str
    workspace: str
    delegate: Delegate | None


class Delegation(msgspec.Struct, frozen=True):
    """What the decision on a delegated dispatch must know.

    above: the run that asks, then the run that dispatched the task of that one, and so on up. made: the tasks that the
    run has dispatched, by number from 1 to its `max`; None where a number is free. agents: all of them. beyond: what it
    has dispatched above that, where that is looked for.
    """

    above: Sequence[Delegator]
    made: Sequence[Task | None]
    agents: Sequence[Agent]
    beyond: Sequence[Task | None] = ()


def decide_delegation(asked: TaskDispatched, known: Delegation, id_of: Callable[[int], str]) -> TaskDispatched:
    """The dispatch with the id that it gets: of the first number that is free, or of the task that its key made before.

    id_of: the id of the n-th task of the run. Raises Refused for what the types of the runs above do not
    grant, NotFound where there is no such agent.
    """
    asking = known.above[0]
    delegate = asking.delegate
    if delegate is None:
        what = f"a process inside a run may use `state` only, and the type {asking.type} has no `delegate`"
        raise Refused(what, mend="run this outside of the agent, or let its definition say to whom it may delegate")
    if said := _not_its_own(asked):
        raise Refused(f"a run that delegates may not set {', '.join(said)}", mend="leave that out")
    if len(asked.targets) != 1 or asked.targets[0] not in delegate.to:
        named = ", ".join(map(shown, asked.targets))
        raise Refused(
            f"the type {asking.type} may not delegate to {named}", mend=f"use one of {', '.join(delegate.to)}"
        )
    if asked.key is not None:
        for task in (*known.made, *known.beyond):
            if task is not None and task.key == asked.key:
                return msgspec.structs.replace(asked, task=task.id)
    _check_depth(known.above)
    _check_somebody(asked.targets[0], known)
    number = next((at for at, task in enumerate(known.made, 1) if task is None), None)
    if number is None:
        what = f"run {asking.run} has dispatched {len(known.made)} tasks, and may no more"
        raise Refused(what, mend=f"`max` in `delegate` of the type {asking.type} says how many")
    return msgspec.structs.replace(asked, task=id_of(number))


def _not_its_own(asked: TaskDispatched) -> list[str]:
    """The options that a run may not choose and that are set, as a user knows them."""
    plain = TaskDispatched(task=asked.task, prompt=asked.prompt, title=asked.title, targets=asked.targets)
    return [
        name for field, name in SAME.items() if field not in MAY_SAY and getattr(asked, field) != getattr(plain, field)
    ]


def _check_depth(above: Sequence[Delegator]) -> None:
    """Every run above must let so many generations follow it. Raises Refused."""
    for generation, one in enumerate(above, 1):
        depth = 0 if one.delegate is None else one.delegate.depth
        if generation > depth:
            what = (
                f"run {one.run} of the type {one.type} lets {depth} generations of tasks follow, and this is the next"
            )
            raise Refused(what, mend="do the work here, or raise `depth` in `delegate` of that type")


def _check_somebody(target: str, known: Delegation) -> None:
    """There must be an agent, and one that is free to begin: those above are busy until this run ends.

    A run makes no agent: the definition of one would be read from where its process says. Raises NotFound, Refused.
    """
    matching = [agent for agent in known.agents if who(target) in targets_of(agent)]
    if not matching:
        raise NotFound(f"no agent matches {shown(target)}", mend="a person makes one: maestro agent assign")
    agents = {one.agent for one in known.above}
    places = {one.workspace for one in known.above}
    if all(agent.id in agents or agent.workspace in places for agent in matching):
        what = f"{shown(target)} works for this run, or in its workspace, until it ends, and could not begin before"
        raise Refused(what, mend="name another target")
