"""Workspaces of agents on this node: checked by the guards, made from templates, made again."""

from __future__ import annotations

import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import Refused
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.type_binding import caller_settings
from maestro.workspaces import cleaning, guards, mounts, templates


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


def lies_elsewhere(context: Context, agent: Agent) -> bool:
    """Whether the workspace of an agent lies on another node, which has to empty it."""
    return agent.workspace is not None and agent.node not in (None, context.node)


def check_clearable(context: Context, agent: Agent) -> str:
    """The workspace of an agent that may be emptied here. Raises Refused where it has none, or on another node."""
    if agent.workspace is None:
        raise Refused(f"agent {agent.id} has no workspace of its own", mend="assign it one with --to-workspace")
    if agent.node != context.node:
        raise Refused(f"the workspace of {agent.id} is on node {agent.node} by now", mend="try again")
    return agent.workspace


async def refill_workspace(context: Context, agent: Agent) -> None:
    """Fill the workspace of an agent, which was emptied or is gone, from its template. Raises Refused."""
    workspace = check_clearable(context, agent)
    await trio.to_thread.run_sync(templates.fill, workspace, AgentDefinition(agent.definition).workspace_template)


async def check_unmounted(context: Context, agent: Agent) -> None:
    """Check that nothing is mounted in an agent's workspace. Raises Refused naming it, or as `check_clearable`."""
    await trio.to_thread.run_sync(mounts.check_no_mounts, check_clearable(context, agent), "emptied")
