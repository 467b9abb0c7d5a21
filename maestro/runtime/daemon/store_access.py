"""Access to the store of an installation: chosen, started where it is the embedded one, found safe."""

from __future__ import annotations

from maestro import config
from maestro.config import Settings
from maestro.store.contract import Store
from maestro.store.embedded import choice
from maestro.store.redis import safety
from maestro.store.redis.redis_store import open_redis
from replayers.sealed import Segments

KNOWN_HEAD_EVERY_S = 0.25


def open_store(settings: Settings) -> Store:
    """Open the store of these settings; the embedded one is started.

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
