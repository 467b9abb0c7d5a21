"""The schedules of a fork: a restore to before it left the history that it shares does not bring them to life."""

from __future__ import annotations

from maestro.model.events import NewEvent
from maestro.model.forks.fork import decide_disabled
from maestro.runtime.node.context import Context
from maestro.runtime.restores.forks.site import branch_of
from replayers import rewind

VIEWS = ("schedules", "workflows")


def kept_off(context: Context, to: int) -> list[NewEvent]:
    """What a restore to a position appends so that schedules from before the fork stay off; nothing where this is no
    fork, or the position is one of its own. Blocks.
    """
    branch = branch_of(context.settings.home)
    if branch is None or to > branch.position:
        return []
    fold = rewind.folded(context.store, to, VIEWS)
    return list(decide_disabled(*(fold.rows_of(view).values() for view in VIEWS)))
