"""The header of a workflow's run: what lists and the choice of open runs need; the row of the view `workflow_runs`.

A run as a whole, with its instances, is the fold of its own events (`run.py`); the header does not repeat that.
"""

from __future__ import annotations

import msgspec

from maestro.model import events as e
from maestro.model.workflow.instances import parse_instance

OPEN = ("queued", "running", "paused")


class RunHeader(msgspec.Struct, omit_defaults=True):
    """A run in short. seq: of its last event; position: of its first. Times in ms, 0 for not yet.

    status: queued, running, paused, completed, failed, cancelled or timed_out. paused: `asked` or `budget`; ends_as:
    what an open run will end as, once that is certain. held: workspaces that instances hold, (node, path) by instance;
    points: of these instances those that hold theirs up to the end of their first attempt only. begun, ended: attempts
    of steps. asking: steps whose approval waits for a person, with since when.
    """

    id: str
    seq: int
    position: int
    workflow: str
    version: int
    status: str
    started_at: int
    actor: str = ""
    ended_at: int = 0
    paused: str = ""
    ends_as: str = ""
    outcome: str = ""
    why: str = ""
    parent: str = ""
    instance: str = ""
    root: str = ""
    resumed_from: str = ""
    group: str = ""
    when_busy: str = "queue"
    key: str | None = None
    node: str = ""
    folder: str = ""
    begun: int = 0
    ended: int = 0
    tokens: int = 0
    cost: float = 0.0
    held: dict[str, tuple[str, str]] = {}
    points: list[str] = []
    asking: dict[str, int] = {}

    @property
    def open(self) -> bool:
        """Whether the run has not ended."""
        return self.status in OPEN


def evolve(row: RunHeader | None, event: e.Event) -> RunHeader | None:
    """The header after the event, changed in place."""
    fact = event.fact
    if isinstance(fact, e.WorkflowRunStarted):
        return _started(fact, event)
    if row is not None:
        row.seq = event.seq
        if isinstance(fact, (e.StepStarted, e.StepEnded, e.WorkspaceArchiveWanted, e.WorkspaceRestoreWanted)):
            _worked(row, fact)
        else:
            _moved(row, fact, event.at)
    return row


def _worked(
    row: RunHeader, fact: e.StepStarted | e.StepEnded | e.WorkspaceArchiveWanted | e.WorkspaceRestoreWanted
) -> None:
    match fact:
        case e.StepStarted():
            row.begun += 1
        case e.StepEnded():
            row.ended += 1
            row.tokens += fact.tokens
            row.cost += fact.cost
            if not fact.next or fact.next == "agent" or fact.instance in row.points:
                row.held.pop(fact.instance, None)
                row.points = [one for one in row.points if one != fact.instance]
        case e.WorkspaceArchiveWanted() | e.WorkspaceRestoreWanted():
            row.held[fact.instance] = (fact.node, fact.workspace)
            if isinstance(fact, e.WorkspaceArchiveWanted) and fact.point and fact.instance not in row.points:
                row.points.append(fact.instance)


def _moved(row: RunHeader, fact: e.AnyFact, at: int) -> None:
    match fact:
        case e.StepReadied():
            if fact.verdict == "go" and fact.approval is not None:
                row.asking[fact.step] = at
        case e.StepApproved():
            parsed = parse_instance(fact.instance)
            if parsed is not None:
                row.asking.pop(parsed[0], None)
        case e.WorkflowRunAdmitted():
            if row.status == "queued":
                row.status = "paused" if row.paused else "running"
        case e.WorkflowRunPaused(why=why):
            if row.open and not row.ends_as:
                row.paused = why
                row.status = "paused" if row.status == "running" else row.status
        case e.WorkflowRunResumed():
            row.paused = ""
            row.status = "running" if row.status == "paused" else row.status
        case e.WorkflowRunEnding(status=status, why=why):
            row.ends_as, row.why, row.paused = status, why, ""
            row.asking.clear()
            row.status = "running" if row.status == "paused" else row.status
        case e.WorkflowRunFinished(status=status, outcome=outcome, why=why):
            row.status, row.outcome, row.why, row.ended_at = status, outcome, why or row.why, at
            row.held.clear()
            row.points.clear()
            row.asking.clear()


def _started(fact: e.WorkflowRunStarted, event: e.Event) -> RunHeader:
    return RunHeader(
        fact.run,
        event.seq,
        event.seq,
        fact.workflow,
        fact.version,
        "queued" if fact.group else "running",
        event.at,
        event.actor,
        parent=fact.parent,
        instance=fact.instance,
        root=fact.root,
        resumed_from=fact.resumed_from,
        group=fact.group,
        when_busy=fact.when_busy,
        key=fact.key,
        node=fact.node,
        folder=fact.folder,
    )
