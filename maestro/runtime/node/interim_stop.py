"""An interim stop: an agent that is stopped for what a command does with it takes work again if that is broken off.

A stop that was asked for stays; this is for commands that stop an agent on their way (a reset, a clean, a forced move)
and may be refused, fail, or lose their client before they are done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import trio

from maestro.model.agent import Agent, decide_restart
from maestro.model.errors import MaestroError
from maestro.runtime.node.contention import Race
from maestro.runtime.node.context import Call
from maestro.store.contract import Committed


@asynccontextmanager
async def stopped_meanwhile(call: Call, agent: Agent, reason: str) -> AsyncIterator[None]:
    """Around the stop of an agent, for this reason, and all that it is stopped for. agent: as it was before."""
    try:
        yield
    except BaseException:
        if not agent.stopped:
            with trio.CancelScope(shield=True), suppress(MaestroError):
                await _go_on(call, agent.id, reason)
        raise


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
