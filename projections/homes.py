"""The view `homes`: the folders on nodes in which each agent has worked, row id = agent id.

A restore does not undo that an agent's files lie somewhere, so this view folds all events, not only those of the line.
Indexes, by the time of the last change: `all`; `moved`, agents that have had homes on several nodes.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.placement import Homes, settle

NAME = "homes"
VERSION = 1
FOLLOWS_LINE = False

Rows = dict[str, Homes]
_decoder = msgspec.json.Decoder(Homes)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    assert isinstance(event.fact, e.AgentAssigned)
    return event.fact.agent


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        agent = touches(event)
        row = settle(rows.get(agent), event)
        if row is not None:
            rows[agent] = row

    return {e.AgentAssigned: fold}


def indexes(row: Homes) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    return {"all": row.at, "moved": row.at} if row.moved else {"all": row.at}


def decode(_row_id: str, data: bytes) -> Homes:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
