"""The policy of an agent type: which requests for permission it decides itself, without asking anybody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple


class Ruling(NamedTuple):
    """What a policy says of a request: `ask`, `allow` or `reject`. why: which key of the type says so."""

    answer: str
    why: str


def ruled(permissions: str, allow: Collection[str], reject: Collection[str], tool: str) -> Ruling:
    """What is decided on a tool of this kind. permissions, allow, reject: the keys of `acp` in the type."""
    for answer, tools in (("reject", reject), ("allow", allow)):
        if tool in tools:
            return Ruling(answer, f"the type's acp.{answer} names {tool}")
    return Ruling(permissions, f"the type's acp.permissions is {permissions}")


def ruled_by(recorded: Mapping[str, Any], tool: str) -> Ruling:
    """As `ruled`, by a definition as the log has it."""
    acp = recorded.get("acp")
    told = acp if isinstance(acp, dict) else {}
    return ruled(told.get("permissions", "ask"), told.get("allow", ()), told.get("reject", ()), tool)
