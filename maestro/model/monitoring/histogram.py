"""A histogram: how many values were at most as large as each of some bounds, and the sum of all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

APPEND_US = (250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_000_000, 10_000_000)
"""The bounds of a daemon's appends to the log."""


class Histogram(msgspec.Struct, omit_defaults=True):
    """What was observed. counts: for each bound the values up to it and above the one before, then those above all; []
    for none yet. sum: of the values, which are whole numbers.
    """

    counts: list[int] = []
    sum: int = 0

    def observe(self, bounds: Sequence[int], value: int) -> None:
        """Count a value. bounds: ascending, the same at each call."""
        counts = self.counts
        if not counts:
            counts = self.counts = [0] * (len(bounds) + 1)
        counts[bisect_left(bounds, value)] += 1
        self.sum += value
