"""Benchmark of what must be linear: at twice the agents, or twice the levels, beside half of it in the same round."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from maestro.model import events as e
from maestro.runtime.daemon.store_access import open_store
from maestro.store.contract import Append
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.cleaning import remove_tree
from projections.view_reader import Views
from tools.bench.measure import Case, spawned, timed
from tools.bench.replay_cases import commit
from tools.place import MAESTRO, Home, Place

AGENTS = 250
LEVELS = 1000
BAR = 2.5


def cases(place: Place, fsync: str) -> Iterator[Case]:
    """Commands in homes with AGENTS and 2 x AGENTS workspaces, and a round trip of trees of LEVELS and 2 x LEVELS."""
    few, many = (crowded(place, fsync, AGENTS * factor) for factor in (1, 2))
    try:
        again = ("agent", "assign", "true", "--name", "first", "--to-workspace", str(place.path / "first"))
        for name, words in (
            ("restore --dry-run", ("state", "restore", "latest", "--dry-run")),
            ("agent assign", again),
            ("agent list", ("agent", "list")),
        ):
            yield Case(
                f"maestro {name}, {2 * AGENTS} agents",
                fsync,
                "ms",
                more=False,
                bar=BAR,
                ours=partial(spawned, [MAESTRO, *words], many.env),
                reference_name=f"the same with {AGENTS}",
                reference=partial(spawned, [MAESTRO, *words], few.env),
            )
    finally:
        for home in (few, many):
            home.run("shutdown", "--grace-period", "1", check=False)
    yield Case(
        f"snapshot, diff and restore of {2 * LEVELS} levels",
        "none",
        "s",
        more=False,
        bar=BAR,
        ours=partial(round_trip, place.path / "deep", 2 * LEVELS),
        reference_name=f"the same of {LEVELS}",
        reference=partial(round_trip, place.path / "deep", LEVELS),
    )


def crowded(place: Place, fsync: str, agents: int) -> Home:
    """A home with its daemon, and so many agents that each have a small workspace, all in one snapshot."""
    home = Home(place, f"h{agents}", MAESTRO_EMBEDDED_FSYNC=fsync)
    home.define("true", bin="/bin/true", argv=["{bin}"])
    home.run("up")
    above = place.path / f"workspaces-{agents}"
    home.run("agent", "assign", "true", "--name", "first", "--to-workspace", str(above / "first"))
    store = open_store(home.settings)
    try:
        first = Views(store).agent("first").row
        assert first is not None
        group = []
        for number in range(agents):
            workspace = above / f"w{number}"
            workspace.mkdir()
            (workspace / "page").write_text(f"page {number}")
            root, name = first.workspace_root, f"a{number}"
            fact = e.AgentAssigned(name, "true", first.definition, root, str(workspace), "", 3, first.node)
            group.append(Append((e.NewEvent(f"agent:{name}", fact, 0),), "bench", f"bench:{number}"))
        commit(store, group)
    finally:
        store.close()
    home.run("state", "snapshot")
    return home


def round_trip(top: Path, levels: int) -> float:
    """Seconds for a snapshot of a tree with a file at each of its levels, a diff, and a restore."""
    shutil.rmtree(top, ignore_errors=True)
    (top / "work").mkdir(parents=True)
    handle = os.open(top / "work", os.O_RDONLY)
    for _ in range(levels):
        os.close(os.open("page", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=handle))
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    archive = Archive(top / "store")

    def work() -> None:
        archive.save([("t", str(top / "work"))], "one", {})
        archive.diff("one", "t", top / "work")
        archive.restore("one", "t", top / "back")

    took = timed(work)
    for name in ("work", "back"):
        remove_tree(top / name)
    return took
