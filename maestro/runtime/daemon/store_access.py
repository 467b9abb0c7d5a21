"""Access to the store of an installation: chosen, started where it is the embedded one, found safe."""

from __future__ import annotations

import time

from maestro import config
from maestro.config import Settings
from maestro.model.errors import StoreAway
from maestro.runtime.restores.forks.own_places import check_own_places
from maestro.store.contract import Store
from maestro.store.embedded import choice
from maestro.store.redis import safety
from maestro.store.redis.redis_store import open_redis
from replayers.sealed import INDEX, Segments

AGAIN_S = 0.05
STOPPED_S_MAX = 10.0
"""How long an embedded store is started again that others stop (`maestro shutdown`) before it is open here."""


def open_store(settings: Settings) -> Store:
    """Open the store of these settings; the embedded one is started.

    Raises StoreAway where it cannot be reached, StoreUnsafe where its settings would lose acknowledged events,
    Refused in a fork that would share its places.
    """
    check_own_places(settings)
    chosen = choice.choose(settings)
    deadline = time.monotonic() + STOPPED_S_MAX
    while True:
        url = choice.ensure(settings, chosen)
        try:
            return _open(settings, chosen, url)
        except StoreAway:
            if chosen.kind != "embedded" or time.monotonic() > deadline:
                raise
            time.sleep(AGAIN_S)


def _open(settings: Settings, chosen: choice.Choice, url: str) -> Store:
    store = open_redis(url, settings.namespace)
    try:
        safety.refuse_unsafe(safety.checks(store.describe(), chosen.kind), config.redact(chosen.url))
        index = (
            settings.home / "segments" / settings.namespace / INDEX
        )  # each node has its own, also of shared segments
        store.attach(Segments(settings.segments_dir, settings.namespace, index))
    except BaseException:
        store.close()
        raise
    return store
