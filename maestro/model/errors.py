"""Errors that a user can act on: one base, a class per meaning, fields and not text.

Each class fixes the exit code of the command line. The shell prints `line()`, never a traceback.
"""

from __future__ import annotations

from typing import ClassVar


class MaestroError(Exception):
    """An error that a user is told in one line.

    what: what is wrong, with the offending value. where: the place (file and line, option, id), or "". mend: what to do
    about it, or "".
    """

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"

    def __init__(self, what: str, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def line(self) -> str:
        """The one line that the user sees: where, what, how to mend it."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}; {self.mend}" if self.mend else text

    def __str__(self) -> str:
        return self.line()


class Invalid(MaestroError):
    """The input cannot be right. Mend the input; trying again as it is will not help."""

    exit_code = 2
    code = "invalid"


class NotFound(MaestroError):
    """There is no such agent, task, type, key or file.

    sought: its kind (`agent`, `target`, `task`, `key`, `node`, `snapshot`, `alert`) and the name that was given, where
    others of this kind may be proposed; None where not.
    """

    exit_code = 3
    code = "not_found"

    def __init__(self, what: str, where: str = "", mend: str = "", sought: tuple[str, str] | None = None) -> None:
        super().__init__(what, where, mend)
        self.sought = sought


class Refused(MaestroError):
    """The input is valid, but not now or not here: an agent is unhealthy or busy, a folder is guarded."""

    exit_code = 4
    code = "refused"


class Conflict(MaestroError):
    """Somebody else changed the subject first. Read again and decide again."""

    exit_code = 4
    code = "conflict"


class StoreAway(MaestroError):
    """The store cannot be reached. Nothing was done, or the outcome is unknown where `Unknown` is raised."""

    exit_code = 5
    code = "store_away"


class Unknown(StoreAway):
    """An append was sent and its answer never came. It may or may not be in the log."""

    code = "unknown"


class StoreUnsafe(MaestroError):
    """The store answers, but its settings or its history cannot be trusted."""

    exit_code = 5
    code = "store_unsafe"


class LineageBroken(StoreUnsafe):
    """The log is not the one this process knows: a failover lost a tail, it was flushed, or it was altered."""

    code = "lineage_broken"


class VerificationFailed(MaestroError):
    """A digest, a chain or a view is not what it must be."""

    exit_code = 6
    code = "verification_failed"


class ViewDamaged(VerificationFailed):
    """A view is not what was saved: keys or rows of it are gone or altered. generation: whose; it is built anew."""

    code = "view_damaged"

    def __init__(self, generation: str, what: str) -> None:
        super().__init__(what, f"views {generation}", "`maestro replay rebuild` builds them anew from the log")
        self.generation = generation


class TimedOut(MaestroError):
    """The time that the caller gave has passed."""

    exit_code = 124
    code = "timed_out"
