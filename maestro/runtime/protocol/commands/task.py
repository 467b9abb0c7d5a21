"""Commands about tasks, and the queue in which they wait."""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command


class TaskDispatch(Command, frozen=True, tag_field="kind", tag="task dispatch"):
    """Data: task row {id, status, outcome, exit_code, title, targets, priority, runs: [...], dispatched_at, ...}; notes
    of level `progress` while `sync` waits. first: the key was made for this very command, so no task has it yet.
    """

    prompt: str
    to: list[str]
    sync: bool = False
    timeout_s: float | None = None
    depends_on: list[str] = msgspec.field(default_factory=list)
    priority: int | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    force: bool = False
    cancel_on_interrupt: bool = False
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None
    first: bool = False


class TaskStatus(Command, frozen=True, tag_field="kind", tag="task status"):
    """Data: task row with its runs."""

    id: str | None = None
    last: bool = False
    agent: str | None = None


class TaskList(Command, frozen=True, tag_field="kind", tag="task list"):
    """Items: task rows, newest first; with `last` Data: task row."""

    last: bool = False
    agent: str | None = None
    status: str | None = None
    since: str | None = None
    limit: int = 100
    all: bool = False


class TaskWait(Command, frozen=True, tag_field="kind", tag="task wait"):
    """Items: task rows, in the order of `ids`; exit code as `dispatch --sync`. With `one` Data: the first task."""

    ids: list[str]
    timeout_s: float | None = None
    one: bool = False


class TaskLogs(Command, frozen=True, tag_field="kind", tag="task logs"):
    """Output frames."""

    id: str
    agent: str | None = None
    follow: bool = False


class TaskCancel(Command, frozen=True, tag_field="kind", tag="task cancel"):
    """Data: task row."""

    id: str
    reason: str = ""


class TaskRetry(Command, frozen=True, tag_field="kind", tag="task retry"):
    """Data: task row. resume: each agent goes on with the session of its last run."""

    id: str
    resume: bool = False


class QueueStatus(Command, frozen=True, tag_field="kind", tag="queue status"):
    """Items: {task, status, target, agent, run, priority, waiting_for, dispatched_at, title}."""

    agent: str | None = None
    task: str | None = None
    which: str = "open"  # open, waiting, processing or completed
    limit: int = 100
