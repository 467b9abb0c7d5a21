"""The live screen of a monitor: shows looks as they come, asks for cheap ones in between, and follows keys.

It is a `Presenter` of the monitor's service, which hears the signals that end both. Whatever blocks (the terminal, the
daemon) does so in a thread, so that a terminal that takes nothing holds up neither checks nor deliveries.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import trio

from maestro.cli import printer
from maestro.cli.monitoring.frame import frame
from maestro.cli.monitoring.keys import Keys
from maestro.cli.monitoring.pen import Pen
from maestro.cli.monitoring.terminal import Terminal
from maestro.cli.monitoring.view import Log, View, pressed
from maestro.config import Settings
from maestro.model.errors import MaestroError
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p

REFRESH_S = 2.0
"""So often the screen asks for a look that checks nothing; more seldom where that takes long."""
LOG_S = 1.0
TICK_S = 1.0
ESCAPE_S = 0.05
"""After so long an escape is the key of that name, and not the beginning of another one."""
LOG_BYTES = 64 * 1024
"""So much of the end of a log is read each time: some 500 lines or more."""
AWAY = "no daemon runs on this node: maestro up starts it"


def suits() -> bool:
    """Whether stdout is a terminal that can show the screen."""
    return printer.is_terminal() and not printer.is_dumb()


class LiveScreen:
    """The screen. `run` has it until a person or a signal ends it; `show` and `tell` may be called all the time."""

    def __init__(self, settings: Settings) -> None:
        self.view = View()
        self._settings = settings
        self._terminal = Terminal()
        self.view.has_keys = self._terminal.keys is not None
        self._news = trio.Event()
        self._asked = trio.Event()
        self._opened = trio.Event()
        self._limiter = trio.CapacityLimiter(4)

    async def show(self, look: dict[str, Any]) -> None:
        """Show a look. Once there is one, the screen's own say more: they are of the agents that a person wants."""
        if self.view.look is None or self.view.problem:
            self._take(look)
        self._asked.set()

    def _take(self, look: dict[str, Any], only: str = "") -> None:
        self.view.take(look, trio.current_time(), only)
        self._news.set()

    async def away(self, what: str, why: str) -> None:  # noqa: ARG002 - as presenters have it
        """Tell that there is no answer, until there is one."""
        self.tell(why)

    def tell(self, problem: str) -> None:
        """Tell why there is no newer look, until there is one."""
        self.view.problem = problem
        self._news.set()

    async def run(self) -> None:
        """Show everything until a person quits. The terminal is given back whatever ends it."""
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP) as signals:
            try:
                self._terminal.enter()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._draw)
                    nursery.start_soon(self._ask)
                    nursery.start_soon(self._read_log)
                    nursery.start_soon(self._hear, signals)
                    if self._terminal.keys is not None:
                        nursery.start_soon(self._read_keys, self._terminal.keys, nursery.cancel_scope)
            finally:
                self._terminal.leave()

    # ---- to the terminal ----

    async def _draw(self) -> None:
        while True:
            self._news = trio.Event()
            width, height = self._terminal.size()
            pen = Pen(width, printer.is_styled(), "utf" not in self._terminal.encoding.lower())
            data = self._terminal.drawn(frame(self.view, pen, height, trio.current_time()), width)
            if data:
                with suppress(OSError):  # it has hung up, which a signal tells
                    await self._in_thread(self._terminal.write, data)
            with trio.move_on_after(TICK_S):
                await self._news.wait()

    # ---- from the daemon ----

    async def _ask(self) -> None:
        """Ask for looks that check nothing, if a daemon runs: the screen starts none."""
        while True:
            self._asked = trio.Event()
            began = trio.current_time()
            command = p.MonitorLook(check=False, state=self.view.only, rows=self.view.rows)
            try:
                end, _ = await self._in_thread(self._execute, command)
                if isinstance(end, p.Done):
                    self._take(end.data, command.state)
                else:
                    self.tell(AWAY if end is None else end.what)
            except (MaestroError, OSError) as error:
                self.tell(_line(error))
            took = trio.current_time() - began
            with trio.move_on_after(max(REFRESH_S, 5 * took)):
                await self._asked.wait()

    async def _read_log(self) -> None:
        """Keep the open log current."""
        while True:
            self._opened = trio.Event()
            log = self.view.log
            if log is not None:
                await self._read(log)
            if log is self.view.log:
                with trio.move_on_after(math.inf if log is None else LOG_S):
                    await self._opened.wait()

    async def _read(self, log: Log) -> None:
        try:
            end, text = await self._in_thread(self._execute, p.AgentLogs(log.agent, end=LOG_BYTES))
            problem = "" if isinstance(end, p.Done) else AWAY if end is None else end.what
        except (MaestroError, OSError) as error:
            text, problem = "", _line(error)
        log.take(text, problem)
        self._news.set()

    def _execute(self, command: p.Command) -> tuple[Any, str]:
        """The end of a command, None without a daemon, and its output. Blocks."""
        output: list[str] = []

        def take(answer: p.Note | p.Item | p.Output) -> None:
            if isinstance(answer, p.Output):
                output.append(answer.text)

        return client.ask_running(command, self._settings, take), "".join(output)

    async def _in_thread(self, work: Any, *args: Any) -> Any:
        return await trio.to_thread.run_sync(work, *args, limiter=self._limiter, abandon_on_cancel=True)

    # ---- from a person ----

    async def _read_keys(self, descriptor: int, scope: trio.CancelScope) -> None:
        keys = Keys()
        while True:
            with trio.move_on_after(ESCAPE_S if keys.waits else math.inf) as waited:
                await trio.lowlevel.wait_readable(descriptor)
            data = b""
            if not waited.cancelled_caught:
                try:
                    data = os.read(descriptor, 1024)
                except OSError:
                    data = b""
                if not data:  # the terminal has gone
                    scope.cancel()
                    return
            for key in keys.feed(data, final=waited.cancelled_caught):
                self._press(key, scope)

    def _press(self, key: str, scope: trio.CancelScope) -> None:
        before = self.view.log
        act = pressed(self.view, key)
        if self.view.log is not before:
            self._opened.set()
        match act:
            case "quit":
                scope.cancel()
            case "redraw":
                self._terminal.forget()
            case "ask":
                self._asked.set()
        self._news.set()

    async def _hear(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGTSTP:
                self._terminal.leave()
                os.kill(os.getpid(), signal.SIGSTOP)  # goes on here with SIGCONT
                self._terminal.enter()
            self._terminal.forget()
            self._news.set()


def _line(error: MaestroError | OSError) -> str:
    return error.line() if isinstance(error, MaestroError) else f"the daemon does not answer: {error.strerror or error}"
