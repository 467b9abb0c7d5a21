"""The view `queue`: the open tasks of the line, the same rows as in `tasks` while they are queued or running.

It is the open part of `tasks` by definition, so it is derived from that view's rows instead of being folded a second
time. Indexes, in the order of service: `open`, `waiting`, `processing` (a run is released or running), `agent:<a>`,
`waiting:agent:<a>` and `processing:agent:<a>`.
"""

from __future__ import annotations

from maestro.model.task import Task
from projections import tasks

NAME = "queue"
VERSION = 6
FOLLOWS_LINE = True

decode = tasks.decode


def holds(row: Task | None) -> bool:
    """Whether a row of `tasks` is in the queue too."""
    return row is not None and row.open


def indexes(row: Task) -> dict[str, int]:
    """The indexes that contain the row, with its score in each: smaller is served first."""
    order = row.order_key()
    part = "processing" if any(slot.status in {"released", "running"} for slot in row.slots) else "waiting"
    scores = {"open": order, part: order}
    for agent in tasks.agents(row):
        scores[f"agent:{agent}"] = order
        scores[f"{part}:agent:{agent}"] = order
    return scores
