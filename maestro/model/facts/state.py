"""What happens to the keys of the shared state."""

from __future__ import annotations

from maestro.model.facts import Fact, Text


class StateSet(Fact, frozen=True):
    """`state:<key>`: ttl_ms: time to live from `at`, None for ever."""

    key: str
    value: Text
    ttl_ms: int | None = None


class StateDeleted(Fact, frozen=True):
    """`state:<key>`: reason: `expired` where the sweep did it."""

    key: str
    reason: str = ""
