"""The usage of the last hours, by the number of the hour since 1970: tokens, and cost in the agents' currency."""

from __future__ import annotations

from collections.abc import Mapping

HOUR_MS = 3_600_000
HOURS_MAX = 26
"""Of so many hours the usage is kept apart: a day, the hour before that has begun, and that."""

Hours = dict[str, tuple[int, float]]
"""The keys are numbers, written as JSON has keys."""


def count(hours: Hours, at: int, tokens: int, cost: float) -> None:
    """Count a usage, in place. at: server ms."""
    hour = str(at // HOUR_MS)
    before = hours.get(hour, (0, 0.0))
    hours[hour] = before[0] + tokens, before[1] + cost
    if len(hours) > HOURS_MAX:
        del hours[min(hours, key=int)]


def used_since(hours: Mapping[str, tuple[int, float]], since: int) -> tuple[int, float]:
    """Tokens and cost since a time within the last day, to the hour. since: server ms."""
    used = [hour for at, hour in hours.items() if int(at) >= since // HOUR_MS]
    return sum(tokens for tokens, _ in used), sum(cost for _, cost in used)


def rate(hours: Mapping[str, tuple[int, float]], now: int) -> tuple[float, float]:
    """Tokens and cost of the last sixty minutes: of this hour, and that part of the one before. now: server ms."""
    hour, passed = now // HOUR_MS, now % HOUR_MS / HOUR_MS
    here, before = hours.get(str(hour), (0, 0.0)), hours.get(str(hour - 1), (0, 0.0))
    return here[0] + before[0] * (1 - passed), here[1] + before[1] * (1 - passed)
