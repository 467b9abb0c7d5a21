"""What a bad run left, as it was archived: noted on the disk before anything is changed.

A return that was broken off has changed time stamps of what it was about to replace (files get a second name in the
stage). The next one knows by the note that the tree was proved to be the run's alone, and compares it with its archive.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from maestro import files
from maestro.durable import replace
from maestro.runtime.snapshots.guard_archive import folder_of

BYTES_MAX = 1 << 16


class LeftTree(msgspec.Struct, frozen=True):
    """The archive, `snapshot`, of what a run left in the workspace of an agent."""

    agent: str
    run: str
    snapshot: str


def note(home: Path, left: LeftTree) -> None:
    """Note what was archived; it is on the disk then. Raises OSError."""
    replace(_path(home, left.agent), msgspec.json.encode(left))


def noted(home: Path, agent: str, run: str) -> LeftTree | None:
    """What was noted for this run, None for nothing."""
    try:
        left = msgspec.json.decode(files.content(_path(home, agent), BYTES_MAX), type=LeftTree)
    except (OSError, msgspec.MsgspecError):
        return None
    return left if (left.agent, left.run) == (agent, run) else None


def forget(home: Path, agent: str) -> None:
    """Forget what was noted for an agent."""
    _path(home, agent).unlink(missing_ok=True)


def _path(home: Path, agent: str) -> Path:
    return folder_of(home) / f"{hashlib.sha256(agent.encode()).hexdigest()[:32]}.left"
