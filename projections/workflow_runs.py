"""The view `workflow_runs`: the header of every run of a workflow of the line, row id = id of the run.

Indexes, by position of the start: `all`, `open`, `status:<s>`, and each of them with `:workflow:<id>` behind it
(`workflow:<id>` for all). Runs of children are in `child-of:<run>` and, while they are open, in `open`. Those that ask
a person for an approval are in `asking`, by the time since when; children are in no other but `ended`: all that have
ended, by their last event. Of these only the newest are rows (`bounding/bounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.workflow.run_header import RunHeader, evolve

NAME = "workflow_runs"
VERSION = 3
FOLLOWS_LINE = True
ENDED = "ended"

Rows = dict[str, RunHeader]
_decoder = msgspec.json.Decoder(RunHeader)

FACTS = (
    e.WorkflowRunStarted,
    e.WorkflowRunAdmitted,
    e.WorkflowRunPaused,
    e.WorkflowRunResumed,
    e.WorkflowRunEnding,
    e.WorkflowRunFinished,
    e.StepReadied,
    e.StepApproved,
    e.StepStarted,
    e.StepEnded,
    e.LoopTurned,
    e.HandlerCalled,
    e.WorkspaceArchiveWanted,
    e.WorkspaceArchived,
    e.WorkspaceRestoreWanted,
    e.WorkspaceReturned,
)
"""All facts whose subject is a run: each changes at least the header's `seq`."""
ENDS = FACTS

touches: Callable[[Event], str] = attrgetter("fact.run")
"""The id of the row that an event changes. event: one whose fact `folds` handles."""


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        run = touches(event)
        row = evolve(rows.get(run), event)
        if row is not None:
            rows[run] = row

    return dict.fromkeys(FACTS, fold)


def ended(row: RunHeader) -> int:
    """The position of the last event of a run that has ended, 0 while it is open."""
    return 0 if row.open else row.seq


def indexes(row: RunHeader) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    position = row.position
    opened = {"open": position} if row.open else {ENDED: row.seq}
    if row.asking:
        opened["asking"] = min(row.asking.values())
    if row.parent:
        return opened | {f"child-of:{row.parent}": position}
    scores = {"all": position, f"status:{row.status}": position, f"workflow:{row.workflow}": position}
    scores[f"status:{row.status}:workflow:{row.workflow}"] = position
    if row.open:
        scores |= {f"open:workflow:{row.workflow}": position}
    return scores | opened


def decode(_row_id: str, data: bytes) -> RunHeader:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
