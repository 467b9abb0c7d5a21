"""What happens to workflows and to their runs.

The subject of a definition is `workflow:<id>`, that of a run `workflow-run:<id>`. A run's facts name steps by id,
rounds from 1, and instances as `step`, `step#2`, `step[3]`, `step#2[3]`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.facts import BlobRef, Fact, Text


class WorkflowStored(Fact, frozen=True):
    """`workflow:<id>`: a version of a definition, from 1, which never changes.

    definition: as canonical JSON; source: its text as written; digest: SHA-256 of that. schedules: how many it has.
    """

    workflow: str
    version: int
    definition: Text
    source: Text
    digest: str
    title: str = ""
    schedules: int = 0


class WorkflowDeleted(Fact, frozen=True):
    """`workflow:<id>`: no new run of it; its history stays."""

    workflow: str


class WorkflowSwitched(Fact, frozen=True):
    """`workflow:<id>`: its schedules are on or off."""

    workflow: str
    enabled: bool


class WorkflowRunStarted(Fact, frozen=True):
    """`workflow-run:<id>`: a run of a version, which never changes under it.

    definition: as canonical JSON; children: JSON, `{name: {version, definition}}` of all workflows below it, pinned.
    params: the values of its vars. group: rendered, "" for none. overrides: `--agent-override`, agent or `*` to agent.
    key: `--key`. node, folder: where its own folder is, absolute.

    parent, instance: the run and its instance that this one is a child of; root: the topmost run, itself "". timeout_s:
    what the step of its parent allows, 0 for no limit of that kind; brings: files that its first steps get, by path.

    resumed_from: the run whose folder and results it takes over. reused: by instance, the last end of those that do not
    run again; rounds: of steps in loops, where it goes on, turns: of these loops; turned: loops that have ended; items:
    of `for_each`, as they were evaluated then. restores: `--files restore`: workspaces of what runs again go back to
    before it, force: also where another run ended; archives: by instance, the archive that its workspace goes back to.
    """

    run: str
    workflow: str
    version: int
    definition: Text
    params: dict[str, Any] = msgspec.field(default_factory=dict)
    children: Text = ""
    parent: str = ""
    instance: str = ""
    resumed_from: str = ""
    reused: dict[str, StepEnded] = msgspec.field(default_factory=dict)
    rounds: dict[str, int] = msgspec.field(default_factory=dict)
    turns: dict[str, int] = msgspec.field(default_factory=dict)
    turned: tuple[str, ...] = ()
    items: dict[str, list[Any]] = msgspec.field(default_factory=dict)
    archives: dict[str, WorkspaceRestoreWanted] = msgspec.field(default_factory=dict)
    group: str = ""
    when_busy: str = "queue"
    priority: int | None = None
    trace: bool = False
    overrides: dict[str, str] = msgspec.field(default_factory=dict)
    root: str = ""
    node: str = ""
    folder: str = ""
    timeout_s: float = 0.0
    key: str | None = None
    restores: bool = False
    force: bool = False
    brings: dict[str, BlobRef] = msgspec.field(default_factory=dict)


class WorkflowRunAdmitted(Fact, frozen=True):
    """`workflow-run:<id>`: it holds its group now, and starts."""

    run: str


class StepReadied(Fact, frozen=True):
    """`workflow-run:<id>`: all that a step needs is there, and its `when` and `for_each` are evaluated.

    verdict: `go`, `skip` where `when` is false, `fail` where the template failed (why). items: of `for_each`, None
    without. approval: what the person is asked, None where nobody is; until: when that times out, 0 for never.
    """

    run: str
    step: str
    round: int
    verdict: str = "go"
    why: str = ""
    items: list[Any] | None = None
    approval: str | None = None
    until: int = 0


class StepApproved(Fact, frozen=True):
    """`workflow-run:<id>`: the answer to an approval, by a person (the event's actor) or, `timed_out`, by its time."""

    run: str
    instance: str
    approved: bool
    reason: str = ""
    timed_out: bool = False


class StepStarted(Fact, frozen=True):
    """`workflow-run:<id>`: an attempt of an instance: a task, or the run of a child workflow.

    attempt: from 1, over all agents; agent: the one of the chain, or the member of a pool that it stays with. told: the
    rendered prompt or command; read: what its templates read, by name, shortened.
    """

    run: str
    instance: str
    attempt: int
    task: str = ""
    child: str = ""
    agent: str = ""
    told: Text = ""
    read: dict[str, Any] = msgspec.field(default_factory=dict)


class StepEnded(Fact, frozen=True):
    """`workflow-run:<id>`: an attempt, or what could not start, has ended.

    status: completed, failed, cancelled, timed_out or skipped. next: `retry` or `agent` where another attempt follows,
    not before `due`. agent, session: who worked, and the session of its own. tokens, cost: what the attempt used, of
    these the input and output tokens. output: its stdout, "" where that is the result; result: the final text; check:
    what its failed `verify` printed; error: why its answer did not fit the schema. files: those that it leaves to later
    steps, by path.
    """

    run: str
    instance: str
    status: str
    outcome: str = ""
    why: str = ""
    next: str = ""
    due: int = 0
    tokens: int = 0
    cost: float = 0.0
    exit_code: int | None = None
    agent: str = ""
    session: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    output: Text = ""
    result: Text = ""
    check: Text = ""
    error: str = ""
    files: dict[str, BlobRef] = msgspec.field(default_factory=dict)


class LoopTurned(Fact, frozen=True):
    """`workflow-run:<id>`: the end of a round. again: another one begins; else outcome: `ok` or `no_convergence`, or
    `template` where its `until` could not be evaluated (why).
    """

    run: str
    step: str
    round: int
    again: bool
    outcome: str = ""
    why: str = ""


class WorkflowRunEnding(Fact, frozen=True):
    """`workflow-run:<id>`: nothing new starts but handlers. status: what it will end as; stops: what runs is cancelled.

    step: the one that failed; handler: the step that runs because of it, once what runs has ended.
    """

    run: str
    status: str
    why: str = ""
    step: str = ""
    stops: bool = False


class HandlerCalled(Fact, frozen=True):
    """`workflow-run:<id>`: a step starts because a step failed, or because the run ends."""

    run: str
    step: str


class WorkflowRunPaused(Fact, frozen=True):
    """`workflow-run:<id>`: nothing new starts. why: `asked` or `budget`."""

    run: str
    why: str = "asked"


class WorkflowRunResumed(Fact, frozen=True):
    """`workflow-run:<id>`: it goes on. add_tokens, add_cost: added to its budget."""

    run: str
    add_tokens: int = 0
    add_cost: float = 0.0


class WorkflowRunFinished(Fact, frozen=True):
    """`workflow-run:<id>`: all has ended. status: completed, failed, cancelled or timed_out; result: what it tells."""

    run: str
    status: str
    outcome: str = ""
    why: str = ""
    result: Text = ""


class WorkspaceArchiveWanted(Fact, frozen=True):
    """`workflow-run:<id>`: a workspace is to be archived before a step; it is held for the instance from here on.

    agent: whose workspace, "" for the run's own folder; node, workspace: where that is; target: who works there, with
    whom the instance stays. Wanted again where the node
    began anew before it answered. point: it is a point to go back to only, and held up to the end of the first attempt;
    else up to the end of the instance.
    """

    run: str
    instance: str
    node: str
    workspace: str
    agent: str = ""
    why: str = ""
    point: bool = False
    target: str = ""


class WorkspaceArchived(Fact, frozen=True):
    """`workflow-run:<id>`: the answer of the node. snapshot: the id of the archive; error: why there is none."""

    run: str
    instance: str
    snapshot: str = ""
    error: str = ""
    size: int = 0


class WorkspaceRestoreWanted(Fact, frozen=True):
    """`workflow-run:<id>`: a workspace is to go back to an archive before the next attempt of an instance.

    snapshot: of the archive, whose part of `workspace` is meant. force: also where another run ended there since.
    target: who works there.
    """

    run: str
    instance: str
    node: str
    workspace: str
    snapshot: str
    agent: str = ""
    force: bool = False
    target: str = ""


class WorkspaceReturned(Fact, frozen=True):
    """`workflow-run:<id>`: the answer of the node: the workspace is as the archive has it; error: why it is not."""

    run: str
    instance: str
    snapshot: str = ""
    error: str = ""
    changed: int = 0
