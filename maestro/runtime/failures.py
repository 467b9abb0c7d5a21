"""Errors for the user, out of the groups that nurseries wrap them in."""

from __future__ import annotations

from maestro.model.errors import MaestroError


def told(error: BaseException) -> MaestroError | None:
    """The first error within that the user can act on, None where there is none: then it is a defect."""
    if isinstance(error, MaestroError):
        return error
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            found = told(part)
            if found is not None:
                return found
    return None
