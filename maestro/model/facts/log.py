"""What happens to the log itself: snapshots of it, restores to a position, its segments and its lineage."""

from __future__ import annotations

from maestro.model.facts import Fact


class SnapshotTaken(Fact, frozen=True):
    """`snapshot:<id>`: complete, at this event's seq. automatic: it expires."""

    snapshot: str
    position: int
    automatic: bool = False
    path: str = ""


class SnapshotFailed(Fact, frozen=True):
    """`snapshot:<id>`: not complete; nothing of it is kept."""

    snapshot: str
    reason: str = ""


class SnapshotExpired(Fact, frozen=True):
    """`snapshot:<id>`: deleted by retention."""

    snapshot: str


class RestoreStarted(Fact, frozen=True):
    """`restore:<id>`: its pre-restore snapshot is taken, the agents are being stopped."""

    restore: str
    to: int
    source: str = ""


class RestoreDone(Fact, frozen=True):
    """`restore:<id>`: from here on the line is events 1..to and this seq onwards (DESIGN.md 2)."""

    restore: str
    to: int
    source: str = ""


class RestoreFailed(Fact, frozen=True):
    """`restore:<id>`: nothing changed, or the journal will roll it forward."""

    restore: str
    reason: str = ""


class LogSealed(Fact, frozen=True):
    """`log:segments`: events first..last lie in a segment file. sha256: of that file; chain: of `last`."""

    first: int
    last: int
    sha256: str
    chain: str
    path: str = ""


class LogForked(Fact, frozen=True):
    """`log:lineage`: an operator accepted that acknowledged events were lost after `known_seq`."""

    known_seq: int
    known_chain: str
    reason: str = ""
