"""What a model is asked and what it answers, whatever the API: the ground that the four wire formats share."""

from __future__ import annotations

import re
from typing import Any

import msgspec

_DIRECTORY = re.compile(r"(?:working (?:in the )?directory|<cwd>|cwd)[\s:*`\"']*(/[^\s`\"'<,]+)", re.IGNORECASE)


class Turn(msgspec.Struct, frozen=True):
    """One entry of the history. kind: `user`, `model`, `result` (of a tool), `system`."""

    kind: str
    text: str


class Tool(msgspec.Struct, frozen=True):
    """A tool on offer. schema: JSON Schema of its arguments; freeform: takes plain text instead of an object; space:
    the namespace that it is in, "" for none.
    """

    name: str
    schema: dict[str, Any] = {}
    freeform: bool = False
    space: str = ""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A request, read. turns: in order, the system's own words first; shape: JSON Schema of the answer, if asked."""

    model: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    shape: dict[str, Any] | None = None
    streaming: bool = False

    @property
    def directory(self) -> str:
        """The working directory that the agent told its model, "" where it told none."""
        found = [match[1].rstrip(".") for turn in self.turns for match in _DIRECTORY.finditer(turn.text)]
        return found[-1] if found else ""


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one answer."""

    given: int = 100
    made: int = 10


class Call(msgspec.Struct, frozen=True):
    """A tool call. arguments: an object, or the text of a freeform tool; space: the namespace of the tool."""

    id: str
    tool: str
    arguments: dict[str, Any] | str
    space: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What the model says: a text, or one call. id: unique in the life of the stub. refused: it says that it will not,
    or is kept from saying what it would, in the way of its API.
    """

    id: str
    model: str
    text: str = ""
    call: Call | None = None
    usage: Usage = Usage()
    refused: bool = False


def joined(content: Any) -> str:
    """The text of a message's content: a string, or a list of parts with `text` in them."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, (joined(part) for part in content)))
    if isinstance(content, dict):
        inner = content.get("text", content.get("content", content.get("output", "")))
        return joined(inner) if not isinstance(inner, dict) else ""
    return ""
