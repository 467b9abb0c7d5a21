"""The presence of monitors: each leaves a sample at every look, which vanishes where it looks no more.

`monitor:<id>` is the sample of one; `node:<node>:monitors` names those of a node (monitor -> until when it counts as
running, server ms), so that they can be found. Neither is truth: a monitor that runs is there again at its next look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from maestro.runtime.node.context import Context
from maestro.runtime.node.read_context import ReadContext
from maestro.store.contract import WorkStore

MONITORS_MAX = 100
"""So many monitors of a node are known: it stays bounded, whatever ids they give themselves."""

ENDED = 0
"""Stands for the time up to which a monitor that has ended counts as running."""


class Present(NamedTuple):
    """A monitor that runs. seen_at, until: server ms of its last look, and to when that counts."""

    monitor: str
    node: str
    seen_at: int
    until: int


async def mark(context: Context, monitor: str, present_s: float, now: int) -> None:
    """Have a monitor of this node count as running for so long; 0: it has ended. now: server ms."""
    if context.daemon is None or not monitor:
        return
    known = context.daemon.monitors
    if present_s > 0 and known.get(monitor) == ENDED:
        return  # a look of it that was under way when it ended
    known[monitor] = now + int(present_s * 1000) if present_s > 0 else ENDED
    for name in [name for name, until in known.items() if ENDED < until <= now]:
        del known[name]
    for name in sorted(known, key=known.__getitem__)[: max(0, len(known) - MONITORS_MAX)]:
        del known[name]
    put = context.store.work.samples_put
    own = {"node": context.node, "until": str(known.get(monitor, ENDED))}
    await context.call(put, {f"monitor:{monitor}": own}, max(1, int(present_s * 1000)))
    of_node = {name: str(until) for name, until in known.items() if until != ENDED}
    await context.call(put, {_key(context.node): of_node}, max(1, max(known.values(), default=now) - now))


async def present(context: ReadContext, nodes: Iterable[str], now: int) -> list[Present]:
    """The monitors that run on these nodes."""
    return await context.call(read_present, context.store.work, list(nodes), now)


def read_present(work: WorkStore, nodes: list[str], now: int) -> list[Present]:
    """As `present`, for a thread."""
    samples = work.samples([_key(node) for node in nodes]) if nodes else []
    found = [each for node, sample in zip(nodes, samples, strict=True) for each in _of(node, sample or {}, now)]
    return sorted(found, key=lambda each: (each.node, each.monitor))


def _of(node: str, sample: Mapping[str, str], now: int) -> Iterable[Present]:
    seen_at = int(sample.get("at", 0))
    for monitor, until in sample.items():
        if monitor != "at" and until.isdigit() and int(until) > now:
            yield Present(monitor, node, seen_at, int(until))


def _key(node: str) -> str:
    return f"node:{node}:monitors"
