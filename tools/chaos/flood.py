"""Trial of a flood: eight agents print 100 MB of control sequences each; the daemon stays small and on time."""

from __future__ import annotations

import time
from pathlib import Path

from tools.place import Home, Place

AGENTS = 8
MEGABYTES = 100
GROWTH_BYTES_MAX = 32 * 1024 * 1024
HEARTBEAT_AGE_S_MAX = 15.0
LOG_BYTES_MAX = 65 * 1024 * 1024
_PIECE = b"\x1b[31m\xff\xfe\x00red\x1b]0;title\x07" * 50_000


def flood() -> list[str]:
    """The breaches found, [] when there is none."""
    with Place("flood") as place:
        home = Home(place, MAESTRO_MAX_CONCURRENT=str(AGENTS))
        piece = place.path / "piece"
        piece.write_bytes(_PIECE)
        names = [f"f{number}" for number in range(AGENTS)]
        for name in names:
            home.define(name)
            home.run("agent", "assign", name)
        home.run("task", "dispatch", "true", "--to", ",".join(names), "--sync")
        try:
            return _printing(home, names, piece)
        finally:
            home.run("shutdown", "--grace-period", "1", check=False)


def _printing(home: Home, names: list[str], piece: Path) -> list[str]:
    daemon = next(one for one in home.place.processes() if "worker" in one.cmdline()[-1:])
    times = MEGABYTES * 1_000_000 // len(_PIECE)
    script = f"i=0; while [ $i -lt {times} ]; do cat {piece}; i=$((i+1)); done; echo; echo the end"
    before = highest = daemon.memory_info().rss
    oldest, asked_at = 0.0, 0.0
    tasks = [home.ask("task", "dispatch", script, "--to", name, "--async")["id"] for name in names]
    open_tasks = set(tasks)
    while open_tasks:
        highest = max(highest, daemon.memory_info().rss)
        if time.monotonic() - asked_at > 2:
            asked_at = time.monotonic()
            ages = [row["heartbeat_age_s"] for row in home.ask("agent", "list")]
            oldest = max([oldest, *(age for age in ages if age is not None)])
            open_tasks = {task for task in open_tasks if home.ask("task", "status", task)["status"] != "completed"}
        time.sleep(0.02)
    broken = []
    if highest - before > GROWTH_BYTES_MAX:
        broken.append(f"the daemon grew by {(highest - before) / 1e6:.0f} MB")
    if oldest > HEARTBEAT_AGE_S_MAX:
        broken.append(f"a heartbeat was {oldest:.0f} s old")
    for task in tasks:
        run = home.ask("task", "status", task)["runs"][-1]
        log = Path(run["log"])
        if log.stat().st_size > LOG_BYTES_MAX or b"[maestro: output truncated" not in log.read_bytes()[-100:]:
            broken.append(f"the log of {task} is not capped and marked ({log.stat().st_size} bytes)")
    print(f"{AGENTS} x {MEGABYTES} MB: daemon + {(highest - before) / 1e6:.1f} MB, oldest heartbeat {oldest:.1f} s")
    return broken
