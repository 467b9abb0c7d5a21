"""What happens to the settings of a namespace, and to what all of its nodes share."""

from __future__ import annotations

from typing import TypeAlias

from maestro.model.facts import Fact


class SettingChanged(Fact, frozen=True):
    """`setting:<key>`: a setting of the namespace, from this position on the same for every node and in every fold.

    value: as text, "" for the default.
    """

    key: str
    value: str


class ArchiveNamed(Fact, frozen=True):
    """`setting:archive`: the shared archive of the namespace. archive: its UUID, "" for none any more, where a log was
    loaded without one; place: its URL without secrets.
    """

    archive: str
    place: str = ""


SettingFact: TypeAlias = SettingChanged | ArchiveNamed

SETTING_FACTS: dict[str, type[SettingFact]] = {
    "setting.changed": SettingChanged,
    "archive.named": ArchiveNamed,
}
"""The names of these facts in the stream."""
