"""An interim stop of an agent: undone where the command that stopped the agent on its way is broken off.

A reset, a clean, a forced move stop their agent first, and may then be refused, fail, or lose their client. A stop that
a user asked for is never undone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from maestro.model.agent import Agent, decide_restart
from maestro.model.errors import MaestroError
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Call
from maestro.runtime.node.daemon_log import log
from maestro.store.contract import Committed


@asynccontextmanager
async def stopped_meanwhile(call: Call, agent: Agent, reason: str) -> AsyncIterator[None]:
    """Let the agent take work again where the block, which stops it for this reason, raises or is cancelled.

    agent: the row before the stop; an agent that was stopped by then stays stopped.
    """
    try:
        yield
    except BaseException:
        if not agent.stopped:
            with trio.CancelScope(shield=True):
                await _try_go_on(call, agent.id, reason)
        raise


async def _try_go_on(call: Call, agent: str, reason: str) -> None:
    """Start the agent again. The error that broke the command off counts for its user, so one of this is logged."""
    try:
        await _go_on(call, agent, reason)
    except MaestroError as error:
        log.warning("agent %s stays stopped (%s): %s", agent, reason, error.line())


async def _go_on(call: Call, agent: str, reason: str) -> None:
    context = call.context
    race = Race(f"agent {agent} keeps changing")
    while True:
        row = await context.row(context.views.agent, agent)
        if row is None or not row.stopped or row.reason != reason:
            return
        events = decide_restart(agent, row, await context.floor())
        if isinstance(await context.append(events, call.caller.actor, call.cause), Committed):
            return
        await race.lost()
