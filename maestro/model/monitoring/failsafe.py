"""Failsafe: which ends of a run have its workspace go back, and how an agent is held where that cannot be.

The guard of a workspace is in the row of the agent whose workspace it is (`agent.Guard`): from the archive before the
run until the workspace was returned or kept, or nothing had to go back.
"""

from __future__ import annotations

from shlex import quote
from typing import Final

from maestro.model.agent import Agent
from maestro.model.errors import Refused
from maestro.model.events import (
    AgentStopped,
    FailsafeKept,
    FailsafeReturned,
    GuardDropped,
    NewEvent,
    WorkspaceGuarded,
)

RETURNS_MAX: Final = 3
"""How often in a row a workspace goes back; then its agent is held, as the next attempt would end so, too."""
HELD: Final = "failsafe: "
"""How the reason of an agent begins that failsafe mode has stopped."""
REASON: Final = "failsafe"
"""The reason of the snapshots before runs."""
_LEFT: Final = frozenset({"ok", "cancelled"})
"""Outcomes after which a workspace stays as the run left it: it did its work, or somebody wanted its end."""


def is_on(wanted: bool | None, mode: bool) -> bool:
    """Whether a workspace is guarded. wanted: what the type of its agent says; mode: MAESTRO_FAILSAFE_MODE."""
    return mode if wanted is None else wanted


def goes_back(outcome: str, restart: bool) -> bool:
    """Whether a workspace goes back after a run that ended so. restart: with an orderly stop of its daemon."""
    return outcome not in _LEFT and not restart


def is_undone(reason: str) -> bool:
    """Whether a snapshot of that reason holds what a bad run left, archived before its workspace went back."""
    return reason.startswith(f"{REASON}, ")


def held(row: Agent) -> str:
    """Why failsafe mode holds an agent, in words; "" where it does not."""
    return row.reason.removeprefix(HELD) if row.stopped and row.reason.startswith(HELD) else ""


def told(fact: FailsafeReturned | FailsafeKept) -> str:
    """What became of a workspace after a bad run, in words, with what brings back what the run left."""
    if isinstance(fact, FailsafeKept):
        return f"its workspace stays as the run left it, and {_held(fact.agent)}: {fact.why}"
    before = f"what it was before the run (snapshot {fact.snapshot})"
    if fact.failed == fact.snapshot:
        said = f"its workspace is {before}"
    elif not fact.failed:
        said = f"its workspace went back to {before}; the run had removed all of it"
    else:
        back = f"maestro state restore {fact.failed} --workspace {quote(fact.workspace)}"
        said = f"its workspace went back to {before}; what the run left is in {fact.failed}: {back}"
    return f"{said}; {_held(fact.agent)} after {fact.in_a_row} bad runs" if fact.in_a_row >= RETURNS_MAX else said


def _held(agent: str) -> str:
    return f"agent {agent} is held (maestro agent health {agent} says the way out)"


def decide_guard(fact: WorkspaceGuarded, row: Agent | None, floor: int) -> list[NewEvent]:
    """Guard a workspace for a run. Raises Refused where the agent has left it, or another run is guarded there."""
    if row is None or (row.workspace, row.node) != (fact.workspace, fact.node):
        raise Refused(f"agent {fact.agent} does not work in {fact.workspace} any more", "failsafe")
    if row.guard is not None and row.guard.run != fact.run:
        raise Refused(f"{fact.workspace} has yet to go back to what it was before run {row.guard.run}", "failsafe")
    return [_at_version(row, fact, floor)]


def decide_returned(fact: FailsafeReturned, row: Agent | None, floor: int) -> list[NewEvent]:
    """Record that a workspace has gone back; nothing where that is recorded. Holds the agent after too many of them."""
    if row is None or not _guards(row, fact.run):
        return []
    count = row.returns + 1
    events = [_at_version(row, _counted(fact, count), floor)]
    if count >= RETURNS_MAX:
        why = f"{count} runs in a row ended badly, the last by {fact.why}; its workspace is as it was before them"
        events += _stopped(row, f"{why}; `maestro agent restart {row.id}` has it take work again")
    return events


def decide_kept(fact: FailsafeKept, row: Agent | None, floor: int) -> list[NewEvent]:
    """Record that a workspace stays as the run left it, and hold its agent; nothing where that is recorded."""
    if row is None or not _guards(row, fact.run):
        return []
    place = quote(fact.workspace)
    back = f"`maestro state restore {fact.snapshot} --workspace {place}` has it as it was before"
    back += f" (where it refuses what lies there: mv {place} {place}.left)"
    way = f"{back}, `maestro agent restart {row.id}` goes on with what is there"
    return [_at_version(row, fact, floor), *_stopped(row, f"{fact.why}; {way}")]


def decide_dropped(fact: GuardDropped, row: Agent | None, floor: int) -> list[NewEvent]:
    """Record that nothing goes back after a run; nothing where that is recorded."""
    return [_at_version(row, fact, floor)] if row is not None and _guards(row, fact.run) else []


def _guards(row: Agent, run: str) -> bool:
    return row.guard is not None and row.guard.run == run


def _counted(fact: FailsafeReturned, count: int) -> FailsafeReturned:
    return FailsafeReturned(
        fact.agent, fact.run, fact.task, fact.workspace, fact.snapshot, fact.failed, fact.why, in_a_row=count
    )


def _stopped(row: Agent, why: str) -> list[NewEvent]:
    """Hold the agent, behind another event of it. One that is stopped already keeps its reason."""
    return [] if row.stopped else [NewEvent(f"agent:{row.id}", AgentStopped(row.id, f"{HELD}{why}"))]


def _at_version(
    row: Agent, fact: WorkspaceGuarded | FailsafeReturned | FailsafeKept | GuardDropped, floor: int
) -> NewEvent:
    return NewEvent(f"agent:{row.id}", fact, max(row.version, floor))
