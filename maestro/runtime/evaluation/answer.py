"""The answer of an agent as JSON: the whole text, else its last fenced block."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from maestro.model.errors import Invalid

_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$", re.MULTILINE)
PLAIN_INTEGER_MAX = 2**64 - 1
PLAIN_INTEGER_MIN = -(2**63)


class NoJson(Invalid):
    """A text holds no JSON."""


def parsed_answer(text: str) -> Any:
    """The value in a text: plain data. Raises NoJson."""
    try:
        return _decoded(text)
    except ValueError as error:
        first = str(error)
    except RecursionError:
        raise NoJson("is nested too deeply for JSON") from None
    block = last_block(text)
    if block is None:
        what = "is empty, which is no JSON" if not text.strip() else f"is no JSON, and has no fenced block: {first}"
        raise NoJson(what)
    try:
        return _decoded(block)
    except ValueError as error:
        raise NoJson(f"is no JSON, nor is its last fenced block: {error}") from None
    except RecursionError:
        raise NoJson("is nested too deeply for JSON") from None


def last_block(text: str) -> str | None:
    """What stands in the last fenced block of a text, None where there is none."""
    found: str | None = None
    fence, begin = "", 0
    for match in _FENCE.finditer(text):
        if not fence:
            fence, begin = match[1], match.end() + 1
        elif match[1][0] == fence[0] and len(match[1]) >= len(fence) and not match[2].strip():
            found, fence = text[begin : max(begin, match.start())], ""
    return found


def _decoded(text: str) -> Any:
    """The value, with numbers that every reader of it can hold. Raises ValueError."""
    value = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, int) and not PLAIN_INTEGER_MIN <= one <= PLAIN_INTEGER_MAX:
            raise ValueError("an integer is out of range")
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
    return value
