"""Workspaces of agents on this node: checked under the guards, made, cleared, listed."""

from __future__ import annotations

from pathlib import Path

import trio

from maestro.agents.definitions import Definition
from maestro.config import Settings, open_workspace_root
from maestro.model.agent import Agent
from maestro.model.errors import Invalid, NotFound, Refused
from maestro.runtime.context import Call, Context
from maestro.runtime.handlers.registering import caller_settings
from maestro.workspaces import cleaning, guards, mounts, templates
from maestro.workspaces.folders import is_folder


async def check_workspace(call: Call, agent: str, path: str, node: str | None) -> str:
    """The real path of a folder that the agent may have as its workspace; nothing is made.

    Raises Invalid, Refused as `guards.check_workspace`; NotFound for a node that never joined.
    """
    context = call.context
    settings = caller_settings(call)
    if not path.startswith("/"):
        raise Invalid(f"{path!r} is no absolute path", "--to-workspace", "write it from / on")
    if node is not None and node != context.node:
        if await context.row(context.views.node, node) is None:
            raise NotFound(f"there is no node {node!r}", mend="node list shows all")
        return path
    claims = await _claims(context)

    def work() -> str:
        root = _root(settings, agent, claims)
        return guards.check_workspace(agent, path, root=root, home=settings.home, claims=claims)

    warning = cleaning.disk_warning(settings.workspace_root, context.settings.max_concurrent)
    if warning:
        await call.note(warning, "warn")
    return await trio.to_thread.run_sync(work)


async def check_runs_place(call: Call, agent: str) -> None:
    """An agent without a workspace may have its folder of runs below the caller's root. Raises Invalid, Refused."""
    claims = await _claims(call.context)
    await trio.to_thread.run_sync(_root, caller_settings(call), agent, claims)


async def _claims(context: Context) -> list[guards.Claim]:
    """What the agents of this node have."""
    agents = await context.rows(context.views.agents)
    return [
        guards.Claim(other.id, other.workspace_root, other.workspace)
        for other in agents
        if other.node in (None, context.node)
    ]


def _root(settings: Settings, agent: str, claims: list[guards.Claim]) -> Path:
    """The root of runs, made if absent, below which that agent may have its folder."""
    root = open_workspace_root(settings)
    guards.check_root(root, settings.home)
    guards.check_agent_id(agent, root=root, claims=claims)
    return root


async def make_workspace(workspace: str, definition: Definition) -> None:
    """Make a checked workspace of this node from the template, where it is absent or empty. Raises Refused."""

    def work() -> None:
        templates.fill(workspace, definition.workspace_template)
        guards.check_unchanged(workspace)

    await trio.to_thread.run_sync(work)


def check_clearable(context: Context, agent: Agent) -> str:
    """The workspace that is to be emptied. Raises Refused where it is on another node, or the agent has none."""
    if agent.workspace is None:
        raise Refused(f"agent {agent.id} has no workspace of its own", mend="assign it one with --to-workspace")
    if agent.node != context.node:
        raise Refused(f"the workspace of {agent.id} is on node {agent.node}", mend="run this there")
    return agent.workspace


async def check_unmounted(context: Context, agent: Agent) -> None:
    """Nothing is mounted in the workspace that is to be emptied. Raises Refused naming it, or as `check_clearable`."""
    await trio.to_thread.run_sync(mounts.check_no_mounts, check_clearable(context, agent), "emptied")


async def clear_workspace(context: Context, agent: Agent, again: bool) -> None:
    """Empty the workspace of an agent that was stopped; again: fill it from the template.

    Raises Refused as `check_clearable`, and where it cannot be emptied.
    """
    workspace = check_clearable(context, agent)
    template = str(agent.definition.get("workspace_template", ""))

    def work() -> None:
        if is_folder(workspace):
            guards.check_unchanged(workspace)
            cleaning.clean(workspace)
        if again:
            templates.fill(workspace, template)

    await trio.to_thread.run_sync(work)
