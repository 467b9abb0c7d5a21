"""A store, a daemon in this process, a monitor that may be killed: what tests of webhooks are told with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.model.monitoring.deliveries import queued
from maestro.monitor.webhook.attempt import Sender
from maestro.monitor.webhook.courier import deliver
from maestro.monitor.webhook.target import targets
from maestro.runtime.monitor.webhooks import backlogs
from maestro.runtime.node.context import Context
from maestro.runtime.node.ids import new_id
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from maestro.store.gateway import Gateway
from tests.monitor.webhook.receiver import KEYS, Here, settings
from tests.monitor.webhook.test_attempt import PLAIN

Story = Callable[[Here], Awaitable[None]]


class Wishes(NamedTuple):
    """The options of a monitor."""

    monitor: str
    webhooks: tuple[str, ...]
    allow_private: bool = True


def told(store: Store, story: Story, keys: tuple[bytes, ...] = KEYS) -> None:
    """Have a story happen at a store, with a daemon in this process."""

    async def main() -> None:
        async with Gateway(store) as gateway:
            await story(Here(Context(settings(keys, store.namespace), "north", store, gateway), keys))

    trio.run(main)


@asynccontextmanager
async def monitoring(here: Here, *urls: str, name: str = "m1") -> AsyncIterator[None]:
    """A monitor that sends to these URLs; killed at the end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deliver, Wishes(name, urls), here.link, Sender(True, PLAIN))
        yield
        nursery.cancel_scope.cancel()


async def configured(here: Here, *urls: str) -> None:
    """A monitor for these was there once."""
    await here.ask(p.DeliveryTake("before", [target.id for target in targets(urls, allow_private=True)], limit=0))


async def tell(here: Here, fact: e.AlertRaised | e.AlertResolved, tag: str = "") -> None:
    """Do what the leader does where an alert is raised or resolved."""
    events = queued(fact, await backlogs(here.context), tag or new_id())
    await here.append(NewEvent(f"alert:{fact.alert}", fact), *events)


def raised(subject: str = "t1", **more: Any) -> e.AlertRaised:
    fields = {"why": "exit 1", "since": 1_767_225_600_000, "command": f"maestro task logs {subject}", "node": "north"}
    return e.AlertRaised(f"task_failed:{subject}", "task_failed", subject, "warning", "it failed", **(fields | more))


def resolved(subject: str = "t1") -> e.AlertResolved:
    return e.AlertResolved(f"task_failed:{subject}", "acknowledged", "seen")
