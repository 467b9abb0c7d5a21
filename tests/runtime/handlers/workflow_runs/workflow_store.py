"""A store on which a test tells of runs of workflows as the leader would, and calls the handlers of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro import config
from maestro.model.errors import MaestroError
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.handlers import HANDLERS
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from maestro.store.redis.redis_store import open_redis
from tests.runtime.leading import Leader

STEPS: dict[str, Any] = {
    "steps": [
        {"id": "build", "run": "make", "retries": 1},
        {"id": "test", "agent": "tester", "prompt": "t", "needs": "build", "for_each": [1, 2, 3]},
        {"id": "ask", "approval": {"prompt": "Ship it?"}, "needs": "test"},
        {"id": "ship", "run": "ship", "needs": "ask"},
    ]
}
ITEMS = {"test": ["a", "b", "c"]}


class Place:
    """A namespace of its own, and the handlers on it."""

    def __init__(self, folder: Path, url: str, namespace: str) -> None:
        env = {"MAESTRO_HOME": str(folder), "MAESTRO_REDIS_URL": url, "MAESTRO_NAMESPACE": namespace}
        self.settings = config.load({**env, "HOME": str(folder)})
        self.store: Store = open_redis(url, namespace)
        self.sent: list[Any] = []

    def ask(self, command: p.Command, meanwhile: Callable[[Place], object] | None = None) -> p.Done:
        """Carry out a command; `meanwhile` does something in a thread once the first answer is there."""
        self.sent = []

        async def go() -> p.Done:
            async with open_context(self.settings, checked=False) as context:
                begun = trio.Event()

                async def send(frame: Any) -> None:
                    self.sent.append(frame)
                    begun.set()

                async with trio.open_nursery() as nursery:
                    if meanwhile is not None:
                        nursery.start_soon(self._meanwhile, begun, meanwhile)
                    done = await HANDLERS[type(command)](self.call(context, send), command)
                return done

        try:
            return trio.run(go)
        except BaseExceptionGroup as group:
            found = group.exceptions[0]
            while isinstance(found, BaseExceptionGroup):
                found = found.exceptions[0]
            raise found from None

    async def _meanwhile(self, begun: trio.Event, act: Callable[[Place], object]) -> None:
        await begun.wait()
        await trio.to_thread.run_sync(act, self)

    @staticmethod
    def call(context: Context, send: Any) -> Call:
        return Call(context, p.Caller("cli:ann", "/", terminal=True), send)

    def items(self) -> list[Any]:
        return [frame.data for frame in self.sent if isinstance(frame, p.Item)]

    def notes(self) -> list[str]:
        return [frame.text for frame in self.sent if isinstance(frame, p.Note)]

    def lead(self, run: str, **named: Any) -> Leader:
        return Leader(self.store, run, named.pop("keys", STEPS), items=ITEMS, **named)


def failed(place: Place, command: p.Command) -> MaestroError:
    with pytest.raises(MaestroError) as caught:
        place.ask(command)
    return caught.value
