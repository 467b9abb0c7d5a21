"""A snapshot before something is deleted, so that one command brings it back."""

from __future__ import annotations

import shlex
from pathlib import Path

import trio

from maestro.model.agent import Agent
from maestro.runtime.context import Call
from maestro.runtime.snapshots.taking import Wanted, take
from maestro.workspaces.folders import is_folder


async def take_before(call: Call, agent: Agent, reason: str) -> str | None:
    """Take a snapshot of an agent's workspace; its id, None where there is nothing in it.

    Whatever refuses it refuses what was to come: nothing is deleted that is not kept.
    """
    if not await trio.to_thread.run_sync(_is_filled, agent.workspace or ""):
        return None
    taken = await take(call, Wanted(reason, agents=(agent.id,)))
    undo = f"maestro state restore {taken.row.id} --workspace {shlex.quote(str(agent.workspace))}"
    await call.note(f"what is in it is kept: `{undo}` brings it back")
    return taken.row.id


def _is_filled(workspace: str) -> bool:
    return is_folder(workspace) and any(Path(workspace).iterdir())
