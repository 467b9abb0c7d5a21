"""The view `settings`: the settings of the namespace, its shared archive, and how far its log is sealed; row id =
subject.

It folds all events, not only those of the line: neither a setting nor an archive nor a segment is undone by a restore.
Index: `all`, by position.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from maestro.model import events as e
from maestro.model.events import AnyFact, Event
from maestro.model.settings.namespace_setting import Setting, evolve

NAME = "settings"
VERSION = 2
FOLLOWS_LINE = False

SEALED = "log:segments"
"""The row that says up to which position the log is sealed."""

Rows = dict[str, Setting]
_decoder = msgspec.json.Decoder(Setting)


def touches(event: Event) -> str:
    """The id of the row that an event changes. event: one whose fact `folds` handles."""
    return event.subject


def folds(rows: Rows) -> dict[type[AnyFact], Callable[[Event], None]]:
    """For each fact that concerns the view, the function that applies its event to these rows in place."""

    def fold(event: Event) -> None:
        row = evolve(rows.get(event.subject), event)
        if row is not None:
            rows[event.subject] = row

    return dict.fromkeys((e.SettingChanged, e.ArchiveNamed, e.LogSealed), fold)


def indexes(row: Setting) -> dict[str, int]:
    """The indexes that contain the row, with its score in each."""
    return {"all": row.version}


def decode(_row_id: str, data: bytes) -> Setting:
    """Decode a row from its canonical JSON."""
    return _decoder.decode(data)


def sealed(rows: Mapping[str, Setting]) -> int:
    """The position up to which the log is sealed, 0 for none."""
    row = rows.get(SEALED)
    return int(row.value) if row is not None else 0
