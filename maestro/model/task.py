"""A task: one prompt for one or more targets, each target a slot, each attempt at a slot a run."""

from __future__ import annotations

import msgspec

from maestro.model.events import Text


class Run(msgspec.Struct, omit_defaults=True):
    """One attempt. token: seq of its `run.released`. version: seq of its last event.

    status: released, running or ended. Times in server ms, 0 for not yet.
    """

    id: str
    attempt: int
    agent: str
    node: str | None
    token: int
    version: int
    status: str = "released"
    outcome: str = ""
    exit_code: int | None = None
    signal: int | None = None
    source: str = ""
    evidence: str = ""
    result: Text = ""
    session: str = ""
    folder: str = ""
    workspace: str = ""
    released_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    duration_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    timeout_s: float = 0.0
    shared: bool = False


class Slot(msgspec.Struct, omit_defaults=True):
    """One target of a task.

    status: waiting (for a dependency, its agent, a free place, a retry time), released, running or ended.
    losses: runs ended `lost`; failures: runs that failed by the agent; both since the last `task.retried`.
    """

    target: str
    status: str = "waiting"
    retry_at: int = 0
    losses: int = 0
    failures: int = 0
    outcome: str = ""
    runs: list[Run] = []


class Task(msgspec.Struct, omit_defaults=True):
    """The row of the views `tasks` and (while it is open) `queue`. version: seq of its last own event.

    status: queued, running, completed, failed, cancelled, timed_out or skipped. cancel: the reason of a cancel
    request, None without one. position: seq of its `task.dispatched`, where the prompt is.
    """

    id: str
    version: int
    position: int
    title: str
    status: str
    slots: list[Slot]
    dispatched_at: int
    actor: str
    depends_on: list[str] = []
    priority: int | None = None
    timeout_s: float | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    forced: bool = False
    on_lost: str = "retry"
    cancel: str | None = None
    outcome: str = ""
    exit_code: int | None = None
    source: str = ""
    reason: str = ""
    started_at: int = 0
    finished_at: int = 0
