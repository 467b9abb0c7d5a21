"""The schedules of a fork: a restore to before it left the history that it shares does not bring them to life."""

from __future__ import annotations

from maestro.model.events import LogBranched, NewEvent
from maestro.model.forks.fork import decide_disabled
from maestro.store.contract import Store
from replayers import rewind
from replayers.log_reader import history

VIEWS = ("schedules", "workflows")


def kept_off(store: Store, to: int) -> list[NewEvent]:
    """What a restore to a position appends so that schedules from before the fork stay off; nothing where this is no
    fork, or the position is one of its own. Blocks.

    The log says it, not the home of a node: other nodes that joined the fork have none of its files.
    """
    behind = history(store, to, store.log.head().seq)
    if not any(isinstance(event.fact, LogBranched) for events in behind for event in events):
        return []
    fold = rewind.folded(store, to, VIEWS)
    return list(decide_disabled(*(fold.rows_of(view).values() for view in VIEWS)))
