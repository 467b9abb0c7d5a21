"""What a fork appends behind the history that it begins with, so that nothing of it goes on by itself.

Everything that was open there is ended; what would begin something (schedules, webhooks) is switched off; each agent is
assigned to a folder of the fork's own, as the history has it in that of the namespace that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from maestro.model import events as e
from maestro.model.agent_row import Agent
from maestro.model.coordination.restore_parts import UNDECIDED, Restore
from maestro.model.events import LogBranched, NewEvent
from maestro.model.monitoring.alert import Delivery, Endpoint
from maestro.model.node import Node
from maestro.model.restore import Archived, decide_lives, ends, ends_run, newest
from maestro.model.schedules.schedule import Firing, Schedule
from maestro.model.settings.namespace_setting import Setting
from maestro.model.snapshot import OVER, Snapshot
from maestro.model.state import StateKey
from maestro.model.task import Task
from maestro.model.workflow.run_header import RunHeader
from maestro.model.workflow.stored_workflow import StoredWorkflow

BRANCHED = "branched"
"""The reason of what a fork ends."""
SUBJECT = "log:branch"
AGENTS = "agents"
RUNS = "runs"
HOME = "home"
"""The folders of a fork: the workspaces of its agents by their ids, MAESTRO_WORKSPACE_ROOT, and MAESTRO_HOME."""


class Branch(msgspec.Struct, frozen=True):
    """Where a fork left the history that it shares. position: of the last shared event; root: the fork's folder."""

    source: str
    into: str
    position: int
    root: str

    @property
    def runs(self) -> str:
        """Where the runs of its agents have their folders: its MAESTRO_WORKSPACE_ROOT."""
        return f"{self.root}/{RUNS}"

    def shares(self, agent: Agent) -> bool:
        """Whether what is known of an agent is from before the fork: its workspace is not the fork's then."""
        return agent.version <= self.position

    def place(self, agent: str) -> str:
        """The workspace of an agent of the shared history, in the fork."""
        return f"{self.root}/{AGENTS}/{agent}"


class Inherited(NamedTuple):
    """The rows of all views at the last shared position. at: server time there, ms; node: the fork's.

    copied: the snapshots whose archives the fork has, as they are now: one that was being taken then is complete.
    """

    at: int
    node: str
    agents: Iterable[object]
    tasks: Iterable[Task]
    workflow_runs: Iterable[RunHeader]
    workflows: Iterable[StoredWorkflow]
    keys: Iterable[StateKey]
    deliveries: Iterable[Endpoint | Delivery]
    schedules: Iterable[Schedule]
    firings: Iterable[Firing]
    snapshots: Iterable[Snapshot]
    restores: Iterable[Restore]
    nodes: Iterable[Node]
    settings: Mapping[str, Setting]
    copied: Mapping[str, Snapshot]


def inherited(
    rows_of: Callable[[str], Mapping[str, Any]], at: int, node: str, copied: Mapping[str, Snapshot]
) -> Inherited:
    """What a fork inherits. rows_of: the rows of a view by id; the rest as in `Inherited`."""

    def rows(view: str) -> list[Any]:
        return [row for _, row in sorted(rows_of(view).items())]

    return Inherited(
        at=at,
        node=node,
        agents=rows("agents"),
        tasks=rows("tasks"),
        workflow_runs=rows("workflow_runs"),
        workflows=rows("workflows"),
        keys=rows("state"),
        deliveries=rows("deliveries"),
        schedules=rows("schedules"),
        firings=rows("firings"),
        snapshots=rows("snapshots"),
        restores=rows("restores"),
        nodes=rows("nodes"),
        settings=rows_of("settings"),
        copied=copied,
    )


def decide_branch(branch: Branch, chain: str, had: Inherited) -> list[NewEvent]:
    """All that follows the shared history, in one load with it. chain: of the last shared event."""
    first = NewEvent(SUBJECT, LogBranched(branch.source, branch.position, chain, branch.root))
    return [
        first,
        *(event for task in had.tasks if task.open for event in ends(task, BRANCHED)),
        *(ends_run(run, BRANCHED) for run in had.workflow_runs if run.open),
        *_switched_off(had),
        *_given_up(had),
        *_gone(had),
        *decide_lives((key for key in had.keys if not key.expired(had.at)), had.at),
        *(event for row in had.agents if isinstance(row, Agent) for event in _moved(row, branch, had.node)),
    ]


