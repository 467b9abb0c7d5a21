"""What a fleet costs while nothing changes: processor time and memory of its processes, and what the store is asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import psutil
import redis

from tools.bench.fleets.fleet import Fleet

COMMANDS_SHOWN = 6
MIB = 1 << 20


class Figure(msgspec.Struct, frozen=True):
    """A measured figure. most: the bar, None where it is only reported."""

    name: str
    value: float
    unit: str
    most: float | None = None
    note: str = ""

    @property
    def missed(self) -> bool:
        """Whether the bar is missed."""
        return self.most is not None and self.value > self.most


class _Counts(msgspec.Struct, frozen=True):
    """What the processes and the store have done up to a moment."""

    at: float
    cpu_s: list[float]
    store: dict[str, float]
    calls: dict[str, int]


def idle(fleet: Fleet, seconds: float, what: str, most: float) -> Iterator[Figure]:
    """What a fleet costs in so many seconds. what: its state in words; most: bar of a daemon, in % of a core."""
    before = _counts(fleet)
    time.sleep(seconds)
    after = _counts(fleet)
    took = after.at - before.at
    shares = [100 * (b - a) / took for a, b in zip(before.cpu_s, after.cpu_s, strict=True)]
    *daemons, server = shares
    for number, share in enumerate(daemons):
        yield Figure(f"{what}: daemon {number}", share, "% of a core", most)
    yield Figure(f"{what}: store", server, "% of a core")
    calls = {name: (after.calls[name] - before.calls.get(name, 0)) / took for name in after.calls}
    often = sorted(calls, key=lambda name: -calls[name])[:COMMANDS_SHOWN]
    shown = ", ".join(f"{name} {calls[name]:.1f}" for name in often)
    yield Figure(f"{what}: commands, those of scripts too", sum(calls.values()), "a second", note=shown)
    for name, label in (("in", "sent to the store"), ("out", "read from it"), ("aof", "its append-only file")):
        yield Figure(f"{what}: {label}", (after.store[name] - before.store[name]) / took / 1000, "kB/s")


def memory(fleet: Fleet, what: str) -> Iterator[Figure]:
    """The memory of each daemon, with that of what it started, and of the store."""
    for number, daemon in enumerate(fleet.daemons):
        below = sum(child.memory_info().rss for child in daemon.children(recursive=True)) / MIB
        note = f"and {below:.0f} MiB, shared pages counted each time, by all that it started"
        yield Figure(f"{what}: memory of daemon {number}", daemon.memory_info().rss / MIB, "MiB", note=note)
    client = fleet.client
    yield Figure(f"{what}: memory of the store", _info(client, "memory")["used_memory"] / MIB, "MiB")
    beats: Any = list(client.scan_iter("*:last_heartbeat", count=1000))
    held = sum(client.memory_usage(key) or 0 for key in beats[:100]) / max(1, len(beats[:100])) * len(beats)
    yield Figure(f"{what}: of it heartbeats", held / 1024, "KiB", note=f"{len(beats)} keys")


def _counts(fleet: Fleet) -> _Counts:
    assert fleet.server.process is not None
    processes = [*fleet.daemons, psutil.Process(fleet.server.process.pid)]
    used = [sum(process.cpu_times()[:2]) for process in processes]
    stats, kept = _info(fleet.client, "stats"), _info(fleet.client, "persistence")
    store = {
        "in": stats["total_net_input_bytes"],
        "out": stats["total_net_output_bytes"],
        "aof": kept["aof_current_size"],
    }
    calls = {name[8:]: each["calls"] for name, each in _info(fleet.client, "commandstats").items()}
    return _Counts(time.monotonic(), used, store, calls)


def _info(client: redis.Redis, section: str) -> dict[str, Any]:
    found: Any = client.info(section)
    return dict(found)
