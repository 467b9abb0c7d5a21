"""The process of `maestro monitor start`: puts a monitor together, and runs it to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trio

from maestro import config
from maestro.cli import printer
from maestro.cli.monitoring.screen import LiveScreen, suits
from maestro.config import Settings
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.json_lines import JsonLines
from maestro.monitor.parts import servers, wanted
from maestro.monitor.service import Options, serve
from maestro.runtime.node.daemon_log import start_logging
from maestro.runtime.node.failures import user_error
from maestro.runtime.node.ids import new_id


def run(
    interval_s: float,
    webhooks: tuple[str, ...],
    allow_private: bool,
    metrics: tuple[str, int | None],
    otlp: str,
    as_lines: bool,
) -> int:
    """Run a monitor until it is told to end; its exit code. Raises MaestroError, BrokenPipeError."""
    settings = config.load()
    host, port = metrics
    options = Options(new_id(), interval_s, webhooks, allow_private, host, port, otlp)
    _check(options, settings)
    start_logging(settings.log_level)
    link = DaemonLink(settings)
    with _one_error():
        if as_lines or not suits():
            return trio.run(
                serve, options, link, JsonLines(link, printer.write_json), wanted(options), servers(options)
            )
        return trio.run(_with_screen, options, link)


def run_once(webhooks: tuple[str, ...], allow_private: bool, otlp: str) -> dict[str, Any]:
    """Look once and send what is due; what the look says of the store. Raises MaestroError."""
    from maestro.monitor import errand

    settings = config.load()
    options = Options(new_id(), webhooks=webhooks, allow_private=allow_private, otlp=otlp)
    _check(options, settings)
    start_logging(settings.log_level)
    with _one_error():
        return trio.run(errand.run, options, DaemonLink(settings))


def _check(options: Options, settings: Settings) -> None:
    """Refuse a URL that cannot be one, or what lacks what it needs, before anything is begun. Raises Invalid."""
    if options.webhooks:
        from maestro.monitor.webhook.target import targets

        targets(options.webhooks, options.allow_private)
    if options.otlp:
        from maestro.monitor.collector import Collector

        Collector(options.otlp, settings.namespace)


@contextmanager
def _one_error() -> Iterator[None]:
    """Raises what a user is told out of the groups in which trio raises it."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = user_error(group)
        if known is not None:
            raise known from None
        if group.subgroup(BrokenPipeError) is not None:
            raise BrokenPipeError from None
        raise


async def _with_screen(options: Options, link: DaemonLink) -> int:
    """Monitor with the live screen until a person quits it (0), or a signal ends both; the exit code."""
    screen, code = LiveScreen(link.settings), 0

    async def shown(scope: trio.CancelScope) -> None:
        await screen.run()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shown, nursery.cancel_scope)
        code = await serve(options, link, screen, wanted(options), servers(options))
        nursery.cancel_scope.cancel()
    return code
