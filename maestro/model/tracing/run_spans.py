"""The spans of runs: one for each attempt of an agent at a task, from its start to its end, with what it used."""

from __future__ import annotations

import msgspec

from maestro.model import events as e
from maestro.model.events import Event
from maestro.model.tracing import conventions as c
from maestro.model.tracing.identity import run_span
from maestro.model.tracing.span import Attributes, OpenSpan, Span

QUIET = ("ok", "cancelled", "skipped")
"""Outcomes that are no failure: they went well, or somebody wanted it so."""


class Place(msgspec.Struct, frozen=True):
    """Where the runs of a task belong. parent: the span above them. command: a script runs instead of an agent.

    opened: the position of the event that is to be read again to know this; 0 once the task has ended.
    """

    trace: str
    parent: str
    opened: int = 0
    command: str = ""


class RunSpans:
    """The runs that are on. incomplete: how many ended whose task nothing is known of."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self.open: dict[str, OpenSpan] = {}
        self.incomplete = 0

    def release(self, event: Event, fact: e.RunReleased, place: Place) -> None:
        """A run is to start."""
        about: Attributes = {c.RUN: fact.run, c.TASK: fact.task, c.ATTEMPT: fact.attempt}
        if place.command:
            name, about = f"command {fact.agent}", {c.COMMAND: place.command, c.AGENT: fact.agent, **about}
        else:
            name = f"{c.INVOKE_AGENT} {fact.agent}"
            about = {c.OPERATION: c.INVOKE_AGENT, c.AGENT: fact.agent, **about}
        id = run_span(self._namespace, fact.run, event.seq)
        self.open[fact.run] = OpenSpan(place.trace, id, place.parent, name, event.at, event.seq, about)

    def start(self, event: Event, fact: e.RunStarted) -> None:
        """A run has started."""
        span = self.open.get(fact.run)
        if span is not None:
            span.start = event.at
            span.attributes[c.NODE] = fact.node

    def note(self, fact: e.RunSessionOpened | e.RunUsageReported) -> None:
        """A run told of its session, or of what it has used."""
        span = self.open.get(fact.run)
        if span is None:
            return
        if isinstance(fact, e.RunSessionOpened):
            span.attributes[c.CONVERSATION] = fact.session
            return
        used = {c.INPUT_TOKENS: fact.input_tokens, c.OUTPUT_TOKENS: fact.output_tokens}
        used |= {c.CACHED_TOKENS: fact.cached_tokens} if fact.cached_tokens else {}
        for name, amount in used.items():
            span.attributes[name] = int(span.attributes.get(name, 0)) + amount
        if fact.cost:
            span.attributes[c.COST] = float(span.attributes.get(c.COST, 0.0)) + fact.cost

    def end(self, event: Event, fact: e.RunEnded) -> Span | None:
        """A run has ended. Its evidence stays in the log: it may quote what the agent printed."""
        span = self.open.pop(fact.run, None)
        if span is None:
            return None
        return span.ended(
            event.at,
            "" if fact.outcome in QUIET or fact.restart else fact.outcome,
            outcome=fact.outcome,
            exit_code=fact.exit_code,
            signal=fact.signal,
            duration_ms=fact.duration_ms,
            restart=fact.restart or None,
        )
