"""Commands about runs of workflows that were started: reading, waiting, and what a person may do to them."""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command


class WorkflowRuns(Command, frozen=True, tag_field="kind", tag="workflow runs"):
    """List runs. Items: headers, newest first {id, workflow, version, status, why, started_at, ended_at, actor, ...}.

    open: only those that have not ended. waiting: only those that wait for an answer, as `waiting_for` tells. last:
    Data: the newest one. all_time: also those that are told from sealed history only.
    """

    workflow: str | None = None
    status: str | None = None
    open: bool = False
    waiting: bool = False
    last: bool = False
    limit: int = 100
    all_time: bool = False


class WorkflowStatus(Command, frozen=True, tag_field="kind", tag="workflow status"):
    """Show a run. Data: {id, workflow, version, status, ..., usage, steps: [instance, ...]}.

    id: of a run, or of a workflow, whose newest run is meant; with `last` None for the newest of all. trace: with
    `trace`, a line for each thing that happened.
    """

    id: str | None = None
    last: bool = False
    trace: bool = False


class WorkflowWatch(Command, frozen=True, tag_field="kind", tag="workflow watch"):
    """Wait for a run, and see it change. Data: as of `workflow status`; exit code as `dispatch --sync`.

    Items, at most some a second: {now, run: header, steps: [changed instances], gone: [ids], lines: {instance: text}},
    of which the first is `whole`, with all instances; now: the server's time, seconds. id: "" for
    the newest run. rows: send items at all; lines: with what agents have printed last, once a second.
    """

    id: str
    timeout_s: float | None = None
    rows: bool = False
    lines: bool = False


class WorkflowWait(Command, frozen=True, tag_field="kind", tag="workflow wait"):
    """Wait for runs. Items: runs as of `workflow status`, in the order of `ids`; exit code as `dispatch --sync`."""

    ids: list[str]
    timeout_s: float | None = None


class WorkflowLogs(Command, frozen=True, tag_field="kind", tag="workflow logs"):
    """The output of a run's steps, as Output frames. step: a step or an instance, None for all.

    id: as of `workflow status`.
    """

    id: str | None
    step: str | None = None
    follow: bool = False
    last: bool = False


class WorkflowStop(Command, frozen=True, tag_field="kind", tag="workflow stop"):
    """End a run: what works is cancelled. Data: the run; or {workflow, runs: [header]} where a workflow is named, whose
    open runs these are: nothing is stopped then, unless `runs` names them.
    """

    id: str
    runs: list[str] = msgspec.field(default_factory=list)
    reason: str = ""


class WorkflowPause(Command, frozen=True, tag_field="kind", tag="workflow pause"):
    """Start nothing new in a run. Data: the run."""

    id: str


class WorkflowResume(Command, frozen=True, tag_field="kind", tag="workflow resume"):
    """Let a run go on. add_tokens, add_cost: added to its budget. Data: the run."""

    id: str
    add_tokens: int = 0
    add_cost: float = 0.0


class WorkflowAnswer(Command, frozen=True, tag_field="kind", tag="workflow approve"):
    """Approve a step that waits for that, or reject it. Data: the run."""

    id: str
    step: str
    approved: bool
    reason: str = ""
