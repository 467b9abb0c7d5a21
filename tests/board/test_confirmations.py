"""What is confirmed is what was shown: the same act, once, and only while it would still do the same."""

from __future__ import annotations

from typing import Any

import pytest

from maestro.board.confirmations import KEPT_MAX, Confirmations
from maestro.model.errors import Conflict

DRY = {"position": 3, "agents": [{"agent": "ann", "changed": 1}], "disk_free_bytes": 1}


def test_only_what_was_shown_is_done_and_once() -> None:
    shown = Confirmations()
    token = shown.show("restore", {"at": 3}, DRY)
    for action, arguments, given in (
        ("fork", {"at": 3}, token),
        ("restore", {"at": 4}, token),
        ("restore", {"at": 3, "skip_failed": True}, token),
        ("restore", {"at": 3}, "x"),
    ):
        with pytest.raises(Conflict, match="not shown"):
            shown.known(given, action, arguments)
    shown.known(token, "restore", {"at": 3})
    shown.take(token, {**DRY, "disk_free_bytes": 2})
    for again in (lambda: shown.known(token, "restore", {"at": 3}), lambda: shown.take(token, DRY)):
        with pytest.raises(Conflict):
            again()


def test_what_has_changed_since_is_named_and_nothing_is_done() -> None:
    shown = Confirmations()
    token = shown.show("restore", {}, DRY)
    with pytest.raises(Conflict, match=r"since it was shown: more, agents \(ann\)"):
        shown.take(token, {**DRY, "agents": [], "more": 1})
    with pytest.raises(Conflict):
        shown.take(token, DRY)


def event(seq: int, subject: str, type_: str, actor: str = "scheduler:n") -> dict[str, Any]:
    return {"seq": seq, "subject": subject, "type": type_, "actor": actor}


def busy(files: int, running: str | None, *more: dict[str, Any], tasks: tuple[str, ...] = ()) -> dict[str, Any]:
    """The dry run of a restore of a namespace at work."""
    ann = {"agent": "ann", "snapshot": "s", "running_task": running, "changed": {"files": files}}
    newest = [*more, event(7, "task:A", "task.dispatched", "cli:me"), event(5, "state:key", "state.set", "cli:me")]
    undone = {"events": len(newest), "tasks": ["A", *tasks], "workflow_runs": ["W"], "newest": newest}
    return {"position": 3, "state_restored": True, "agents": [ann], "undone": undone, "open_tasks": ["O"]}


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (busy(1, None, event(9, "run:A-0.1", "run.ended"), event(8, "task:A", "task.finished")), ""),
        (busy(2, "A"), ""),  # what is at work there is shown as undone
        (busy(1, "O", event(8, "run:O-0.1", "run.started"), tasks=("O",)), ""),
        (busy(1, None, event(8, "task:S", "task.dispatched"), tasks=("S",)), ""),  # a step of W
        (busy(1, None, event(8, "state:task:A:result", "state.set")), ""),
        (busy(1, None, event(8, "state:key", "state.set", "cli:you")), ""),
        (busy(1, None, event(8, "state:new", "state.set", "run:A-0.1")), ""),
        (busy(1, None, event(8, "agent:ann", "agent.health_changed", "node:n")), ""),
        (busy(1, None, event(8, "task:B", "task.dispatched", "cli:you"), tasks=("B",)), r"undone \(task:B\)"),
        (busy(1, None, event(9, "task:B", "task.finished"), tasks=("B",)), r"undone \(task:B\)"),  # more than is listed
        (busy(1, None, event(8, "state:new", "state.set", "cli:you")), r"undone \(state:new\)"),
        (busy(2, None), r"agents \(ann\)"),
        ({**busy(1, None), "position": 4}, "position"),
    ],
)
def test_what_was_shown_may_go_on_and_what_somebody_asked_for_since_is_not_lost(now: dict[str, Any], why: str) -> None:
    shown = Confirmations()
    token = shown.show("restore", {}, busy(1, None))
    if not why:
        shown.take(token, now)
        return
    with pytest.raises(Conflict, match=why):
        shown.take(token, now)


def test_only_the_newest_are_kept() -> None:
    shown = Confirmations()
    first, *_, last = [shown.show("fork", {}, DRY) for _ in range(KEPT_MAX + 1)]
    shown.known(last, "fork", {})
    with pytest.raises(Conflict):
        shown.known(first, "fork", {})
