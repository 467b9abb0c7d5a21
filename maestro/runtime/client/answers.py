"""What a command came to, for programs: its rows, its data, its exit code; or the error that the server tells."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from maestro.model import errors
from maestro.model.errors import MaestroError
from maestro.runtime.protocol import messages as p

_ERRORS: Final[dict[str, type[MaestroError]]] = {
    kind.code: kind
    for kind in (
        *(errors.Invalid, errors.NotFound, errors.Refused, errors.Conflict, errors.TimedOut),
        *(errors.StoreAway, errors.Unknown, errors.StoreUnsafe, errors.LineageBroken, errors.VerificationFailed),
    )
}


class Answer(msgspec.Struct, frozen=True):
    """The answer of a command: its rows, its data, and its exit code."""

    rows: list[Any]
    data: Any
    exit_code: int = 0


def error_of(failed: p.Failed) -> MaestroError:
    """The error that a server tells, with its class and all its fields."""
    error = _ERRORS.get(failed.code, MaestroError)(failed.what, failed.where, failed.mend)
    if error.code != failed.code:  # a defect, or one of a later build
        vars(error).update(code=failed.code, exit_code=failed.exit_code)
    return error
