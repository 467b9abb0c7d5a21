"""The site of a run: the node and the workspace that it works in, by its task, its agent, and whose workspace is meant.

The virtual agents `.run` and `.echo` are always there and in no view: they have no workspace, and any number of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, Protocol

from maestro.model.agent import Agent

SHARED: Final = ""
"""The name of the shared work stream, for runs that any node may take."""

RUN_FOLDER: Final = "run"
"""The place of a task that works in the folder of its workflow's run."""

RUN_AGENT: Final = ".run"
"""The agent of commands that name no agent's workspace."""
ECHO_AGENT: Final = ".echo"
"""The stand-in that answers what it is asked."""
VIRTUAL: Final = frozenset({RUN_AGENT, ECHO_AGENT})

Place = tuple[str, str]
"""A workspace: the node that owns it and its path."""


class Ground(NamedTuple):
    """Where a task asks to work: the fields of `TaskDispatched` of these names."""

    place: str = ""
    node: str = ""
    folder: str = ""
    alone: bool = False


class HasGround(Protocol):
    """What says where a task asks to work: its row, or its dispatch."""

    @property
    def place(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def folder(self) -> str: ...
    @property
    def alone(self) -> bool: ...


class Site(NamedTuple):
    """Where a run works. node: SHARED for any. workspace: None for one in the run's own folder of files.

    owner: the agent whose workspace it is, "" for nobody's; common: other runs may work there at the same time.
    """

    node: str
    workspace: str | None = None
    owner: str = ""
    common: bool = False

    @property
    def place(self) -> Place | None:
        """The workspace that counts as taken, None for one that nobody else can have."""
        return None if self.workspace is None else (self.node, self.workspace)

    @property
    def in_run_folder(self) -> bool:
        """Whether it is the folder of a workflow's run."""
        return self.workspace is not None and not self.owner


def virtual_agents() -> dict[str, Agent]:
    """The virtual agents by id. How to run them is the worker's knowledge."""
    return {name: Agent(name, 0, name, {}, "") for name in sorted(VIRTUAL)}


def ground_of(asked: HasGround) -> Ground:
    """Where a task asks to work."""
    return Ground(asked.place, asked.node, asked.folder, asked.alone)


def site_of(ground: Ground, agent: Agent, agents: Mapping[str, Agent]) -> Site | None:
    """Where an agent works for a task that asks for this ground; None where it names an agent that is not there."""
    named = ground.place not in ("", RUN_FOLDER)
    owner = agents.get(ground.place) if named else agent
    if owner is None:
        return None
    if owner.workspace is not None and ground.place != RUN_FOLDER:
        return Site(owner.node or SHARED, owner.workspace, owner.id)
    if ground.folder:
        return Site(ground.node, f"{ground.folder}/workspace", "", not ground.alone)
    return Site(agent.node or SHARED)


def shown_agent(agent: str) -> str:
    """An agent as people know it: a virtual one without its dot."""
    return agent[1:] if agent in VIRTUAL else agent
