"""The server of a command that only reads and finds no daemon: plain calls of the store, without trio.

Reading takes a few milliseconds; importing trio, and what a server of its own needs, took a command ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

from maestro import config
from maestro.config import Settings
from maestro.model.errors import NotFound, StoreAway, StoreUnsafe
from maestro.runtime.daemon.store_access import open_store
from maestro.runtime.handlers import HANDLERS, READS
from maestro.runtime.node.identity import node_id
from maestro.runtime.node.known_head import KnownHead
from maestro.runtime.node.read_context import ReadContext
from maestro.runtime.protocol import messages as p
from maestro.store.contract import Store
from maestro.workspaces import open_records

T = TypeVar("T")


class PlainCall:
    """A command under way in this process. show: gets each row of the answer."""

    def __init__(self, context: ReadContext, show: Callable[[p.Item], object]) -> None:
        self.context = context
        self._show = show

    async def item(self, row: Any) -> None:
        """Show a row of the answer."""
        self._show(p.Item(row))


def answer(command: p.Command, settings: Settings, show: Callable[[p.Item], object]) -> p.Done | None:
    """Carry out a command that only reads; None where it takes the server with trio: for another command, after a
    restore or a deletion that was broken off, and where the store is away or unsafe, which that server tells.

    Raises MaestroError, as the command's handler does.
    """
    if not isinstance(command, READS) or open_records.is_any(settings.home):
        return None
    config.open_home(settings)
    try:
        store = open_store(settings)
    except (StoreAway, StoreUnsafe):
        return None
    try:
        return _read(command, settings, store, show)
    except StoreAway:
        return None
    finally:
        store.close()


def _read(command: p.Command, settings: Settings, store: Store, show: Callable[[p.Item], object]) -> p.Done:
    known = KnownHead(settings)
    known.check(store)
    rows: list[p.Item] = []
    call = PlainCall(ReadContext(settings, node_id(settings.home), store), rows.append)
    try:
        done = driven(cast(Coroutine[Any, Any, p.Done], HANDLERS[type(command)](cast(Any, call), command)))
    except NotFound as error:
        from maestro.runtime.server import likeness

        driven(likeness.propose(call.context, error, command))
        raise
    known.follow(store)
    for row in rows:
        show(row)
    return done


def driven(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits to its end."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    work.close()
    raise RuntimeError(f"{work} waits for something, which nobody here would wake it from")
