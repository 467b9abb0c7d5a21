"""Measures a case: ours and its reference in turns, several rounds, median and spread, compared with a bar.

The ratio is computed within each round, between two neighbours in time, so that a machine whose speed drifts does not
decide the result; the median of the ratios is compared with the bar.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec


class Case(msgspec.Struct, frozen=True):
    """One code path of Maestro and its reference.

    ours, reference: each returns one measurement in `unit`.
    more: whether more is better, so that ours must be at least bar times the reference; else at most.
    bar: None where the result is only reported.
    beyond: the bar is no ratio, but the maximal difference to the reference, in `unit`.
    mode: the AOF mode of the store.
    """

    name: str
    mode: str
    unit: str
    more: bool
    bar: float | None
    ours: Callable[[], float]
    reference_name: str
    reference: Callable[[], float]
    rounds: int = 5
    beyond: bool = False

    @property
    def bar_text(self) -> str:
        """The bar as shown in the table, "" for none."""
        if self.bar is None:
            return ""
        return f"≤ +{self.bar:g} {self.unit}" if self.beyond else f"{'≥' if self.more else '≤'} {self.bar:g} x"


class Row(msgspec.Struct, frozen=True):
    """A measured case. ours and reference: (least, median, most); ratio, difference: the medians over the rounds."""

    case: Case
    ours: tuple[float, float, float]
    reference: tuple[float, float, float]
    ratio: float
    difference: float

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.case.bar is None:
            return None
        if self.case.beyond:
            return self.difference <= self.case.bar
        return self.ratio >= self.case.bar if self.case.more else self.ratio <= self.case.bar

    @property
    def compared(self) -> str:
        """The result compared with its reference, in the terms of its bar."""
        return f"{self.difference:+.2f} {self.case.unit}" if self.case.beyond else f"{self.ratio:.2f} x"


def measure(case: Case) -> Row:
    """Run a case: one unmeasured round, then `rounds` of ours and reference, taking turns in who is first."""
    case.ours()
    case.reference()
    ours: list[float] = []
    reference: list[float] = []
    for number in range(case.rounds):
        steps = [(case.ours, ours), (case.reference, reference)]
        for step, values in steps if number % 2 == 0 else reversed(steps):
            values.append(step())
    rounds = list(zip(ours, reference, strict=True))
    ratio = median(mine / theirs for mine, theirs in rounds)
    return Row(case, spread(ours), spread(reference), ratio, median(mine - theirs for mine, theirs in rounds))


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median and most of the values."""
    return min(values), median(values), max(values)


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| path | AOF | ours: median (least to most) | reference | its median (least to most) | ratio | bar | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        case = row.case
        verdict = {True: "ok", False: "**missed**", None: ""}[row.passed]
        mine, theirs = told(row.ours, case.unit), told(row.reference, case.unit)
        cells = [case.name, case.mode, mine, case.reference_name, theirs, row.compared, case.bar_text, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def told(values: tuple[float, float, float], unit: str) -> str:
    """Three figures with their unit, with few digits."""
    least, middle, most = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values)
    return f"{middle} {unit} ({least} to {most})"


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def spawned(argv: Sequence[str], env: dict[str, str] | None = None) -> float:
    """Milliseconds from the start of a program to its end; its output is discarded. Raises when it fails."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1)]
    try:
        start = time.perf_counter()
        pid = os.posix_spawn(argv[0], list(argv), os.environ if env is None else env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter() - start
    finally:
        os.close(null)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise subprocess.CalledProcessError(code, list(argv))
    return took * 1000


def typical(action: Callable[[], float], times: int) -> Callable[[], float]:
    """A measurement that is the median of `times` runs of the action."""
    return lambda: median(action() for _ in range(times))
