"""The outcomes of runs: which are tried again, and what status they make of a task.

A run's outcome says why it ended; a task's status is what remains of it for a reader. The worst outcome of a task's
slots is the task's.
"""

from __future__ import annotations

from collections.abc import Iterable

LOSSES_MAX = 3
"""How often a slot whose run was lost by a fault is run again; then the slot is parked."""

RESTART = "restart"
"""The reason of a hold for an orderly restart: no run is released to the node until its next daemon has started."""

RETRIED = frozenset({"exit", "agent_error", "refused", "no_output", "stalled", "timeout", "oom"})
"""Outcomes by the agent's own failure, tried again as often as the task's `retries` says; others would come again."""

MOVES_ON = frozenset({"oom"})
"""Outcomes after which a pool tries another of its agents, also without `retries`."""

SEVERITY: tuple[str, ...] = (
    "ok",
    "skipped",
    "cancelled",
    "timeout",
    "no_output",
    "refused",
    "stalled",
    "exit",
    "agent_error",
    "budget",
    "oom",
    "wrong_mode",
    "spawn_error",
    "lost",
    "parked",
)
"""All outcomes, the best first."""

STATUSES = {"ok": "completed", "skipped": "skipped", "cancelled": "cancelled", "timeout": "timed_out"}
"""The status that an outcome makes of a task; every other outcome makes it `failed`."""

FINISHED = frozenset({"completed", "failed", "cancelled", "timed_out", "skipped"})

TIMED_OUT = 124
"""The exit code of a task or command that ran out of time, as that of timeout(1)."""

_RANK = {outcome: rank for rank, outcome in enumerate(SEVERITY)}


def is_loss(outcome: str, started: bool, restart: bool) -> bool:
    """Whether a run that ended so was lost by a fault.

    A loss counts towards `LOSSES_MAX` and `on_lost`, and against its agent in a pool. A run that never started, or that
    ended with an orderly restart of its daemon, counts for nothing.
    """
    return outcome == "lost" and started and not restart


def worst(outcomes: Iterable[str]) -> str:
    """The worst of one or more outcomes; one that is not in the list is worse than all."""
    return max(outcomes, key=lambda outcome: _RANK.get(outcome, len(_RANK)))


def status_of(outcome: str) -> str:
    """The status of a task whose worst outcome this is."""
    return STATUSES.get(outcome, "failed")


def exit_code_of(status: str, code: int | None) -> int:
    """The exit code of a finished task, and of the command that waited for it.

    code: the first of its agents' that is not 0, where there is one.
    """
    match status:
        case "completed":
            return 0
        case "timed_out":
            return TIMED_OUT
        case "failed":
            return code or 1
        case _:
            return 1
