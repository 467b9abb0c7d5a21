"""What stands in messages of an agent, read as tolerantly as possible: whatever is not as it should be is left out."""

from __future__ import annotations

import json
from typing import Any

from maestro.acp.permissions import cut

AUTH_REQUIRED = -32000
AMOUNT_MAX = 10**15


def is_amount(value: object) -> bool:
    """Whether a value is a number that may be counted: no infinity, no NaN, nothing absurd."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < AMOUNT_MAX


def refusal(method: str, error: object) -> str:
    """What the error in an answer says, with what helps where that is known."""
    told = error if isinstance(error, dict) else {"message": str(error)}
    data = told.get("data")
    detail = f" ({cut(json.dumps(data))})" if data not in (None, "", {}) else ""
    text = f"{method}: {cut(told.get('message')) or 'an error'}{detail}"
    if told.get("code") == AUTH_REQUIRED:
        text += "; log in with the agent's own command, or give it its key by `secret_env`"
    return text


def meta(holder: dict[str, Any]) -> dict[str, Any]:
    meta = holder.get("_meta")
    return meta if isinstance(meta, dict) else {}


def named(about: object) -> dict[str, str]:
    """Name and version of the agent, as far as it tells them."""
    told = about if isinstance(about, dict) else {}
    return {name: cut(told[name]) for name in ("name", "version") if isinstance(told.get(name), str)}


def said(update: dict[str, Any]) -> str:
    """The text that a tool has given."""
    contents = update.get("content")
    parts = []
    for one in contents if isinstance(contents, list) else ():
        inner = one.get("content") if isinstance(one, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("text"), str):
            parts.append(inner["text"])
    return "\n".join(parts)
