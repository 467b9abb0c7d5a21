"""The monitor: has the daemon look every interval, shows what it sees, and runs what else was asked for beside that.

A daemon or a store that is away is said once, and waited for: whoever watches must not go because what it watches did.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import msgspec
import trio

from maestro.model.errors import MaestroError, StoreAway, StoreUnsafe
from maestro.monitor.daemon_link import DaemonAway, DaemonLink
from maestro.runtime.protocol import messages as p

AWAY_RETRY_S = 1.0
PRESENT_TIMES = 3
"""For so many intervals a monitor counts as running: a look may be late."""
PRESENT_S_MIN = 30.0
FIRST_LOOK_S_MAX = 10.0
"""So long what runs beside the looks waits for the first one: that starts the daemon where none runs."""
LEAVE_S_MAX = 2.0
"""So long an orderly end waits for the daemon to hear of it."""


class Options(msgspec.Struct, frozen=True):
    """What a monitor does. metrics_host, metrics_port: where it serves metrics, None for nowhere."""

    monitor: str
    interval_s: float = 30.0
    webhooks: tuple[str, ...] = ()
    allow_private: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    otlp: str = ""


class Presenter(Protocol):
    """Where a monitor shows what it sees: a screen, or lines of JSON."""

    async def show(self, look: dict[str, Any]) -> None:
        """Show the whole anew. Called after each look that the daemon has answered, also while the store is away."""

    async def away(self, what: str, why: str) -> None:
        """Show that there is no answer. Called once, until the next `show`. what: `daemon` or `store`."""


Part = Callable[[Options, DaemonLink], Awaitable[object]]
"""What runs beside the looks, for ever. Raises Invalid where it cannot do what the options say."""


class Server(Protocol):
    """A part that listens: it says when, or raises Invalid where it cannot."""

    async def __call__(
        self, options: Options, link: DaemonLink, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve for ever."""


async def serve(
    options: Options,
    link: DaemonLink,
    presenter: Presenter,
    parts: Sequence[Part] = (),
    servers: Sequence[Server] = (),
) -> int:
    """Monitor until SIGTERM (0), SIGINT (130) or SIGHUP (0); the exit code. Raises what a part raises.

    servers: listen before the first look, so that where one cannot nothing was begun.
    """
    code = 0
    looked = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        try:
            async with trio.open_nursery() as nursery:
                for server in servers:
                    await nursery.start(server, options, link)
                for part in parts:
                    nursery.start_soon(_beside, part, options, link, looked)
                nursery.start_soon(_look, options, link, presenter, looked)
                async for number in signals:
                    code = 130 if number == signal.SIGINT else 0
                    nursery.cancel_scope.cancel()
                    break
        finally:
            await _leave(options, link)
    return code


async def _beside(part: Part, options: Options, link: DaemonLink, looked: trio.Event) -> None:
    """Run a part once the first look was answered or refused: before, it would warn of a daemon that is starting."""
    with trio.move_on_after(FIRST_LOOK_S_MAX):
        await looked.wait()
    await part(options, link)


async def _leave(options: Options, link: DaemonLink) -> None:
    """Have the daemon know that this monitor runs no more, where it can be told."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + LEAVE_S_MAX), suppress(MaestroError):
        await link.ask(p.MonitorLook(options.monitor, check=False, lines=0, rows=1))


async def _look(options: Options, link: DaemonLink, presenter: Presenter, looked: trio.Event) -> None:
    look = p.MonitorLook(options.monitor, max(PRESENT_S_MIN, PRESENT_TIMES * options.interval_s))
    has_seen, is_away = False, False
    while True:
        try:
            answer = await link.ask(look, start=not has_seen)
        except (StoreAway, StoreUnsafe) as error:
            if not is_away:
                await presenter.away("daemon" if isinstance(error, DaemonAway) else "store", error.line())
            is_away = True
        else:
            has_seen, is_away = True, False
            looked.set()
            await presenter.show(answer.data)
        looked.set()
        await trio.sleep(AWAY_RETRY_S if is_away else options.interval_s)
