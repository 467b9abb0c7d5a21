"""The values of shared keys: short in a list, whole by themselves, up to a size that a page can show."""

from __future__ import annotations

from typing import Any, Final

from maestro.board.rows.past_context import PastContext, answered
from maestro.runtime.protocol import messages as p
from projections import state

STATE: Final = state.NAME
LISTED_MAX: Final = 500
"""Characters of a value in a list."""
SHOWN_MAX: Final = 1_000_000
"""Characters of a value by itself."""

Row = dict[str, Any]


def cut_values(rows: list[Row]) -> list[Row]:
    """Rows of keys with long values cut, each with `cut`: whether it was."""
    return [_cut(row, LISTED_MAX) for row in rows]


def key_row(context: PastContext, key: str) -> Row:
    """One key with its value, and the position at which it was set (`version`). Raises NotFound, Invalid."""
    done = answered(context, p.StateGet(key))[1]
    found = context.views.state(key, context.store.now()).row
    return {**_cut(done.data, SHOWN_MAX), "version": None if found is None else found.version}


def _cut(row: Row, most: int) -> Row:
    value = row["value"]
    is_cut = len(value) > most
    return {**row, "value": value[:most] if is_cut else value, "cut": is_cut, "size": len(value)}
