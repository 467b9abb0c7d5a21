"""The usage of a run, in tokens and cost, out of the many shapes in which agents tell it."""

from __future__ import annotations

import functools
import hashlib
import re
from typing import Any

import msgspec

from maestro.agents.event_paths import Matcher, Place, scalar
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
USUAL = tuple(place.path for place in (*_INPUT, *_OUTPUT, *_CACHED, *_COST, *_ALL))
"""The paths at which usage is looked for where a rule names none."""

COSTS = tuple(place.path for place in _COST)
_TOKENS_MAX = 10**15
_COST_DIGITS = 9
_ID_CHARS = 64  # longer ones are remembered by their digest
_IDS_MAX = 10_000
"""How many ids are remembered, the latest: an id that comes back after so many others is taken for a new one."""

_WRITTEN = re.compile(r"\$?([0-9][0-9.,_]*)([kKmM]?)")
_SCALES = {"": 1, "k": 1000, "m": 1_000_000}


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


class Meters:
    """Measures the usage that events or lines tell by several rules, each of which tells all of it: the larger counts.

    before: what earlier runs used in the session that goes on.
    """

    def __init__(self, rules: tuple[UsageRule, ...], before: Usage = NOTHING) -> None:
        self._meters = [_Meter(rule, before) for rule in rules]

    @property
    def sum(self) -> Usage:
        """What was used so far."""
        return functools.reduce(_larger, (meter.sum for meter in self._meters), NOTHING)

    def take(self, event: dict[str, Any]) -> None:
        """Count an event, if it tells of usage."""
        for meter in self._meters:
            meter.take(event)

    def search(self, line: str) -> None:
        """Count a line of a text output, if it tells of usage."""
        for meter in self._meters:
            meter.search(line)


class _Meter:
    """Measures usage by one rule."""

    def __init__(self, rule: UsageRule, before: Usage) -> None:
        self._before = before if rule.counts == "session" else NOTHING
        self._rule = rule
        self._matches = Matcher(rule.match)
        self._place, self._id = Place(rule.path), Place(rule.id)
        above = rule.path.rpartition(".")[0]
        self._above = Place(above) if above else None
        self._pattern = re.compile(rule.pattern)
        self._told: dict[str, Usage] = {}
        self.sum = NOTHING

    def take(self, event: dict[str, Any]) -> None:
        if not self._matches(event):
            return
        told = [self._usage(_Source(event, value, self._above)) for value in self._place.values(event)]
        if told:
            ids = self._id.values(event) if self._rule.id else []
            self._count(
                functools.reduce(Usage.plus, told), next((name for value in ids if (name := scalar(value))), "")
            )

    def search(self, line: str) -> None:
        found = self._pattern.search(line)
        if found is not None:
            part = {name: value for name, value in found.groupdict().items() if value is not None}
            number = {name: _written(value) for name, value in part.items() if name in ("input", "output", "cached")}
            cost = round(_written(part.get("cost", "")), _COST_DIGITS)
            self._count(
                Usage(**{f"{name}_tokens": int(n) for name, n in number.items()}, cost=cost), part.get("id", "")
            )

    def _count(self, found: Usage, name: str) -> None:
        """Count what was told. name: of what it was told of, "" where it has none."""
        if self._rule.counts != "each":
            self.sum = _larger(self.sum, _bounded(found).minus(self._before))
            return
        if len(name) > _ID_CHARS:
            name = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
        before = self._told.pop(name, NOTHING) if name else NOTHING
        found = _larger(before, found)
        self.sum = _bounded(self.sum.plus(found.minus(before)))
        if name:
            self._told[name] = found
            if len(self._told) > _IDS_MAX:
                del self._told[next(iter(self._told))]

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

    def number(self, path: str | tuple[str, ...], names: tuple[Place, ...]) -> float:
        """The number at a path, where one is given (of several the sum), else under the first of the names that is
        there; 0 for none.
        """
        if path:
            return self._at(path, [self._event, self._part])
        if names is _ALL and (alone := _number(self._part)) is not None:
            return alone
        return _first(names, [self._part])

    def cost(self, path: str | tuple[str, ...]) -> float:
        """The cost, as `number` finds it; under its usual names also beside the part, and in the event."""
        wheres = [self._part, *self._beside, self._event]
        return round(self._at(path, wheres) if path else _first(_COST, wheres), _COST_DIGITS)

    def _at(self, path: str | tuple[str, ...], wheres: list[Any]) -> float:
        return sum(_first((Place(one),), wheres) for one in ((path,) if isinstance(path, str) else path))


def _first(places: tuple[Place, ...], wheres: list[Any]) -> float:
    for where in wheres:
        for place in places:
            numbers = [number for value in place.values(where) if (number := _number(value)) is not None]
            if numbers:
                return sum(numbers)
    return 0.0


def _written(text: str) -> float:
    """A number as people write it, 1,234 or 2.1k or 3M; 0.0 for what is none."""
    match = _WRITTEN.fullmatch(text.strip())
    number = _number(match[1].replace(",", "").replace("_", "")) if match else None
    return min((number or 0.0) * (_SCALES[match[2].lower()] if match else 1), _TOKENS_MAX)


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


def _bounded(usage: Usage) -> Usage:
    """A usage with no number that nobody can have used, so that what is added up stays one that can be stored."""
    return Usage(
        min(usage.input_tokens, _TOKENS_MAX),
        min(usage.output_tokens, _TOKENS_MAX),
        min(usage.cached_tokens, _TOKENS_MAX),
        min(usage.cost, float(_TOKENS_MAX)),
    )


def _larger(one: Usage, other: Usage) -> Usage:
    return Usage(
        max(one.input_tokens, other.input_tokens),
        max(one.output_tokens, other.output_tokens),
        max(one.cached_tokens, other.cached_tokens),
        max(one.cost, other.cost),
    )
