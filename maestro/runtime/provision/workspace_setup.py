"""Workspaces of agents on this node: checked by the guards, made from templates, made again."""

from __future__ import annotations

from typing import NamedTuple

import trio

from maestro.agents.definitions import Definition
from maestro.config import open_workspace_root
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Invalid, Refused
from maestro.model.placement import PLACES
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.settlement import claims_on
from maestro.runtime.provision.type_binding import caller_settings
from maestro.workspaces import cleaning, guards, mounts, templates


class CheckedPlace(NamedTuple):
    """A place where an agent may work, by the guards. workspace: its real path, None for run folders.

    version: of all places (`PLACES`), read before the agents that the workspace was compared with.
    """

    workspace: str | None
    version: int


async def check_place(call: Call, agent: str, workspace: str | None, node: str | None) -> CheckedPlace:
    """Check the place that an agent is to have, on this node or the named one. Makes no folder but the root of runs.

    Raises Invalid, Refused as `guards.check_workspace`; NotFound for a node that never joined.
    """
    context = call.context
    version = await context.call(context.store.log.version, PLACES)
    claims, near = await claims_on(context, node or context.node)
    return CheckedPlace(await trio.to_thread.run_sync(_checked, call, agent, workspace, claims, near), version)


def _checked(call: Call, agent: str, workspace: str | None, claims: list[guards.Claim], near: set[str]) -> str | None:
    settings, here = caller_settings(call), call.context.node
    if workspace is not None and not workspace.startswith("/"):
        raise Invalid(f"{workspace!r} is no absolute path", "--to-workspace", "write it from / on")
    if workspace is not None and here not in near:
        return guards.check_elsewhere(agent, workspace, claims)
    root = open_workspace_root(settings)  # of runs, made if absent; this agent is to have its folder below it
    guards.check_root(root, settings.home)
    neighbours = guards.Neighbours(settings.home, claims)
    neighbours.check_agent_id(agent, root)
    return workspace and neighbours.check(agent, workspace, root)


async def warn_of_disk(call: Call) -> None:
    """Warn the caller where the disk below the root of workspaces has little room."""
    root = caller_settings(call).workspace_root
    warning = cleaning.disk_warning(root, call.context.settings.max_concurrent)
    if warning:
        await call.note(warning, "warn")


async def make_workspace(workspace: str, definition: Definition) -> None:
    """Make a checked workspace of this node from the template, where it is absent or empty. Raises Refused."""

    def work() -> None:
        templates.fill(workspace, definition.workspace_template)
        guards.check_unchanged(workspace)

    await trio.to_thread.run_sync(work)


def check_clearable(context: Context, agent: Agent) -> str:
    """The workspace of an agent that may be emptied here. Raises Refused where it has none, or on another node."""
    if agent.workspace is None:
        raise Refused(f"agent {agent.id} has no workspace of its own", mend="assign it one with --to-workspace")
    if agent.node != context.node:
        raise Refused(f"the workspace of {agent.id} is on node {agent.node}", mend="run this there")
    return agent.workspace


async def refill_workspace(context: Context, agent: Agent) -> None:
    """Fill the workspace of an agent, which was emptied or is gone, from its template. Raises Refused."""
    workspace = check_clearable(context, agent)
    await trio.to_thread.run_sync(templates.fill, workspace, AgentDefinition(agent.definition).workspace_template)


async def check_unmounted(context: Context, agent: Agent) -> None:
    """Check that nothing is mounted in an agent's workspace. Raises Refused naming it, or as `check_clearable`."""
    await trio.to_thread.run_sync(mounts.check_no_mounts, check_clearable(context, agent), "emptied")
