"""The usage of a run, in tokens and cost, out of the many shapes in which agents tell it."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.agents.event_paths import Matcher, Place
from maestro.agents.parts import UsageRule


def _places(names: str) -> tuple[Place, ...]:
    return tuple(Place(name) for name in names.split())


_INPUT = _places(
    "input_tokens prompt_tokens inputTokens promptTokens promptTokenCount prompt_token_count tokens_in tokensIn input"
    " prompt in"
)
_OUTPUT = _places(
    "output_tokens completion_tokens outputTokens completionTokens candidatesTokenCount candidates_token_count"
    " tokens_out tokensOut output completion candidates out"
)
_CACHED = _places(
    "cache_read_input_tokens cached_input_tokens cacheReadInputTokens cachedInputTokens cachedContentTokenCount"
    " cached_tokens cachedTokens cacheRead cache_read cache.read prompt_tokens_details.cached_tokens"
    " input_tokens_details.cached_tokens cached cache"
)
_COST = _places("total_cost_usd cost_usd costUSD costUsd total_cost totalCost cost.total cost")
_ALL = _places("total_tokens totalTokens totalTokenCount total_token_count total tokens")
_TOKENS_MAX = 10**15
_COST_DIGITS = 9


class Usage(msgspec.Struct, frozen=True):
    """What a run used.

    cached_tokens: those input tokens that a cache had, where the agent tells; cost: as the agent reckons it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """What a budget counts: input and output."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            round(self.cost + other.cost, _COST_DIGITS),
        )

    def minus(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.cached_tokens - other.cached_tokens,
            round(self.cost - other.cost, _COST_DIGITS),
        )


NOTHING = Usage()


class Meter:
    """Adds up the usage that events tell, by a rule. before: what earlier runs used in the session that goes on."""

    def __init__(self, rule: UsageRule, before: Usage = NOTHING) -> None:
        self._before = before if rule.counts == "session" else NOTHING
        self._rule = rule
        self._matches = Matcher(rule.match)
        self._place = Place(rule.path)
        above = rule.path.rpartition(".")[0]
        self._above = Place(above) if above else None
        self.sum = NOTHING

    def take(self, event: dict[str, Any]) -> None:
        """Count an event, if it tells of usage."""
        if not self._matches(event):
            return
        told = [_Source(event, value, self._above) for value in self._place.values(event)]
        for source in told[:100]:
            found = self._usage(source)
            if self._rule.counts == "each":
                self.sum = self.sum.plus(found)
            else:
                self.sum = _larger(self.sum, found.minus(self._before))

    def _usage(self, source: _Source) -> Usage:
        rule = self._rule
        given = source.number(rule.input, _INPUT)
        made = source.number(rule.output, _OUTPUT)
        if not given and not made and not rule.input and not rule.output:
            given = source.number("", _ALL)
        return Usage(int(given), int(made), int(source.number(rule.cached, _CACHED)), source.cost(rule.cost))


class _Source:
    """The part of an event that tells of usage, with what surrounds it."""

    def __init__(self, event: dict[str, Any], part: Any, above: Place | None) -> None:
        self._event = event
        self._part = part
        self._beside = [] if above is None else above.values(event)[:1]

    def number(self, path: str, names: tuple[Place, ...]) -> float:
        """The number at a path, where one is given, else under the first of the names that is there; 0 for none."""
        if path:
            return _first((Place(path),), [self._event, self._part])
        if names is _ALL and (alone := _number(self._part)) is not None:
            return alone
        return _first(names, [self._part])

    def cost(self, path: str) -> float:
        """The cost, as `number` finds it; under its usual names also beside the part, and in the event."""
        names = (Place(path),) if path else _COST
        return round(_first(names, [self._part, *self._beside, self._event]), _COST_DIGITS)


def _first(places: tuple[Place, ...], wheres: list[Any]) -> float:
    for where in wheres:
        for place in places:
            numbers = [number for value in place.values(where) if (number := _number(value)) is not None]
            if numbers:
                return sum(numbers)
    return 0.0


def _number(value: Any) -> float | None:
    """A value as a number that can be one of tokens or a cost, also where it is written as a text; else None."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _TOKENS_MAX else None


def _larger(one: Usage, other: Usage) -> Usage:
    return Usage(
        max(one.input_tokens, other.input_tokens),
        max(one.output_tokens, other.output_tokens),
        max(one.cached_tokens, other.cached_tokens),
        max(one.cost, other.cost),
    )
