"""The row of a task: its slots, their runs, and what can be read from them. `task.py` says how they change."""

from __future__ import annotations

from typing import Final

import msgspec

from maestro.model.events import BlobRef, Text
from maestro.model.facts.permission import PermissionOption
from maestro.model.outcome import FINISHED, is_loss

LEVEL_MS: Final = 600_000
PRIORITY_DEFAULT: Final = 3


OPEN_MAX: Final = 16
"""So many requests for permission a run may have open at once; of those that are answered as many are kept."""


class Permission(msgspec.Struct, omit_defaults=True, gc=False):
    """A request for permission of a run that is on. asked_at, until: server ms; option: "" while it is not answered."""

    number: int
    title: str
    options: tuple[PermissionOption, ...]
    asked_at: int
    tool: str = ""
    until: int = 0
    answer: str = ""
    option: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it waits for its answer."""
        return not self.answer

    @property
    def choices(self) -> list[tuple[str, str]]:
        """The id and the kind of each option."""
        return [(one.id, one.kind) for one in self.options]


class Run(msgspec.Struct, omit_defaults=True, gc=False):
    """One attempt at a slot of a task. token: seq of its `run.released`. version: seq of its last event.

    status: released, running or ended. Times in server ms, 0 for not yet. restart: it ended with an orderly restart.
    permissions: what it asks for, while it is on.
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
    cached_tokens: int = 0
    restart: bool = False
    output: Text = ""
    check: Text = ""
    error: str = ""
    files: dict[str, BlobRef] = {}
    permissions: list[Permission] = []

    @property
    def was_lost(self) -> bool:
        """Whether the run counts as a loss."""
        return is_loss(self.outcome, bool(self.started_at), self.restart)


class Slot(msgspec.Struct, omit_defaults=True, gc=False):
    """One target of a task.

    status: waiting (for a dependency, its agent, a free place, a retry time), released, running or ended.
    losses: runs that were lost by a fault; failures: runs that failed by the agent; both since the last `task.retried`.
    earlier: how many of the runs are older than that.
    """

    target: str
    status: str = "waiting"
    retry_at: int = 0
    losses: int = 0
    failures: int = 0
    outcome: str = ""
    runs: list[Run] = []
    earlier: int = 0

    @property
    def pool(self) -> bool:
        """Whether the target is a pool, so that each attempt may have another agent."""
        return ":" in self.target.partition(",")[0]

    @property
    def tries(self) -> list[Run]:
        """The runs since the task was dispatched or last retried."""
        return self.runs[self.earlier :]

    @property
    def counted(self) -> list[Run]:
        """Those of the tries that say something about how the next one will fare: no orderly restart ended them."""
        return [run for run in self.tries if not run.restart]

    @property
    def resumable(self) -> Run | None:
        """The last run before these tries that told a session of its agent, with which `Task.resumes` goes on."""
        return next((run for run in reversed(self.runs[: self.earlier]) if run.session), None)

    @property
    def live(self) -> Run | None:
        """The run of the slot that is released or running, None where none is."""
        return self.runs[-1] if self.status in ("released", "running") else None


class Task(msgspec.Struct, omit_defaults=True, gc=False):
    """A task; the row of the views `tasks` and (while it is open) `queue`. version: seq of its last own event.

    status: queued, running, completed, failed, cancelled, timed_out or skipped. cancel: the reason of a cancel request,
    None without one. position: seq of its `task.dispatched`, where the prompt is. retried_at: when it was last retried,
    0 for never; resumes: so that the agents go on with their sessions. budget_*: for its tries together.

    workflow, step: the run of a workflow and the instance of its step that this is an attempt of; place, node, folder,
    alone: where that works (`TaskDispatched`).
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
    retried_at: int = 0
    resumes: bool = False
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None
    workflow: str = ""
    step: str = ""
    place: str = ""
    node: str = ""
    folder: str = ""
    alone: bool = False

    @property
    def open(self) -> bool:
        """Whether the task is queued or running."""
        return self.status not in FINISHED

    @property
    def begun(self) -> bool:
        """Whether the task had a run since it was dispatched or last retried: then no dependency holds it any more."""
        return any(len(slot.runs) > slot.earlier for slot in self.slots)

    def live_run(self, run: str) -> Run | None:
        """The run of that id, where it is released or running."""
        return next((slot.live for slot in self.slots if slot.live is not None and slot.live.id == run), None)

    def order_key(self, agent_priority: int = PRIORITY_DEFAULT) -> int:
        """The place of the task among what is ready: smaller goes first.

        agent_priority counts where the task has no priority.
        """
        priority = agent_priority if self.priority is None else self.priority
        return priority * LEVEL_MS + (self.retried_at or self.dispatched_at)
