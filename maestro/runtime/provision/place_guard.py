"""The check of places where agents may work, by one look at the folders of all agents for as many as are to be placed.

The look is taken again where somebody else has claimed a place since: a claim is appended at the version of all places
at which the check was made (`maestro.model.placement`).
"""

from __future__ import annotations

from typing import NamedTuple

import trio

from maestro.config import open_workspace_root
from maestro.model.agent import Assignment
from maestro.model.errors import Invalid
from maestro.model.placement import PLACES
from maestro.runtime.node.context import Call
from maestro.runtime.provision.settlement import surroundings_on
from maestro.runtime.provision.type_binding import caller_settings
from maestro.workspaces import guards


class CheckedPlace(NamedTuple):
    """A place where an agent may work, by the guards. workspace: its real path, None for run folders.

    version: of all places (`PLACES`), read before the agents that the workspace was compared with.
    """

    workspace: str | None
    version: int


class PlaceGuard:
    """Checks the places that agents of one host are to have; for one command, which makes no folder meanwhile.

    node: whose host it is, None for this node.
    """

    def __init__(self, call: Call, node: str | None = None) -> None:
        self._call = call
        self._settings = caller_settings(call)
        self._node = node or call.context.node
        self._version = self._own = -1
        self._claims: list[guards.Claim] = []
        self._near: set[str] = set()
        self._kept: list[tuple[str, str]] = []
        self._neighbours: guards.Neighbours | None = None

    async def check(self, agent: str, workspace: str | None) -> CheckedPlace:
        """Check the place that an agent is to have. Makes no folder but the root of runs.

        Raises Invalid, Refused as `guards.Neighbours.check`; NotFound for a node that never joined.
        """
        context = self._call.context
        version = await context.call(context.store.log.version, PLACES)
        if version not in {self._version, self._own} or not self._near:
            self._claims, self._near, self._kept = await surroundings_on(context, self._node)
            self._neighbours = None
        self._version = version
        return CheckedPlace(await trio.to_thread.run_sync(self._checked, agent, workspace), version)

    def assigned(self, wanted: Assignment, position: int) -> None:
        """Take an assignment into account that was just appended for a checked place. position: of its last event."""
        self._own = position  # where that claims the place, it is the version of all places now
        claim = guards.Claim(wanted.agent, wanted.workspace_root, wanted.workspace)
        self._claims.append(claim)
        if self._neighbours is not None:
            self._neighbours.add(claim)

    def _checked(self, agent: str, workspace: str | None) -> str | None:
        settings = self._settings
        if workspace is not None and not workspace.startswith("/"):
            raise Invalid(f"{workspace!r} is no absolute path", "--to-workspace", "write it from / on")
        if workspace is not None and self._call.context.node not in self._near:
            return guards.check_elsewhere(agent, workspace, self._claims)
        root = open_workspace_root(settings)  # of runs, made if absent; this agent is to have its folder below it
        guards.check_root(root, settings.home)
        if self._neighbours is None:
            self._neighbours = guards.Neighbours(settings.home, self._claims, self._kept)
        self._neighbours.check_agent_id(agent, root)
        return workspace and self._neighbours.check(agent, workspace, root)


async def check_place(call: Call, agent: str, workspace: str | None, node: str | None) -> CheckedPlace:
    """Check the place that one agent is to have, as `PlaceGuard.check`. node: None for this one."""
    return await PlaceGuard(call, node).check(agent, workspace)
