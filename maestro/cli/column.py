"""Columns of tables, and what of a row stands in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

UNSET = "-"
"""The cell of what is not set."""


class Column(NamedTuple):
    """A column of a table.

    key: the row's field.
    show: formats its value.
    wraps: a long text may be broken into lines.
    cuts: a long text may be cut, with `…`: at its `end`, or (a path) at its `start`.
    leaves: its place in the order in which columns are left out, 1 first; 0 for one that stays.
    below: its values are no cells, but lines of their own below the table, each whole, to be copied.
    """

    key: str
    title: str
    show: Callable[[Any], str] | None = None
    wraps: bool = False
    cuts: str = ""
    leaves: int = 0
    below: bool = False


def order_of_leaving(columns: Sequence[Column]) -> list[str]:
    """Titles of the columns that may be left out, the first to leave first."""
    return [column.title for column in sorted(columns, key=lambda column: column.leaves) if column.leaves]


def field_text(data: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    """The fields that are set, as `name=value name=value`."""
    return " ".join(f"{name}={text(value)}" for name, value in data.items() if value not in (None, "", [], {}))


def change_text(before: Mapping[str, Any], after: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    """The fields that differ, as `name: before → after`."""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name}: {text(before.get(name))} → {text(after.get(name))}" for name in names)
