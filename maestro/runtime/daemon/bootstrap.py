"""The bootstrap of a context from settings: the store that they choose, found safe, behind a gateway."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from maestro import config
from maestro.config import Settings
from maestro.folders import HeldFolder
from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.daemon.store_guard import keep_alive, watch_files
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.context import Context
from maestro.runtime.node.identity import node_id
from maestro.runtime.node.known_head import KnownHead
from maestro.store.contract import Store
from maestro.store.embedded import choice, embedded_server
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore

KNOWN_HEAD_EVERY_S = 0.25
KNOWN_HEAD_IDLE_S = 5.0
"""As KNOWN_HEAD_EVERY_S, for a daemon whose log stands still."""


@asynccontextmanager
async def open_context(settings: Settings, checked: bool = True) -> AsyncIterator[Context]:
    """A context over the store of these settings, closed at the end of the block.

    checked: raise StoreAway, StoreUnsafe where there is no store, or its log is not the one that this installation
    knew. False leaves that to the server, as there are commands for such cases: see `Context.storeless`.
    """
    config.open_home(settings)
    storeless: MaestroError | None = None
    try:
        store = await trio.to_thread.run_sync(open_store, settings)
    except (StoreAway, StoreUnsafe) as error:
        if checked:
            raise
        storeless, store = error, MemoryStore(settings.namespace)
    try:
        known_head = KnownHead(settings)
        if checked:
            await trio.to_thread.run_sync(known_head.check, store)
        async with Gateway(store) as gateway:
            context = Context(settings, node_id(settings.home), store, gateway)
            context.handlers = HANDLERS
            context.storeless = storeless
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_or_give_up, gateway, _keep, known_head, context)
                if storeless is None and choice.choose(settings).kind == "embedded":
                    context.revive = functools.partial(embedded_server.ensure, settings.home, settings.embedded_fsync)
                    nursery.start_soon(_or_give_up, gateway, keep_alive, context)
                    nursery.start_soon(_or_give_up, gateway, watch_files, context)
                yield context
                nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(store.close)


async def _or_give_up(gateway: Gateway, task: Callable[..., Awaitable[None]], *args: object) -> None:
    """Run a background task; if it fails, close the gateway, so that waiting appends fail instead of hanging."""
    try:
        await task(*args)
    except Exception:
        gateway.give_up()
        raise


async def _keep(known_head: KnownHead, context: Context) -> None:
    """Keep the known head as new as what this process knows, also at its end."""
    home = HeldFolder(known_head.home)
    try:
        while True:
            await trio.sleep(KNOWN_HEAD_EVERY_S)
            _note(known_head, home, context.store)
            if context.daemon is not None:
                await context.daemon.follower.news_within(KNOWN_HEAD_IDLE_S, context.store.log.known().seq)
    finally:
        _note(known_head, home, context.store)
        home.close()


def _note(known_head: KnownHead, home: HeldFolder, store: Store) -> None:
    if not home.stands:  # another home may be there by now, and begin a log of its own
        return
    known_head.follow(store)
