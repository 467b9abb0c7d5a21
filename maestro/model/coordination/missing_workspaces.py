"""What a snapshot may lack of what was asked for: workspaces that are not there, and those of nodes that are away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from maestro.model.errors import Refused
from maestro.model.events import SnapshotMissing

ALLOW_MISSING: Final = "--allow-missing"


def decide_missing(lacking: Sequence[SnapshotMissing], allowed: bool) -> tuple[SnapshotMissing, ...]:
    """Decide whether a snapshot may lack workspaces that were asked for; returns them.

    Raises Refused, naming all of them, where it may not.
    """
    if lacking and not allowed:
        which = "; ".join(f"the workspace of {each.agent} {each.why}: {each.workspace}" for each in lacking)
        mend = f"put that in order, name what there is with --workspace, or leave it out with {ALLOW_MISSING}"
        raise Refused(f"not all that was asked for can be kept: {which}", "snapshot", mend)
    return tuple(lacking)
