"""Commands about the settings of the namespace."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class SettingSet(Command, frozen=True, tag_field="kind", tag="config set"):
    """Change a setting of the namespace, for all of its nodes. Data: {name, value, source}.

    value: "" for the default.
    """

    key: str
    value: str


class SettingList(Command, frozen=True, tag_field="kind", tag="config show"):
    """The settings of the namespace. Items: {name, value, source}."""
