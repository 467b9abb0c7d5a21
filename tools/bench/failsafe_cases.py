"""Benchmark of what failsafe mode costs before a run: a real daemon archives a large workspace, against a bare walk.

Measured by the log: from the start of the run to its guard. The reference walks the same tree and calls `lstat` for
each name, and does nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tools.bench.measure import Case
from tools.place import Home, Place

FILES = 40_000
FILES_A_FOLDER = 100
SETTLE_S = 0.3
BAR = 2.0
CHANGED = FILES // 100


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """A tree as it was, one that the run before has changed by 1 %, and one that somebody has changed by 1 %."""
    home = Home(place, f"failsafe-{fsync}", MAESTRO_EMBEDDED_FSYNC=fsync, MAESTRO_FAILSAFE_MODE="true")
    home.define("sh", adapter="shell")
    tree = place.path / "tree"
    _fill(tree)
    home.run("up")
    try:
        home.run("agent", "assign", "sh", "--to-workspace", str(tree))
        guard = _Guard(home, tree)
        guard.put()
        yield _case("guard, nothing has changed", fsync, guard.put, tree)
        yield _case("guard, the run before changed 1 %", fsync, guard.put_after_work, tree)
        yield _case("guard, somebody changed 1 %", fsync, guard.put_after_changes, tree, barred=False)
    finally:
        home.run("shutdown", "--grace-period", "1", check=False)


def _case(name: str, fsync: str, ours: Callable[[], float], tree: Path, barred: bool = True) -> Case:
    return Case(
        f"{name}, {FILES:,} files",
        fsync,
        "ms",
        more=False,
        bar=BAR if barred else None,
        ours=ours,
        reference_name="lstat of each name",
        reference=lambda: walked(str(tree)),
    )


def walked(tree: str) -> float:
    """Walk a tree with an `lstat` for each name; in ms."""
    start = time.perf_counter()
    stack = [tree]
    while stack:
        with os.scandir(stack.pop()) as listed:
            for item in listed:
                os.lstat(item.path)
                if item.is_dir(follow_symlinks=False):
                    stack.append(item.path)
    return (time.perf_counter() - start) * 1000


class _Guard:
    """Has runs guarded, one after the other, and tells what each guard took."""

    def __init__(self, home: Home, tree: Path) -> None:
        self._home = home
        self._tree = tree
        self._changes = 0

    def put(self) -> float:
        """Have a run guarded that changes nothing; ms from its start to its guard."""
        self._home.run("task", "dispatch", "true", "--to", "sh", "--sync")
        lines = self._home.run("events", "export").stdout.splitlines()
        events = [msgspec.json.decode(line) for line in lines]
        at = {event["type"]: event["at"] for event in events if event["type"] in ("run.started", "failsafe.guarded")}
        return float(max(at["failsafe.guarded"] - at["run.started"], 1))

    def put_after_work(self) -> float:
        """The same, after a run that has changed some files, and some time in which nothing ran."""
        self._changes += 1
        work = f"i=0; while [ $i -lt {CHANGED} ]; do echo {self._changes} > f$i/d0; i=$((i + 1)); done"
        self._home.run("task", "dispatch", work, "--to", "sh", "--sync")
        time.sleep(SETTLE_S)
        while self._last_event() != "snapshot.taken":
            time.sleep(SETTLE_S)
        return self.put()

    def _last_event(self) -> str:
        line = self._home.run("events", "export").stdout.splitlines()[-1]
        return str(msgspec.json.decode(line)["type"])

    def put_after_changes(self) -> float:
        """The same, after somebody has changed some files while nothing ran."""
        self._changes += 1
        for number in range(CHANGED):
            (self._tree / f"f{number}" / "d0").write_text(f"person {self._changes}\n")
        time.sleep(SETTLE_S)
        return self.put()


def _fill(tree: Path) -> None:
    for folder in range(FILES // FILES_A_FOLDER):
        (tree / f"f{folder}").mkdir(parents=True)
        for file in range(FILES_A_FOLDER):
            (tree / f"f{folder}" / f"d{file}").write_text(f"{folder} {file}\n" * 5)
