"""Traces of a monitor: reads the log through the daemon, and sends the spans that end to a collector.

Two positions are kept in the store, as groups of `maestro events tail`: up to where all has been sent, and where to
begin to read, to know what has begun and not ended. The first is kept when a collector has taken what was sent, and
before the second: a monitor that dies sends its last batch again, with the same ids, and leaves nothing out. A
collector that is away or hangs keeps the log waiting, which is no queue in memory, and keeps nobody else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import msgspec
import trio

from maestro.model.errors import MaestroError
from maestro.model.tracing.span import Span
from maestro.model.tracing.traces import Traces, event_of
from maestro.monitor.collector import Collector, NotTaken
from maestro.monitor.daemon_link import DaemonLink
from maestro.monitor.service import Options
from maestro.runtime.client.answers import Answer
from maestro.runtime.node.daemon_log import log
from maestro.runtime.protocol import messages as p

PAGE = 1000
SPANS_A_REQUEST = 512
PAUSE_S = 1.0
RETRY_S, RETRY_S_MAX = 1.0, 60.0
PAST_TRIES, PAST_WAIT_S_MAX = 4, 10.0
"""How often a command that exports the past tries, and how long it waits at most; a monitor tries for ever."""

Tell = Callable[[str], None]
T = TypeVar("T")


def group_of(endpoint: str) -> str:
    """The group that keeps up to where a collector has all; the URL may be of no concern to who reads the store."""
    return f"otlp.{hashlib.sha256(endpoint.encode()).hexdigest()[:12]}"


def _batches(spans: Sequence[Span]) -> Iterator[Sequence[Span]]:
    for first in range(0, len(spans), SPANS_A_REQUEST):
        yield spans[first : first + SPANS_A_REQUEST]


def _fold(traces: Traces, answer: Answer) -> list[Span]:
    """Fold the events of an answer; the spans that end with them."""
    return [span for row in answer.rows if (event := event_of(row)) is not None for span in traces.take(event)]


# ---- the past ----


class Past(msgspec.Struct):
    """What was exported. open: spans that have begun and not ended yet; incomplete: spans that began before the range;
    rejected: spans that the collector declined; position: the last event that was read.
    """

    spans: int = 0
    traces: int = 0
    open: int = 0
    incomplete: int = 0
    rejected: int = 0
    position: int = 0
    exit_code: int = 0


async def export(url: str, link: DaemonLink, first: int = 0, last: int | None = None) -> Past:
    """Send the spans that began and ended within a range of the log. Raises MaestroError, Invalid, NotTaken."""
    collector = Collector(url, link.settings.namespace)
    traces, past, known = Traces(link.settings.namespace), Past(), set[str]()
    after = max(0, first - 1)
    while last is None or after < last:
        to = after + PAGE if last is None else min(after + PAGE, last)
        answer = await link.ask(p.EventsExport(False, after + 1, to))
        past.exit_code = answer.exit_code or past.exit_code
        if not answer.rows:
            break
        spans = _fold(traces, answer)
        for batch in _batches(spans):
            await _insist(collector, batch)
        past.spans += len(spans)
        known.update(span.trace for span in spans)
        past.position = after = int(answer.rows[-1]["seq"])
    past.traces, past.open, past.incomplete = len(known), traces.open, traces.incomplete
    past.rejected = collector.rejected
    return past


async def _insist(collector: Collector, spans: Sequence[Span]) -> None:
    """Send spans, several times where that may help. Raises NotTaken."""
    for tries in range(1, PAST_TRIES + 1):
        try:
            return await collector.send(spans)
        except NotTaken as error:
            if error.refused or tries == PAST_TRIES:
                raise
            await trio.sleep(min(error.retry_s or RETRY_S * 2 ** (tries - 1), PAST_WAIT_S_MAX))


# ---- what comes ----


async def follow(options: Options, link: DaemonLink, tell: Tell = log.warning) -> None:
    """Send the spans that end from now on, and those that ended since the last monitor, until cancelled.

    Raises Invalid for a URL that is none, or without the libraries.
    """
    collector = Collector(options.otlp, link.settings.namespace)
    log.info("traces are sent to %s", collector.endpoint)
    await _Live(collector, link, tell).run()


async def follow_once(options: Options, link: DaemonLink, tell: Tell = log.warning) -> None:
    """Send the spans that ended since a monitor did so last, each once, up to the first failure.

    Raises Invalid as `follow` does, MaestroError.
    """
    await _Live(Collector(options.otlp, link.settings.namespace), link, tell).once()


class _Live:
    """One collector that is supplied. sent: the position up to which it has all."""

    def __init__(self, collector: Collector, link: DaemonLink, tell: Tell) -> None:
        self._collector = collector
        self._link = link
        self._tell = tell
        self._traces = Traces(link.settings.namespace)
        self._group = group_of(collector.endpoint)
        self._sent = 0
        self._said: set[str] = set()
        self._away = False
        self._rejected = 0

    async def run(self) -> None:
        """Read and send for ever."""
        await self._patiently(self._begin)
        while True:
            answer = await self._patiently(self._next)
            spans = _fold(self._traces, answer)
            for batch in _batches(spans):
                await self._deliver(batch)
            self._sent = int(answer.data["position"])
            await self._patiently(self._keep)
            if len(answer.rows) < PAGE:
                await trio.sleep(PAUSE_S)

    async def once(self) -> None:
        """Read and send what is there, and nothing twice. What is not taken is read again by the next one."""
        await self._begin()
        while True:
            answer = await self._link.ask(p.EventsTail(from_position=self._sent + 1, limit=PAGE))
            if not answer.rows:
                return
            for batch in _batches(_fold(self._traces, answer)):
                try:
                    await self._collector.send(batch)
                except NotTaken as error:
                    self._tell(error.line())
                    if not error.refused:
                        return
            self._sent = int(answer.rows[-1]["seq"])
            await self._keep()

    async def _begin(self) -> None:
        """Know what has begun and not ended. A collector that is new gets what ends from now on."""
        traces = Traces(self._link.settings.namespace)
        sent = await self._position(self._group)
        first = await self._position(f"{self._group}.open") if sent else 0
        if not sent:
            newest = await self._link.ask(p.EventsTail(limit=1))
            sent = int(newest.rows[-1]["seq"]) if newest.rows else 0
        after = first
        while after < sent:
            answer = await self._link.ask(p.EventsTail(from_position=after + 1, limit=min(PAGE, sent - after)))
            if not answer.rows:
                break
            _fold(traces, answer)
            after = int(answer.rows[-1]["seq"])
        self._traces, self._sent = traces, sent
        await self._keep()

    async def _position(self, group: str) -> int:
        return int((await self._link.ask(p.EventsTail(group=group, limit=0))).data["position"])

    async def _next(self) -> Answer:
        """The events behind what was sent; waits for them."""
        return await self._link.ask(p.EventsTail(follow=True, group=self._group, taken=self._sent))

    async def _keep(self) -> None:
        """Keep both positions, that of what was sent first: the other one may be too old, but never too new."""
        begins = self._traces.begins
        first = self._sent if begins is None else min(begins - 1, self._sent)
        for group, position in ((self._group, self._sent), (f"{self._group}.open", first)):
            await self._link.ask(p.EventsTail(group=group, taken=position, limit=0))

    async def _deliver(self, spans: Sequence[Span]) -> None:
        """Send spans until they are taken, or refused for good."""
        wait_s = RETRY_S
        while True:
            try:
                await self._collector.send(spans)
            except NotTaken as error:
                if error.line() not in self._said:
                    self._tell(error.line())
                self._said.add(error.line())
                if error.refused:
                    self._tell(f"{len(spans)} spans behind position {self._sent} are left out")
                    return
                await trio.sleep(wait_s if error.retry_s is None else max(error.retry_s, RETRY_S))
                wait_s = min(2 * wait_s, RETRY_S_MAX)
                continue
            if self._said:
                self._tell(f"{self._collector.endpoint}: it takes spans again")
                self._said.clear()
            if self._collector.rejected > self._rejected:
                self._tell(f"{self._collector.endpoint}: it declined {self._collector.rejected - self._rejected} spans")
                self._rejected = self._collector.rejected
            return

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the daemon until it answers: it may be restarted, or its store away."""
        while True:
            try:
                answer = await ask()
                self._away = False
                return answer
            except MaestroError as error:
                if not self._away:
                    self._tell(f"traces: {error.line()}")
                self._away = True
                await trio.sleep(RETRY_S)
