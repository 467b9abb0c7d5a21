"""The keys of an agent's recorded definition that decisions, checks and snapshots read, each with its type.

Events and rows hold a definition as plain JSON data, so that a log replays byte for byte whatever a later version adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Delegate(msgspec.Struct, frozen=True):
    """What runs of a type may dispatch. to: targets, as they are to be named; depth: how many generations of tasks may
    follow such a run; max: how many tasks one run may dispatch.
    """

    to: tuple[str, ...]
    depth: int = 1
    max: int = 10


class AgentDefinition:
    """A typed view of a recorded definition: reading a key costs one look-up, and nothing is decoded or copied.

    data: the definition as the log has it, perhaps from an earlier version. A key that is absent, or has another type
    than it should, reads as not set.
    """

    __slots__ = ("_data",)

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data

    @property
    def can_resume(self) -> bool:
        """Whether the agent's program can go on with the session of an earlier run."""
        return self._data.get("resume") is not None

    @property
    def timeout_s(self) -> float | None:
        """How long a run may take, in seconds; None where the definition says nothing."""
        limits = self._data.get("limits")
        found = limits.get("timeout_s") if isinstance(limits, dict) else None
        return float(found) if isinstance(found, (int, float)) and found > 0 else None

    @property
    def capabilities(self) -> tuple[str, ...]:
        """What agents of this type can do, each once, in the order of the definition."""
        found = self._data.get("capabilities")
        return tuple(dict.fromkeys(found)) if isinstance(found, (list, tuple)) else ()

    @property
    def source(self) -> str:
        """The file of the definition, or `built-in`."""
        return self._text("source")

    @property
    def adapter(self) -> str:
        """The built-in adapter, or the other file, that gives what the file leaves out."""
        return self._text("adapter")

    @property
    def executable(self) -> str:
        """The absolute path of the agent's program, "" where the definition was not bound to one."""
        return self._text("executable")

    @property
    def found_version(self) -> str:
        """The version that the program told, "" where it told none."""
        return self._text("found_version")

    @property
    def workspace_template(self) -> str:
        """The folder that a new workspace is a copy of, "" for an empty one."""
        return self._text("workspace_template")

    @property
    def in_container(self) -> bool:
        """Whether runs are isolated in containers."""
        return self._data.get("isolate_with") == "docker"

    @property
    def image(self) -> str:
        """The image of the containers, "" for none."""
        return self._text("image")

    @property
    def shared_cache(self) -> str:
        """The folder that isolated runs share, "" for none."""
        return self._text("shared_cache")

    @property
    def shared_network(self) -> bool:
        """Whether isolated runs have the network of the host."""
        return bool(self._data.get("shared_network"))

    @property
    def failsafe(self) -> bool | None:
        """Whether a workspace goes back after a bad run; None where MAESTRO_FAILSAFE_MODE says so."""
        found = self._data.get("failsafe")
        return found if isinstance(found, bool) else None

    @property
    def resource_limits(self) -> dict[str, Any]:
        """What a run may use: `memory` and `disk` in bytes, `cpu` in cores, `pids`; None for no limit."""
        found = self._data.get("resource_limits")
        return found if isinstance(found, dict) else {}

    @property
    def delegate(self) -> Delegate | None:
        """What runs of the type may dispatch; None for nothing."""
        try:
            return msgspec.convert(self._data.get("delegate"), Delegate | None)
        except msgspec.ValidationError:  # of a build that grants it in another form: no right is the safe reading
            return None

    def _text(self, key: str) -> str:
        found = self._data.get(key)
        return found if isinstance(found, str) else ""
