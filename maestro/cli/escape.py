"""Escapes values for a terminal, so that none can move the cursor, change colours or reorder the line.

Agents' output, names and prompts are not trusted; each character that a terminal would act on is shown instead of sent.
"""

from __future__ import annotations

import re  # its patterns are compiled where they are first used, which most commands never do

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ACTED_ON = f"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]"
_ACTED_ON_IN_TEXT = f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]"
_SEQUENCE = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC, DCS and their like: titles, links
    r"|\x1b[ -/]*[0-~]"
)
_NAMED = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(value: str) -> str:
    """One line: control characters, newlines and direction marks as escapes such as `\\x1b`."""
    return value if value.isprintable() else re.sub(_ACTED_ON, _escape, value)


def plain(text: str) -> str:
    """Output of an agent for a terminal: lines and tabs stay, control sequences are removed, their rest is escaped."""
    text = re.sub(_SEQUENCE, "", text).replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(_ACTED_ON_IN_TEXT, _escape, text)


def escaped_json(text: str) -> str:
    """JSON as it is, but with the characters that JSON itself leaves to the terminal written as `\\u....`."""
    return re.sub(_ACTED_ON, lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    return _NAMED.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")
