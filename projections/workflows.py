"""The view `workflows`: every stored workflow of the line with its versions, row id = workflow id.

Indexes: `all`, those that are not deleted, by position of the last event; `name`, the same at score 0, for names;
`scheduled`, those whose schedules are on.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.workflow.stored_workflow import StoredWorkflow, evolve

NAME = "workflows"
VERSION = 1
FOLLOWS_LINE = True

Rows = dict[str, StoredWorkflow]
_decoder = msgspec.json.Decoder(StoredWorkflow)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    workflow: str = event.fact.workflow  # type: ignore[union-attr]
    return workflow


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        workflow = touches(event)
        row = evolve(rows.get(workflow), event)
        if row is not None:
            rows[workflow] = row

    return dict.fromkeys((e.WorkflowStored, e.WorkflowDeleted, e.WorkflowSwitched), fold)


def indexes(row: StoredWorkflow) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    if row.deleted:
        return {}
    scores = {"all": row.seq, "name": 0}
    return scores | {"scheduled": row.seq} if row.enabled and row.newest.schedules else scores


def decode(_row_id: str, data: bytes) -> StoredWorkflow:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
