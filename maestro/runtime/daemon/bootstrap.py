"""From settings to a context: the store that was chosen, found safe, behind a gateway."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from maestro import config
from maestro.config import Settings
from maestro.folders import HeldFolder
from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.runtime.daemon.store_guard import keep_alive, watch_files
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.context import Context
from maestro.runtime.node.daemon_log import seldom
from maestro.runtime.node.identity import node_id
from maestro.runtime.node.known_head import KnownHead
from maestro.store.contract import Store
from maestro.store.embedded import choice, embedded_server
from maestro.store.gateway import Gateway
from maestro.store.memory.memory_store import MemoryStore
from maestro.store.redis import safety
from maestro.store.redis.redis_store import open_redis
from replayers.sealed import Segments

WITNESS_EVERY_S = 0.25


def open_store(settings: Settings) -> Store:
    """The store of these settings, started where it is the embedded one.

    Raises StoreAway where it cannot be reached, StoreUnsafe where its settings would lose acknowledged events.
    """
    chosen = choice.choose(settings)
    store = open_redis(choice.ensure(settings, chosen), settings.namespace)
    try:
        safety.refuse_unsafe(safety.checks(store.describe(), chosen.kind), config.redact(chosen.url))
        store.attach(Segments(settings.segments_dir, settings.namespace))
    except BaseException:
        store.close()
        raise
    return store


@asynccontextmanager
async def open_context(settings: Settings, checked: bool = True) -> AsyncIterator[Context]:
    """A context over the store; closed at the end.

    checked: there must be a store, and its log be the one that this installation knew, else StoreAway, StoreUnsafe;
    False leaves that to the server, as there are commands for what is not so. See `Context.storeless`.
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
        witness = KnownHead(settings)
        if checked:
            await trio.to_thread.run_sync(witness.check, store)
        async with Gateway(store) as gateway:
            context = Context(settings, node_id(settings.home), store, gateway)
            context.handlers = HANDLERS
            context.storeless = storeless
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_or_give_up, gateway, _keep, witness, store)
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
    """A task whose error ends the context. An append that waits for the store would never end: nobody revives that."""
    try:
        await task(*args)
    except Exception:
        gateway.give_up()
        raise


async def _keep(witness: KnownHead, store: Store) -> None:
    """Have the witness know what this process knows, also at its end."""
    home = HeldFolder(witness.home)
    try:
        while True:
            await trio.sleep(WITNESS_EVERY_S)
            _note(witness, home, store)
    finally:
        _note(witness, home, store)
        home.close()


def _note(witness: KnownHead, home: HeldFolder, store: Store) -> None:
    if not home.stands:  # another home may be there by now, and begin a log of its own
        return
    try:
        witness.note(store.log.known())
    except OSError as error:  # a full disk: what it knew stands, and is true
        seldom.warn("witness", f"{witness.path}: {error.strerror}; what is known of the log is not kept there for now")
