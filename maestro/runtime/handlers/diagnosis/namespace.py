"""The findings of `doctor` on the namespace beside this node: who shares sealed history, lost nodes, alerts."""

from __future__ import annotations

from maestro.model.errors import MaestroError
from maestro.runtime.handlers.diagnosis import segments_reach
from maestro.runtime.node.context import Context

NAMED_MAX = 5

Finding = tuple[str, str, str, str]
"""What was looked at, `ok` or `warning`, what was found, and what to do."""


async def findings(context: Context) -> list[Finding]:
    """What is to be told of the namespace; nothing of what is well. Warnings only: they are not of this node."""
    try:
        return [*await _segments(context), *await _nodes(context), *await _alerts(context)]
    except MaestroError:  # what is wrong with the store is told by a finding of its own
        return []


async def _segments(context: Context) -> list[Finding]:
    found = await segments_reach.apart(context)
    return [] if found is None else [("segments of nodes", "warning", found.why, segments_reach.MEND)]


async def _nodes(context: Context) -> list[Finding]:
    lost = [node for node in await context.rows(context.views.nodes) if node.status == "lost" and not node.forgotten]
    return [
        (
            f"node {node.id}",
            "warning",
            f"it is lost, on host {node.host}: {node.reason or 'its lease ran out'}",
            f"start its daemon there (maestro up), or give it up: maestro node forget {node.id}",
        )
        for node in lost
        if node.id != context.node
    ]


async def _alerts(context: Context) -> list[Finding]:
    rows = [row for row in await context.rows(context.views.alerts, "open") if row.severity == "critical"]
    if not rows:
        return []
    more = f", and {len(rows) - NAMED_MAX} more" if len(rows) > NAMED_MAX else ""
    what = "; ".join(f"{row.id}: {row.what}" for row in rows[:NAMED_MAX])
    return [("alerts", "warning", f"{len(rows)} critical: {what}{more}", "maestro monitor alerts says what helps")]
