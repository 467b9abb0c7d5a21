"""The view `nodes`: every node that ever joined, row id = node id.

A restore does not undo that a host came or went, so this view sees all events, not those of the line only.
Index: `all`, by the time of joining.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.node import Node, evolve

NAME = "nodes"
VERSION = 2
FOLLOWS_LINE = False

Rows = dict[str, Node]
_decoder = msgspec.json.Decoder(Node)


def touches(event: Event) -> str:
    """The row that an event that concerns the view changes."""
    node: str = event.fact.node  # type: ignore[union-attr, assignment]  # all of folds have it
    return node


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """What each fact that concerns the view does to these rows, in place."""

    def fold(event: Event) -> None:
        node = touches(event)
        row = evolve(rows.get(node), event)
        if row is not None:
            rows[node] = row

    return dict.fromkeys((e.NodeJoined, e.NodeHeld, e.NodeResumed, e.NodeLeft, e.NodeLost), fold)


def indexes(row: Node) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    return {"all": row.joined_at}


def decode(_row_id: str, data: bytes) -> Node:
    """A row from its canonical JSON."""
    return _decoder.decode(data)
