"""A span: what one thing took, as OpenTelemetry has it, in plain data."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

Value: TypeAlias = str | bool | int | float
Attributes: TypeAlias = dict[str, Value]

MARKS_MAX = 128
"""How many marks a span keeps, as many as OpenTelemetry itself; of those behind them it keeps the number."""


class Mark(msgspec.Struct, frozen=True):
    """What happened during a span ("event" of OpenTelemetry). at: ms since the epoch."""

    name: str
    at: int
    attributes: Attributes


class Span(msgspec.Struct, frozen=True):
    """A span that has ended. trace, id, parent: in hex, the parent of the topmost "". start, end: ms since the epoch.

    error: why it counts as failed, in a word or two, "" where it does not. dropped: marks that it has no room for.
    """

    trace: str
    id: str
    parent: str
    name: str
    start: int
    end: int
    attributes: Attributes
    marks: tuple[Mark, ...] = ()
    error: str = ""
    dropped: int = 0


class OpenSpan(msgspec.Struct):
    """A span that has not ended. opened: the position of the event that began it."""

    trace: str
    id: str
    parent: str
    name: str
    start: int
    opened: int
    attributes: Attributes
    marks: list[Mark] = []
    dropped: int = 0

    def mark(self, name: str, at: int, **attributes: Value) -> None:
        """Note what happens. Attributes that say nothing are left out."""
        if len(self.marks) >= MARKS_MAX:
            self.dropped += 1
            return
        told = {f"maestro.{key}": value for key, value in attributes.items() if value != ""}
        self.marks.append(Mark(f"maestro.{name}", at, told))

    def ended(self, at: int, error: str = "", **attributes: Value | None) -> Span:
        """The span as it ends. error: a word of a fixed list. Attributes: by the name of Maestro; None is left out."""
        told = {f"maestro.{key}": value for key, value in attributes.items() if value is not None and value != ""}
        failed: Attributes = {"error.type": error} if error else {}
        return Span(
            self.trace,
            self.id,
            self.parent,
            self.name,
            self.start,
            max(at, self.start),
            {**self.attributes, **told, **failed},
            tuple(self.marks),
            error,
            self.dropped,
        )
