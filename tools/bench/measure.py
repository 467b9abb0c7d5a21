"""How everything is measured: ours and its reference by turns, several rounds, median and spread, a bar to pass.

A ratio is formed within each round, between neighbours in time, so that a machine whose speed drifts does not
decide; its median is held against the bar.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median

import msgspec


class Case(msgspec.Struct, frozen=True):
    """One path beside its reference.

    ours and reference return one measurement in `unit`. more: more of it is better, so that ours must be at least bar
    times the reference; else at most. bar: None where it is told, not judged. mode: the AOF mode of the store.
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


class Row(msgspec.Struct, frozen=True):
    """A case measured. ours and reference: (least, median, most); ratio: the median of the rounds' ratios."""

    case: Case
    ours: tuple[float, float, float]
    reference: tuple[float, float, float]
    ratio: float

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.case.bar is None:
            return None
        return self.ratio >= self.case.bar if self.case.more else self.ratio <= self.case.bar


def measure(case: Case) -> Row:
    """Run a case: one round unmeasured, then `rounds` of ours and reference by turns, who is first by turns too."""
    case.ours()
    case.reference()
    ours: list[float] = []
    reference: list[float] = []
    for number in range(case.rounds):
        steps = [(case.ours, ours), (case.reference, reference)]
        for step, values in steps if number % 2 == 0 else reversed(steps):
            values.append(step())
    ratio = median(mine / theirs for mine, theirs in zip(ours, reference, strict=True))
    return Row(case, spread(ours), spread(reference), ratio)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, median, most."""
    return min(values), median(values), max(values)


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| path | AOF | ours: median (least to most) | reference | its median (least to most) | ratio | bar | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        case = row.case
        bar = "" if case.bar is None else f"{'≥' if case.more else '≤'} {case.bar:g} x"
        verdict = {True: "ok", False: "**missed**", None: ""}[row.passed]
        mine, theirs = told(row.ours, case.unit), told(row.reference, case.unit)
        cells = [case.name, case.mode, mine, case.reference_name, theirs, f"{row.ratio:.2f} x", bar, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def told(values: tuple[float, float, float], unit: str) -> str:
    """Three figures with their unit, as few digits as they deserve."""
    least, middle, most = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in values)
    return f"{middle} {unit} ({least} to {most})"


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def spawned(argv: Sequence[str], env: dict[str, str] | None = None) -> float:
    """Milliseconds from the start of a program to its end; its output goes nowhere. Raises when it fails."""
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
    """A measurement made of many: the median of `times` of them."""
    return lambda: median(action() for _ in range(times))
