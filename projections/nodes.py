"""The view `nodes`: every node that ever joined, row id = node id.

A restore does not undo that a host joined or left, so this view folds all events, not only those of the line. Index:
`all`, by the time of joining.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.node import Node, evolve

NAME = "nodes"
VERSION = 3
FOLLOWS_LINE = False

Rows = dict[str, Node]
_decoder = msgspec.json.Decoder(Node)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    # all facts of `folds` have it
    node: str = event.fact.node  # type: ignore[union-attr, assignment]
    return node


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        node = touches(event)
        row = evolve(rows.get(node), event)
        if row is not None:
            rows[node] = row

    facts = (e.NodeJoined, e.NodeHeld, e.NodeResumed, e.NodeLeft, e.NodeLost)
    return dict.fromkeys((*facts, e.NodeDrainBegun, e.NodeDrainEnded, e.NodeForgotten), fold)


def indexes(row: Node) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    return {"all": row.joined_at}


def decode(_row_id: str, data: bytes) -> Node:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)
