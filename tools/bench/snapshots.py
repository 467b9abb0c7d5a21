"""`tools/bench/snapshot [--scale 0.1] [--rounds N]`: snapshots of one tree by all archivers, by turns.

Each round starts with fresh repositories: first snapshot, one after 1 % changed, one of nothing new, a restore into
an empty folder, a complete check, an export, and going back by the 1 % in place. The table has the median of the
rounds, and what the repository grew by.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from tools.bench import worktree
from tools.bench.archivers import Archiver, Maestro, present

FIRST, SECOND, NOTHING = "first snapshot", "second, 1 % changed", "nothing changed"
RESTORE, VERIFY, EXPORT = "restore", "verify", "export"
BACK = "roll back the 1 % in place"
ADDED = ("bytes of the first", "bytes added by the second", "bytes added by nothing")
BARS = (
    (FIRST, "restic", 0.5),
    (SECOND, "restic", 0.25),
    (SECOND, "borg", 1 / 3),
    (RESTORE, "restic", 0.55),
    (ADDED[1], "restic", 1.0),
)
SETTLE_S = 2.5  # no archiver's cache trusts files that were changed just now

Measured = dict[tuple[str, str], list[float]]


def main() -> int:
    """Create the tree, measure, print; returns 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="tools/bench/snapshot", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the full size, such as 0.1 (1)")
    parser.add_argument("--rounds", type=int, default=3, help="measured rounds (3)")
    parser.add_argument("--folder", type=Path, help="where to work; needs about 8 GB at full size (the temp folder)")
    parser.add_argument("--install", action="store_true", help="install missing archivers by apt-get, as root")
    options = parser.parse_args()
    archivers, left_out = present(options.install)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "maestro-bench"
    measured: Measured = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="m-snapshot-", dir=options.folder) as folder:
        place = Path(folder)
        kind = worktree.make(place / "tree", cache / "npm", options.scale)
        files = sum(path.is_file() for path in (place / "tree").rglob("*"))
        size = worktree.size_of(place / "tree")
        print(f"{files:,} files, {size / 1e6:,.0f} MB; small files {kind}", file=sys.stderr)
        for number in range(options.rounds):
            one_round(place, archivers, number, measured)
    for name in left_out:
        print(f"left out: {name}")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    print(f"{machine}; {files:,} files, {size / 1e6:,.0f} MB, small files {kind}; {options.rounds} rounds\n")
    print(table(measured, [archiver.name for archiver in archivers]))
    verdicts = judged(measured)
    print("\n".join(["", *(line for line, _ in verdicts)]))
    return 0 if all(passed for _, passed in verdicts) else 1


def one_round(place: Path, kinds: list[type[Archiver]], number: int, measured: Measured) -> None:
    """Every action by every archiver, taking turns in who is first."""
    tree, target = place / "tree", place / "restored"
    turn = number % len(kinds)
    archivers = [kind(place / f"{number}-{at}") for at, kind in enumerate(kinds[turn:] + kinds[:turn])]
    for act, name, grown in ((FIRST, "one", ADDED[0]), (SECOND, "two", ADDED[1]), (NOTHING, "three", ADDED[2])):
        if act == SECOND:
            worktree.change(tree, number)
        time.sleep(SETTLE_S)
        for archiver in archivers:
            before = archiver.kept_bytes()
            took(measured, act, archiver, partial(archiver.save, tree, name))
            measured[grown, archiver.name].append(archiver.kept_bytes() - before)
    for archiver in archivers:
        took(measured, RESTORE, archiver, partial(archiver.restore, "two", target))
        shutil.rmtree(target)
        took(measured, VERIFY, archiver, archiver.verify)
        took(measured, EXPORT, archiver, partial(archiver.export, "two"))
    for archiver in archivers:
        worktree.change(tree, 1000 + number)
        time.sleep(SETTLE_S)
        took(measured, BACK, archiver, partial(archiver.roll_back, tree, "two"))
        shutil.rmtree(archiver.place)


def took(measured: Measured, act: str, archiver: Archiver, do: Callable[[], bool]) -> None:
    """Measure one action in seconds, with the program in memory and no pending disk writes on the machine."""
    archiver.wake()
    os.sync()
    start = time.perf_counter()
    if do():
        measured[act, archiver.name].append(time.perf_counter() - start)
        print(f"{archiver.name}: {act}: {measured[act, archiver.name][-1]:.2f} s", file=sys.stderr)


def table(measured: Measured, names: list[str]) -> str:
    """The medians as a Markdown table, with the least and the most."""
    lines = [f"| | {' | '.join(names)} |", f"|---{'|---:' * len(names)}|"]
    for row in (FIRST, SECOND, NOTHING, RESTORE, VERIFY, EXPORT, BACK):
        lines.append(f"| {row}, s | {' | '.join(cell(measured.get((row, name)), '.2f') for name in names)} |")
    for row in ADDED:
        lines.append(f"| {row} | {' | '.join(cell(measured.get((row, name)), ',.0f') for name in names)} |")
    return "\n".join(lines)


def cell(values: list[float] | None, form: str) -> str:
    """Median (least to most), or a dash."""
    if not values:
        return "-"
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def judged(measured: Measured) -> list[tuple[str, bool]]:
    """For each bar whose reference was measured: a line, and whether it is met. Ratios are computed per round."""
    verdicts = []
    for row, name, bar in BARS:
        theirs = measured.get((row, name))
        if theirs:
            ratio = median(mine / other for mine, other in zip(measured[row, Maestro.name], theirs, strict=True))
            passed = ratio <= bar
            verdicts.append((f"{row}: {ratio:.2f} x {name}, bar {bar:.2f}: {'ok' if passed else 'missed'}", passed))
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
