"""The notice of a command that waits: it tells after a moment what for, and again whenever that changes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from maestro.runtime.node.context import Call

SILENT_S = 2.0
AGAIN_S = 1.0
NODE_AWAY: Final = "node list shows its node: start the daemon there (maestro up), or wait until it is taken for lost"


@asynccontextmanager
async def notice_of_wait(call: Call, why: Callable[[], Awaitable[str]]) -> AsyncIterator[None]:
    """While the block takes longer than a moment, note to the user what `why` says, each time that it is new."""

    async def tell() -> None:
        said = ""
        await trio.sleep(SILENT_S)
        while True:
            words = await why()
            if words != said:
                said = words
                await call.note(f"waiting for {words}")
            await trio.sleep(AGAIN_S)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        yield
        nursery.cancel_scope.cancel()
