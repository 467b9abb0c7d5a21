"""The rights that a restore needs: on this node, one restore at a time; in the namespace, a lease.

Both are given back on every way out, also where the command was cancelled.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.restores.journal import Journal
from maestro.workspaces.exchanges.exchange import Exchange

LEASE_TTL_MS = 30_000
RENEW_EVERY_S = 2.0
DROP_S_MAX = 5.0
AGAIN_S = 0.5


@asynccontextmanager
async def restoring(journal: Journal) -> AsyncIterator[Exchange]:
    """Hold the right to restore on this node, with its exchange. Raises as `Journal.exchange`."""
    exchange = await trio.to_thread.run_sync(journal.exchange)
    try:
        yield exchange
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(exchange.close)


@asynccontextmanager
async def in_turn(
    context: Context, lease: str, gives_up: Callable[[], bool] = lambda: False
) -> AsyncIterator[tuple[Journal, Exchange] | None]:
    """Hold the rights that a restore needs; waits for a restore that is under way. None where the caller gives up."""
    journal = Journal(context.settings.home)
    while not gives_up():
        async with AsyncExitStack() as stack:
            try:
                exchange = await stack.enter_async_context(restoring(journal))
                await stack.enter_async_context(leased(context, (lease,)))
            except Refused:
                pass
            else:
                yield journal, exchange
                return
        await trio.sleep(AGAIN_S)
    yield None


@asynccontextmanager
async def leased(context: Context, names: Sequence[str]) -> AsyncIterator[None]:
    """Hold leases of the namespace for this node. Raises Refused where another node holds one of them."""
    work, holder = context.store.work, context.node
    held: list[str] = []

    async def renew() -> None:
        while True:
            await trio.sleep(RENEW_EVERY_S)
            for name in names:
                try:
                    await context.call(work.lease_take, name, holder, LEASE_TTL_MS)
                except MaestroError as error:
                    log.warning("renewing the lease of a restore: %s", error.line())

    try:
        for name in names:
            if not await context.call(work.lease_take, name, holder, LEASE_TTL_MS):
                raise Refused("another restore is under way on another node", mend="wait for its end")
            held.append(name)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(renew)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(DROP_S_MAX):
            for name in held:
                await drop_lease(context, name)


async def drop_lease(context: Context, name: str) -> None:
    """Give a lease of the namespace back. Where the store cannot be told, the lease ends by itself after its time."""
    try:
        await context.call(context.store.work.lease_drop, name, context.node)
    except MaestroError as error:
        log.info("the lease %s is not given back, and ends after %d s: %s", name, LEASE_TTL_MS // 1000, error.line())
