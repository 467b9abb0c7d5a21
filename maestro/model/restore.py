"""Going back: which events a restore undoes, what it brings back from where, and how it goes into the log.

A restore cuts the line and ends whatever was open. `line` says which events hold up to a position;
`decide_restore_end` makes the one append of `restore.done`. What was open just before the restore is ended before that
event, off the line, so that every run has its terminal event. What was open at the position restored to is ended after
it, on the line, or goes on there if it is to be resumed. A run or task that is open at both is ended once, on the line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from maestro.model.agent import Agent, decide_restart
from maestro.model.events import (
    AgentAssigned,
    AgentStopped,
    NewEvent,
    RestoreDone,
    RunEnded,
    SnapshotWorkspace,
    StateSet,
    TaskFinished,
    WorkflowRunFinished,
)
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader

RESTORED = "restored"
STOP_REASON = "restore"
"""The first word of the reason of agents that a restore has stopped."""

Span = tuple[int, int]
"""The positions first..last of the log."""


PlaceFate = Literal["new", "old", "lost"]
"""What lies in the place of a workspace after an exchange: what was put back, what was there before, or neither."""


class BrokenOff(NamedTuple):
    """Whether a restore whose exchange was broken off counts as done. left: the places that somebody has to
    look after.
    """

    is_done: bool
    left: list[str]


class Stopped(NamedTuple):
    """How an agent was stopped for a restore. waited: an earlier restore had left it stopped, as its workspace was
    lost; left: why its workspace is lost now, "" where it is not.
    """

    restore: str
    waited: bool = False
    left: str = ""


class Archived(msgspec.Struct, frozen=True):
    """A workspace in a snapshot, by the snapshot's id. node: in whose archive it lies, "" for here, or a file."""

    snapshot: str
    held: SnapshotWorkspace
    node: str = ""

    @property
    def position(self) -> int:
        """The position of the log when the workspace was read."""
        return self.held.position


class Fate(msgspec.Struct, frozen=True):
    """What a restore does to an agent. change: `stays`, `moves`, `returns` (it is not there now) or `goes`.

    stopped: it takes work now, and must not meanwhile; restarted: it takes work afterwards. task: what it runs now.
    """

    agent: str
    change: str
    stopped: bool
    restarted: bool
    task: str = ""


def line(restores: Sequence[tuple[int, int]], end: int) -> list[range]:
    """The positions of the events that lead to the state at `end`, oldest first.

    restores: (seq, to) of every `restore.done`, in order. The state at `end` is that of the last restore's `to`, as it
    was there, and the events since; a restore before that `to` cuts again, one between them never happened.
    """
    ranges = []
    for seq, to in reversed(restores):
        if seq <= end:
            ranges.append(range(seq, end + 1))
            end = to
    if end > 0:
        ranges.append(range(1, end + 1))
    ranges.reverse()
    return ranges


def missing(of: Sequence[Span], within: Sequence[Span]) -> list[Span]:
    """The positions of one line that are not on another: what a restore from the one to the other undoes.

    Both in order, as `line` makes them, each span within the log.
    """
    found = []
    for first, last in of:
        for other_first, other_last in within:
            if other_last < first or other_first > last:
                continue
            if other_first > first:
                found.append((first, other_first - 1))
            first = other_last + 1
        if first <= last:
            found.append((first, last))
    return found


def mapped(path: str, root: str, new_root: str) -> str:
    """A path, moved from below one root of workspaces to below another; a path elsewhere is returned as it is."""
    below = root.rstrip("/") + "/"
    if not root or not path.startswith(below):
        return path
    return f"{new_root.rstrip('/')}/{path[len(below) :]}"


def newest(
    agent: str, workspace: str, archives: Iterable[Archived], upto: int, holds: Callable[[int], bool]
) -> Archived | None:
    """The newest archive of an agent's workspace at or before a position. holds: whether a position is on its line."""
    fitting = (
        each
        for each in archives
        if (each.held.agent, each.held.workspace) == (agent, workspace) and each.position <= upto
    )
    return max((each for each in fitting if holds(each.position)), key=lambda each: each.position, default=None)


def fates(now: Mapping[str, Agent], then: Mapping[str, Agent]) -> list[Fate]:
    """What becomes of each agent that is there now, or was then, by id."""
    found = []
    for name in sorted(now.keys() | then.keys()):
        before, after = now.get(name), then.get(name)
        stopped = before is not None and not before.stopped
        restarted = after is not None and not after.stopped
        found.append(Fate(name, _change(before, after), stopped, restarted, before.task if before else ""))
    return found


def _change(now: Agent | None, then: Agent | None) -> str:
    if now is None or then is None:
        return "goes" if then is None else "returns"
    return "stays" if (now.workspace, now.node) == (then.workspace, then.node) else "moves"


def broken_off(places: Mapping[str, PlaceFate]) -> BrokenOff:
    """Decide whether a broken-off restore is done: yes as soon as one workspace is new, as an exchange goes forward
    then.

    places: what lies at each path. left: where the restore is done, what is not new; where it is not, what is lost.
    """
    is_done = "new" in places.values()
    return BrokenOff(is_done, [path for path, fate in places.items() if fate == "lost" or (is_done and fate == "old")])


def may_replace(*, is_held: bool, is_below_root: bool, is_empty: bool) -> bool:
    """Whether a restore may replace a folder that no user has named.

    is_held: an agent of this node has it, by its own log; is_below_root: it lies in the caller's root of workspaces.
    """
    return is_held or is_below_root or is_empty


def decide_lives(keys: Iterable[StateKey], at: int) -> list[NewEvent]:
    """Give keys of the state again the time to live that they had left at a time in the past (server ms)."""
    return [
        NewEvent(f"state:{row.key}", StateSet(row.key, row.value, row.expires_at - at))
        for row in keys
        if row.expires_at > at
    ]


