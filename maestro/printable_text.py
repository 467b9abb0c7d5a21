"""Text from strangers, made safe to show: one line for errors, no terminal sequences in what agents said."""

from __future__ import annotations

import re

_SEQUENCE_MAX = 4100
_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b\n]{0,4096}(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|[\x1b]\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


class PlainText:
    """Makes text plain, as `plain` does, that comes in pieces which may end anywhere."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str, final: bool = False) -> str:
        """The plain text that is certain so far. A sequence that may go on is held back, up to the longest there is."""
        text = self._held + text
        cut = len(text) if final else _certain(text)
        self._held = text[cut:]
        return plain(text[:cut])


def _certain(text: str) -> int:
    """How many characters of a text are before a sequence that may go on."""
    for found in _SEQUENCE.finditer(text, max(0, len(text) - 2 * _SEQUENCE_MAX)):
        if found.end() == len(text):
            return found.start()
    return len(text) - text.endswith("\r")


def shown(text: str, length_max: int = 120) -> str:
    """A text for one line of an error: in quotes and escaped where it is not plainly printable, shortened."""
    cut = text if len(text) <= length_max else text[: length_max - 1] + "…"
    return cut if cut.isprintable() and cut else repr(cut)


def plain(text: str) -> str:
    """A text without terminal sequences, control characters but newline and tab, and direction overrides.

    What a carriage return overwrote (progress bars) is dropped.
    """
    text = _SEQUENCE.sub("", text)
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", text)
