"""A setting of the namespace: an event changes it, so that it is the same on every node and in every fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from maestro.model.errors import Invalid
from maestro.model.events import ArchiveNamed, Event, LogSealed, NewEvent, SettingChanged
from maestro.model.ids import nearest, shown

KEEP: Final = "views.keep"
"""How many rows of what has ended each view keeps."""

DEFAULTS: Final[Mapping[str, int]] = {KEEP: 50_000}
LIMITS: Final[Mapping[str, tuple[int, int]]] = {KEEP: (100, 10_000_000)}


class Setting(msgspec.Struct, omit_defaults=True, gc=False):
    """A row of the view `settings`. value: as text, "" for the default; of the log, the last sealed position; of the
    shared archive, its UUID.
    """

    key: str
    value: str
    version: int
    at: int = 0
    actor: str = ""


def evolve(row: Setting | None, event: Event) -> Setting | None:
    """The setting after the event. Facts that do not concern it leave it as it is."""
    fact = event.fact
    if isinstance(fact, SettingChanged):
        return Setting(fact.key, fact.value, event.seq, event.at, event.actor)
    if isinstance(fact, ArchiveNamed):
        return Setting("archive", fact.archive, event.seq, event.at, event.actor)
    if isinstance(fact, LogSealed):
        before = 0 if row is None else int(row.value)
        return Setting("sealed", str(max(before, fact.last)), event.seq, event.at, event.actor)
    return row


def number(key: str, row: Setting | None) -> int:
    """The number that a setting stands for: its default where it was not set, or to what this build cannot read."""
    low, high = LIMITS[key]
    text = "" if row is None else row.value
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(high))):
        return DEFAULTS[key]
    return min(max(int(text), low), high)


def decide_change(key: str, value: str, row: Setting | None, floor: int = 0) -> list[NewEvent]:
    """Change a setting; nothing where it has that value. value: "" for the default. Raises Invalid."""
    if key not in DEFAULTS:
        near = nearest(key, DEFAULTS) or list(DEFAULTS)
        raise Invalid(f"there is no setting {shown(key)} of the namespace", mend=f"there is {', '.join(near)}")
    low, high = LIMITS[key]
    if value:
        text = value.replace("_", "")
        if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
            raise Invalid(f"{shown(value)} cannot be {key}", mend=f"give a number from {low} to {high}")
        value = str(int(text))
    if value == ("" if row is None else row.value):
        return []
    return [NewEvent(f"setting:{key}", SettingChanged(key, value), max(0 if row is None else row.version, floor))]