def decide_disabled(schedules: Iterable[Schedule], workflows: Iterable[StoredWorkflow]) -> Iterable[NewEvent]:
    """Schedules, of commands and of workflows, are switched off."""
    for schedule in schedules:
        if schedule.enabled:
            yield NewEvent(f"schedule:{schedule.name}", e.ScheduleSwitched(schedule.name, False))
    for workflow in workflows:
        if workflow.enabled and not workflow.deleted and workflow.newest.schedules:
            yield NewEvent(f"workflow:{workflow.id}", e.WorkflowSwitched(workflow.id, False))


def _switched_off(had: Inherited) -> Iterable[NewEvent]:
    """Schedules and webhooks are switched off, whatever is due there given up."""
    yield from decide_disabled(had.schedules, had.workflows)
    for firing in had.firings:
        for due in firing.open:
            ended = e.ScheduleEnded(firing.schedule, due, ok=False, why=BRANCHED)
            yield NewEvent(f"firing:{firing.schedule}", ended)
    for row in had.deliveries:
        if isinstance(row, Delivery):
            yield NewEvent(f"delivery:{row.id}", e.DeliveryDropped(row.id, BRANCHED))
        elif not row.disabled:
            yield NewEvent(f"webhook:{row.id}", e.WebhookDisabled(row.id, BRANCHED))


def _given_up(had: Inherited) -> Iterable[NewEvent]:
    """Snapshots and restores that were under way, and snapshots whose archives stayed where they were."""
    for snapshot in had.snapshots:
        subject = f"snapshot:{snapshot.id}"
        copied = had.copied.get(snapshot.id)
        if snapshot.complete:
            if copied is None and not snapshot.path:
                yield NewEvent(subject, e.SnapshotExpired(snapshot.id))
        elif snapshot.state not in OVER:
            yield NewEvent(subject, e.SnapshotFailed(snapshot.id, BRANCHED) if copied is None else _taken(copied))
    for restore in had.restores:
        subject = f"restore:{restore.id}"
        if restore.state in UNDECIDED:
            yield NewEvent(subject, e.RestoreFailed(restore.id, BRANCHED))
        for part in restore.pending:
            left = {each.workspace: BRANCHED for each in part.placed}
            yield NewEvent(subject, e.RestorePartPlaced(restore.id, part.node, (), left))


def _taken(row: Snapshot) -> e.SnapshotTaken:
    """How the snapshot that is made at the very position of the fork ended, where the history goes on."""
    return e.SnapshotTaken(
        row.id,
        row.position,
        row.automatic,
        row.path,
        row.reason,
        row.manifest,
        row.workspaces,
        row.bytes,
        row.added_bytes,
        row.torn,
        row.node,
        row.not_held,
        row.missing,
        row.parts,
    )


def _gone(had: Inherited) -> Iterable[NewEvent]:
    """Nodes, none of which is up in the fork, and the shared archive, which is not the fork's."""
    for node in had.nodes:
        if node.status == "up":
            yield NewEvent(f"node:{node.id}", e.NodeLeft(node.id, BRANCHED))
        if node.id != had.node and not node.forgotten:
            yield NewEvent(f"node:{node.id}", e.NodeForgotten(node.id))
    for subject, setting in had.settings.items():
        if setting.key == "archive" and setting.value:
            yield NewEvent(subject, e.ArchiveNamed(""))


def _moved(agent: Agent, branch: Branch, node: str) -> Iterable[NewEvent]:
    subject, place = f"agent:{agent.id}", None if agent.workspace is None else branch.place(agent.id)
    here = node if place is not None else None
    fact = e.AgentAssigned(agent.id, agent.type, agent.definition, branch.runs, place, agent.role, agent.priority, here)
    yield NewEvent(subject, fact)
    if agent.stopped:
        yield NewEvent(subject, e.AgentStopped(agent.id, agent.reason))


def sources(
    agents: Iterable[object], archives: Iterable[Archived], position: int, holds: Collection[tuple[int, int]]
) -> dict[str, Archived | None]:
    """By agent with a workspace: the newest archive of it at or before the position, None where there is none.

    holds: the ranges of positions that lead there.
    """

    def on_line(at: int) -> bool:
        return any(first <= at <= last for first, last in holds)

    kept: dict[tuple[str, str], list[Archived]] = {}
    for each in archives:
        kept.setdefault((each.held.agent, each.held.workspace), []).append(each)
    return {
        row.id: newest(row.id, row.workspace, kept.get((row.id, row.workspace), ()), position, on_line)
        for row in agents
        if isinstance(row, Agent) and row.workspace is not None
    }
