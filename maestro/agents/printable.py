"""Text from outside made safe to show: one line for errors, no terminal sequences in what agents said."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b\][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b\n]{0,4096}(?:\x1b\\)?"  # DCS, SOS, PM, APC
    r"|[\x1b]\[[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor
    r"|\x9b[0-?]*[ -/]*[@-~]?"
    r"|\x1b[ -/]*[0-~]?"
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def shown(text: str, length_max: int = 120) -> str:
    """`text` for one line of an error: in quotes and escaped where it is not plainly printable, shortened."""
    cut = text if len(text) <= length_max else text[: length_max - 1] + "…"
    return cut if cut.isprintable() and cut else repr(cut)


def plain(text: str) -> str:
    """`text` without terminal sequences, control characters but newline and tab, and direction overrides.

    What a carriage return overwrote (progress bars) is dropped.
    """
    text = _SEQUENCE.sub("", text)
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _CONTROL.sub("", text)
