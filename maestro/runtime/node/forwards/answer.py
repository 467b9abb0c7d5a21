"""The answer to a forwarded command, as the log carries it: what the command has said, and how it ended."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.errors import (
    Conflict,
    Invalid,
    LineageBroken,
    MaestroError,
    NotFound,
    Refused,
    StoreAway,
    StoreUnsafe,
    TimedOut,
    Unknown,
    VerificationFailed,
)
from maestro.runtime.protocol import messages as p

_KNOWN = (
    *(Conflict, Invalid, LineageBroken, NotFound, Refused, StoreAway),
    *(StoreUnsafe, TimedOut, Unknown, VerificationFailed),
)
_BY_CODE: dict[str, type[MaestroError]] = {each.code: each for each in _KNOWN}
_BY_EXIT_CODE: dict[int, type[MaestroError]] = {
    4: Refused,
    5: StoreAway,
    6: VerificationFailed,
}
"""For errors that are raised nowhere but on their node, such as that of a damaged view."""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of a forwarded command: its notes and rows in order, its text, and its end: `failed`, or the others."""

    notes: list[p.Note] = []
    items: list[Any] = []
    output: str = ""
    data: Any = None
    exit_code: int = 0
    cut: p.Cut | None = None
    failed: p.Failed | None = None

    def encoded(self) -> str:
        """As the text of an event."""
        return msgspec.json.encode(self).decode()


_decoder = msgspec.json.Decoder(Answer)


def decoded(text: str) -> Answer:
    """The answer in an event. Raises msgspec.DecodeError."""
    return _decoder.decode(text)


def error_of(failed: p.Failed, node: str) -> MaestroError:
    """The error that a node has told, as it was raised there; a place that it does not name is that node."""
    kind = _BY_CODE.get(failed.code) or _BY_EXIT_CODE.get(failed.exit_code, MaestroError)
    return kind(failed.what, failed.where or f"node {node}", failed.mend)
