"""Concurrency groups: one run at a time in each, first come, first served by the position of the run's start.

Whoever is first of a group has it: it is let in, and has it until it has ended, handlers included. So the groups follow
from the open runs alone, whatever had been told before. A child whose group a run above it has shares it and waits for
nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import msgspec

from maestro.model.facts.workflow import (
    WorkflowRunAdmitted,
    WorkflowRunEnding,
    WorkflowRunFinished,
    WorkflowRunStarted,
)
from maestro.model.workflow.decide import LIMIT

GroupFact = WorkflowRunAdmitted | WorkflowRunEnding | WorkflowRunFinished


class Member(msgspec.Struct, order=True):
    """A run of a group. position: of its start."""

    position: int
    run: str
    group: str
    when_busy: str = "queue"
    parent: str = ""


class _Group:
    """The members of a group by run, in the order of their positions as far as they are asked for."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.members: dict[str, Member] = {}
        self.heap: list[Member] = []

    def first(self) -> Member | None:
        """The member that came first and is still there."""
        while self.heap and self.members.get(self.heap[0].run) is not self.heap[0]:
            heapq.heappop(self.heap)
        return self.heap[0] if self.heap else None


class Groups:
    """All groups of the open runs. A run that comes or goes costs O(log n), whatever waits there."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._members: dict[str, Member] = {}
        self._parents: dict[str, str] = {}

    def add(self, run: str, position: int, fact: WorkflowRunStarted) -> None:
        """Take in an open run; one without a group only for its children's sake. Those above it are taken in first."""
        if run in self._parents:
            return
        self._parents[run] = fact.parent
        if not fact.group:
            return
        member = Member(position, run, fact.group, fact.when_busy, fact.parent)
        self._members[run] = member
        if self._shares(member):
            return
        group = self._groups.setdefault(fact.group, _Group(fact.group))
        group.members[run] = member
        heapq.heappush(group.heap, member)

    def remove(self, run: str) -> list[str]:
        """Forget a run that has ended; the runs that may go on now."""
        self._parents.pop(run, None)
        member = self._members.pop(run, None)
        group = self._groups.get(member.group) if member is not None else None
        if group is None or group.members.get(run) is not member:
            return []
        was_first = group.first() is member
        del group.members[run]
        first = group.first()
        if first is None:
            del self._groups[group.name]
        return [first.run] if first is not None and was_first else []

    def admission(self, run: str, is_ending: Callable[[str], bool]) -> list[tuple[str, GroupFact]] | None:
        """What is to be told now because of a run that wants to start, by run; None where it waits.

        is_ending: whether a run is about to end. At most LIMIT facts at once: asked again, it tells the others.
        """
        member = self._members.get(run)
        group = self._groups.get(member.group) if member is not None else None
        first = group.first() if group is not None and member is not None and run in group.members else member
        if member is None or group is None or first is None or first is member or run not in group.members:
            return [(run, WorkflowRunAdmitted(run))]
        if member.when_busy == "reject":
            why = f"run {first.run} has the group {member.group}"
            return [(run, WorkflowRunFinished(run, "cancelled", "rejected", why))]
        if member.when_busy != "replace":
            return None
        why = f"run {run} takes its place in the group {member.group}"
        found: list[tuple[str, GroupFact]] = []
        for other in group.members.values():
            if other < member and not is_ending(other.run):
                found.append((other.run, WorkflowRunEnding(other.run, "cancelled", why, stops=True)))
                if len(found) == LIMIT:
                    break
        return found or None

    def holder(self, run: str) -> str:
        """The run that a run waits for in its group; "" where it waits for none."""
        member = self._members.get(run)
        group = self._groups.get(member.group) if member is not None else None
        if group is None or run not in group.members:
            return ""
        first = group.first()
        return "" if first is None or first is member else first.run

    def _shares(self, member: Member) -> bool:
        """Whether a run above it has the group of a run."""
        above = member.parent
        while above:
            other = self._members.get(above)
            if other is not None and other.group == member.group:
                return True
            above = self._parents.get(above, "")
        return False
