"""The view `nodes`: every node that ever joined, row id = node id.

A restore does not undo that a host came or went, so this view sees all events, not those of the line only.
Index: `all`, by the time of joining.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeAlias, cast

import msgspec

from maestro.model import events as e
from maestro.model.node import Node, evolve

NAME = "nodes"
VERSION = 1
FOLLOWS_LINE = False

NodeFact: TypeAlias = e.NodeJoined | e.NodeHeld | e.NodeResumed | e.NodeLeft | e.NodeLost
FACTS: tuple[type[e.AnyFact], ...] = NodeFact.__args__

_decoder = msgspec.json.Decoder(Node)


def touches(event: e.Event) -> tuple[str, ...]:
    """The row that the event changes. The event is one of FACTS."""
    return (cast(NodeFact, event.fact).node,)


def apply(rows: MutableMapping[str, Node], event: e.Event) -> None:
    """Fold one event of FACTS into the rows, in place."""
    (node,) = touches(event)
    row = evolve(rows.get(node), event)
    if row is not None:
        rows[node] = row


def indexes(row: Node) -> dict[str, int]:
    """The indexes that the row stands in, with its score in each."""
    return {"all": row.joined_at}


def decode(_row_id: str, data: bytes) -> Node:
    """A row from its canonical JSON."""
    return _decoder.decode(data)