def stop_reason(restore: str) -> str:
    """The reason of an agent that a restore has stopped, to let it take work again at its end."""
    return f"{STOP_REASON} {restore}"


def kept_places(skipped: Collection[str], now: Mapping[str, Agent], then: Mapping[str, Agent]) -> list[AgentAssigned]:
    """The assignments of agents whose workspaces a restore leaves out, and that have moved since: they stay where they
    are, as what they had then is not put back. One whose place another agent had then goes back with the others.
    """
    taken = {(each.node, each.workspace) for each in then.values() if each.id not in skipped}
    found = []
    for name in sorted(skipped):
        row, was = now.get(name), then.get(name)
        if row is None or was is None or row.workspace is None:
            continue
        place = (row.node, row.workspace)
        if place == (was.node, was.workspace) or place in taken:
            continue
        root = row.workspace_root
        fact = AgentAssigned(name, row.type, row.definition, root, row.workspace, was.role, was.priority, row.node)
        found.append(fact)
    return found


def decide_agents(
    assigned: Iterable[AgentAssigned], then: Mapping[str, Agent], left: Mapping[str, str]
) -> list[NewEvent]:
    """What a restore of the state appends about agents, behind `restore.done`.

    assigned: those that work elsewhere now than at the position restored to; such an agent stays stopped where it was.
    then: the agents there, by id. left: agents whose workspaces could not be put back, with the reason: they are
    stopped.
    """
    events = []
    for fact in assigned:
        events.append(NewEvent(f"agent:{fact.agent}", fact))
        if then[fact.agent].stopped:
            events.append(NewEvent(f"agent:{fact.agent}", AgentStopped(fact.agent, then[fact.agent].reason)))
    return events + [NewEvent(f"agent:{agent}", AgentStopped(agent, why)) for agent, why in left.items()]


def decide_going_on(row: Agent | None, why: str, stopped: Stopped, floor: int = 0) -> list[NewEvent]:
    """At the end of a restore, let an agent that was stopped for it take work again, or stop it for another reason.

    why: the reason of its last stop, "" where that is not known; stopped: how the restore stopped it. Nothing where the
    agent takes work, or somebody else has stopped it since.
    """
    is_ours = why == stop_reason(stopped.restore) or stopped.waited
    if row is None or not row.stopped or not is_ours:
        return []
    if not stopped.left:
        return decide_restart(row.id, row, floor)
    if why == stopped.left:
        return []
    return [NewEvent(f"agent:{row.id}", AgentStopped(row.id, stopped.left), max(row.version, floor))]


class OpenWork(NamedTuple):
    """What is open at a position: tasks, and runs of workflows."""

    tasks: Sequence[Task]
    runs: Sequence[RunHeader] = ()


def decide_restore_end(
    done: RestoreDone,
    now: OpenWork,
    then: OpenWork,
    floor: int = 0,
    resume: bool = False,
    more: Sequence[NewEvent] = (),
) -> list[NewEvent]:
    """The append that completes a restore: `restore.done` and the end, cancelled, of every open run and task.

    now: what is open at the head; then: what was at `done.to`, as it was. resume: that goes on, and what ran is run
    again. more: what else holds from then on. Append it with `floors`; it conflicts where something open has moved
    since the rows were read.
    """
    after = [event for task in then.tasks for event in (_resumed(task) if resume else ends(task))]
    after += [] if resume else [ends_run(run) for run in then.runs]
    ended_then = {event.subject for event in after}
    before: list[NewEvent] = []
    versions: dict[str, int] = {}
    found = [(event, _version(task, event.fact)) for task in now.tasks for event in ends(task)]
    for event, version in [*found, *((ends_run(run), run.seq) for run in now.runs)]:
        versions[event.subject] = max(version, floor)
        if event.subject not in ended_then:
            before.append(NewEvent(event.subject, event.fact, versions[event.subject]))
    placed = []
    for event in after:
        placed.append(NewEvent(event.subject, event.fact, versions.pop(event.subject, None)))
    return [*before, NewEvent(f"restore:{done.restore}", done), *placed, *more]


def ends_run(run: RunHeader, why: str = RESTORED) -> NewEvent:
    """The end, cancelled, of an open run of a workflow: as a whole, without handlers, retries or rounds."""
    return NewEvent(f"workflow-run:{run.id}", WorkflowRunFinished(run.id, "cancelled", why, why))


def ends(task: Task, why: str = RESTORED) -> list[NewEvent]:
    """The end, cancelled, of an open task and of its live runs. why: the reason, in one word."""
    finished = TaskFinished(task.id, "cancelled", "cancelled", source="maestro", reason=why)
    return [*_run_ends(task, "cancelled", why), NewEvent(f"task:{task.id}", finished)]


def _run_ends(task: Task, outcome: str, why: str = RESTORED) -> list[NewEvent]:
    runs = [run for slot in task.slots if (run := slot.live) is not None]
    goes_on = outcome == "lost"
    return [
        NewEvent(
            f"run:{run.id}",
            RunEnded(run.id, task.id, run.agent, outcome, source="maestro", evidence=why, restart=goes_on),
        )
        for run in runs
    ]


def _resumed(task: Task) -> list[NewEvent]:
    """The loss of a task's live runs, as with an orderly restart: they are run again, and that counts for nothing."""
    if task.cancel is not None:
        return ends(task)
    return _run_ends(task, "lost")


def _version(task: Task, fact: object) -> int:
    if isinstance(fact, RunEnded):
        return next(slot.runs[-1].version for slot in task.slots if slot.runs and slot.runs[-1].id == fact.run)
    return task.version
