"""Wishes of a run for a workspace: that it be archived before a step, or go back to that; and whether they stand.

Decided by the facts of the run behind a wish alone, so that whoever looks (the node that heard it twice, its next
daemon) says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from maestro.model import events as e

Wish = e.WorkspaceArchiveWanted | e.WorkspaceRestoreWanted
Standing = Literal["open", "over", "stopped"]
"""Of a wish: to be fulfilled; answered, or of no use any more; to be answered only, as the run is being stopped."""

_ANSWERS: dict[type, type] = {
    e.WorkspaceArchiveWanted: e.WorkspaceArchived,
    e.WorkspaceRestoreWanted: e.WorkspaceReturned,
}


def standing(wish: Wish, later: Iterable[e.Event]) -> Standing:
    """Whether a wish stands. later: the events of its run behind it, in order."""
    found: Standing = "open"
    for event in later:
        fact = event.fact
        if isinstance(fact, e.WorkflowRunFinished):
            return "over"
        if isinstance(fact, e.WorkflowRunEnding) and fact.stops:
            found = "stopped"
        elif getattr(fact, "instance", "") == wish.instance and _ends(wish, fact):
            return "over"
    return found


def _ends(wish: Wish, fact: e.AnyFact) -> bool:
    """Whether a fact of the same instance ends the wish: its answer, another wish, or the instance has gone on."""
    if isinstance(fact, Wish):
        return fact != wish  # the same one is asked for again where the node began anew
    return isinstance(fact, (_ANSWERS[type(wish)], e.StepStarted, e.StepEnded))


def newest(events: Iterable[e.Event], node: str) -> list[e.Event]:
    """The last wish of each instance for a node, in order; it need not stand. events: of one run, in order."""
    found: dict[str, e.Event] = {}
    for event in events:
        if isinstance(event.fact, Wish) and event.fact.node == node:
            found[event.fact.instance] = event
    return sorted(found.values(), key=lambda event: event.seq)
