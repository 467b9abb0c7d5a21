"""What becomes of a request for permission: which the type's policy decides, which is asked, which option that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from maestro.model.permissions.answers import option_of
from maestro.model.permissions.policy import Ruling, ruled

OPTIONS_MAX = 16
ID_CHARS_MAX = 200
TOLD_CHARS = 4000


class Policy(NamedTuple):
    """The type's policy. permissions: ask, allow or reject; allow, reject: kinds of tools for which that is decided.

    answer_s: how long an answer is waited for, None for as long as the run may take.
    """

    permissions: str = "ask"
    allow: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    answer_s: float | None = None

    def ruling(self, kind: str) -> Ruling:
        """What is decided on a tool of this kind: ask, allow or reject."""
        return ruled(self.permissions, self.allow, self.reject, kind)


class Request(NamedTuple):
    """A request for permission. kind: of the tool; options: (id, kind, name) of each answer that may be given."""

    title: str
    kind: str
    options: tuple[tuple[str, str, str], ...]

    def kind_of(self, option: str) -> str:
        """The kind of an option by its id, "" where it tells none."""
        return next((kind for name, kind, _ in self.options if name == option), "")

    def option(self, answer: str) -> str:
        """The id of the option that an answer means, "" for none."""
        return option_of(answer, [(name, kind) for name, kind, _ in self.options])


def cut(value: object) -> str:
    """A text of the agent's as far as it is told."""
    return value[:TOLD_CHARS] if isinstance(value, str) else ""


def request_of(params: dict[str, Any], told: Callable[[object], str] = cut) -> Request:
    """The request in a message, read as tolerantly as possible. told: makes of a text what is told of it."""
    tool = params.get("toolCall")
    tool = tool if isinstance(tool, dict) else {}
    given = params.get("options")
    options = [one for one in (given if isinstance(given, list) else ()) if isinstance(one, dict)]
    read = tuple(
        (one["optionId"], cut(one.get("kind")), told(one.get("name")))
        for one in options[:OPTIONS_MAX]
        if isinstance(one.get("optionId"), str) and 0 < len(one["optionId"]) <= ID_CHARS_MAX
    )
    title = tool.get("title") or tool.get("toolCallId") or "a tool"
    return Request(told(str(title)), cut(tool.get("kind")) or "other", read)
