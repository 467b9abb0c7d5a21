"""`tools/bench/run [name ...] [--rounds N]`: measure, print the table, fail when a bar is missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator

import msgspec

from tools.bench import (
    append_cases,
    failsafe_cases,
    read_cases,
    replay_cases,
    run_cases,
    scale_cases,
    size_cases,
    spawn,
    workflow_cases,
)
from tools.bench.measure import Case, Row, measure, table
from tools.place import Place

Cases = Callable[[Place, str], Iterator[Case]]
BENCHES: dict[str, tuple[Cases, tuple[str, ...]]] = {
    "append": (append_cases.cases, ("everysec", "always")),
    "replay": (replay_cases.cases, ("everysec",)),
    "launch": (spawn.cases, ("none",)),
    "run": (run_cases.cases, ("everysec", "always")),
    "read": (read_cases.cases, ("everysec",)),
    "scale": (scale_cases.cases, ("everysec",)),
    "size": (size_cases.cases, ("everysec",)),
    "workflows": (workflow_cases.cases, ("everysec",)),
    "failsafe": (failsafe_cases.cases, ("everysec",)),
}


def main() -> int:
    """Run the named benchmarks, or all; returns 1 when one of them misses its bar."""
    parser = argparse.ArgumentParser(prog="tools/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(BENCHES)} (all)")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds of each (5)")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(BENCHES)}")
    rows: list[Row] = []
    for name in options.names or BENCHES:
        cases, modes = BENCHES[name]
        for mode in modes:
            with Place("bench") as place:
                for case in cases(place, mode):
                    rows.append(measure(msgspec.structs.replace(case, rounds=options.rounds)))
                    print(f"{case.name} ({mode}): {rows[-1].compared}", file=sys.stderr)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    print(f"{machine}, {options.rounds} rounds each\n\n{table(rows)}")
    return 1 if any(row.passed is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
