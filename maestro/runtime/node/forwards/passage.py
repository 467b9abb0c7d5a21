"""The passage of what a forwarded command prints as it comes, from the node that carries it out to the one that asked.

It leads through two samples of the store, and nothing of it is in the log or stays in the store: one holds the piece
that was sent last, the other how many pieces were taken. The next piece is sent when the last one was taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import trio

from maestro.model.errors import MaestroError
from maestro.runtime.node.context import Context

T = TypeVar("T")

PIECE_CHARS_MAX: Final = 1 << 20
LASTS_MS: Final = 60_000
RENEW_S: Final = 5.0
"""So often the asker says that it is there. What it has said lasts `LASTS_MS`; a store may lose it sooner."""
GONE_S: Final = 3 * RENEW_S
"""How long nothing may stand there that the asker has said: then it is gone."""
POLL_S_MIN, POLL_S_MAX = 0.02, 0.25
SENT, TAKEN = "sent", "taken"
LEFT: Final = -1
"""What stands for the number of pieces taken when the asker goes."""


def key(forward: str, what: str) -> str:
    """The sample of a forwarded command that holds `what`."""
    return f"forward:{forward}:{what}"


class Sender:
    """The end of a passage where the command is carried out; `run` is to run meanwhile."""

    def __init__(self, context: Context, forward: str) -> None:
        self._context = context
        self._keys = [key(forward, SENT), key(forward, TAKEN)]
        self._waiting: list[str] = []
        self._piece: str | None = None
        self._count = 0
        self._news = trio.Event()

    async def send(self, text: str) -> None:
        """Send a text; waits where the other end is far behind."""
        self._waiting.append(text)
        self._news.set()
        while sum(map(len, self._waiting)) > PIECE_CHARS_MAX:
            await trio.sleep(POLL_S_MIN)

    async def end(self) -> None:
        """Wait until all of it was taken."""
        while self._waiting or self._piece is not None:
            await trio.sleep(POLL_S_MIN)

    async def run(self) -> None:
        """Pass on what is sent, until the asker is gone. Outages of the store are waited out."""
        pause, heard_at = POLL_S_MIN, trio.current_time()
        while True:
            self._news = trio.Event()
            sent, taken = await self._context.insist(self._look)
            if taken is not None:
                heard_at = trio.current_time()
            if taken == LEFT or trio.current_time() - heard_at > GONE_S:
                return
            if self._piece is not None and taken is not None and taken >= self._count:
                self._piece, pause = None, POLL_S_MIN
            if self._piece is None and self._waiting:
                self._piece, self._waiting = "".join(self._waiting), []
                self._count += 1
            if self._piece is not None and sent != self._count:
                await self._context.insist(self._put)
            if self._piece is not None:
                await trio.sleep(pause)
                pause = min(pause * 1.5, POLL_S_MAX)
            else:
                with trio.move_on_after(RENEW_S):
                    await self._news.wait()

    async def _look(self) -> tuple[int, int | None]:
        sent, taken = await self._context.call(self._context.store.work.samples, self._keys)
        return int(sent["n"]) if sent else 0, int(taken["n"]) if taken else None

    async def _put(self) -> None:
        value = {"n": str(self._count), "text": self._piece or ""}
        await self._context.call(self._context.store.work.samples_put, {self._keys[0]: value}, LASTS_MS)


class Receiver:
    """The end of a passage where the command was asked for: to be opened before it is asked; then `run` runs beside."""

    def __init__(self, context: Context, forward: str) -> None:
        self._context = context
        self._sent, self._taken = key(forward, SENT), key(forward, TAKEN)
        self._count = 0

    async def open(self) -> None:
        """Say that somebody is there. Raises StoreAway, as `take` does."""
        await self._say(self._count)

    async def take(self) -> str:
        """What has come, "" for nothing new."""
        (sent,) = await self._context.call(self._context.store.work.samples, [self._sent])
        if not sent or int(sent["n"]) != self._count + 1:
            return ""
        await self._say(self._count + 1)
        self._count += 1  # only now: what an outage of the store has kept from being said is taken again
        return sent["text"]

    async def run(self) -> None:
        """Go on saying that somebody is there, also while what has come is being printed."""
        while True:
            await trio.sleep(RENEW_S)
            await self._context.insist(self.open)

    async def leave(self) -> None:
        """Say that nobody is there any more."""
        await self._say(LEFT)

    async def _say(self, count: int) -> None:
        await self._context.call(self._context.store.work.samples_put, {self._taken: {"n": str(count)}}, LASTS_MS)


async def beside(background: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]]) -> T | None:
    """What the work returns; None where what runs beside it has ended first. Raises as the work."""
    done: list[T] = []
    failed: Exception | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            with suppress(MaestroError):
                await background()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        try:
            done.append(await work())
        except Exception as error:  # noqa: BLE001 - a nursery would raise it in a group
            failed = error
        nursery.cancel_scope.cancel()
    if failed is not None:
        raise failed
    return done[0] if done else None
