"""What tools answer: of the rows of commands the fields that an agent can use, so that its context is not filled."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RESULT_CHARS_MAX = 16 * 1024
"""So much of a result an answer holds; the rest is in the state, under task:<id>:result."""
GLANCE_CHARS_MAX = 400
"""So much of each text a list holds."""


def cut(text: str, chars: int) -> str:
    """The text, where it is longer than so many characters shortened, with its length told."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


class Shaped(BaseModel):
    """The base of answers: made of a row, whose other fields are left out."""

    model_config = ConfigDict(extra="ignore")


class Run(Shaped):
    """One attempt of an agent at a task."""

    id: str
    agent: str
    attempt: int
    status: str
    outcome: str | None = None
    exit_code: int | None = None
    evidence: str | None = Field(None, description="what the outcome was read from")
    result: str = Field(
        "", description="the agent's final text; where it is cut, state_get of task:<id>:result has all"
    )
    result_bytes: int = 0
    workspace: str | None = None


class Task(Shaped):
    """One prompt for one or more agents."""

    id: str
    status: str = Field(description="queued, running, completed, failed, cancelled, timed_out or skipped")
    outcome: str | None = None
    reason: str | None = None
    exit_code: int | None = None
    title: str
    targets: list[str]
    key: str | None = None
    dispatched_at: str
    finished_at: str | None = None
    waiting_for: str | None = Field(None, description="why it does not go on")
    to_go_on: str | None = Field(None, description="what would let it go on")
    runs: list[Run] = []
    notes: list[str] = Field([], description="what is to be known besides")

    @classmethod
    def of(cls, row: dict[str, Any], notes: list[str] | None = None, chars: int = RESULT_CHARS_MAX) -> Task:
        """The task of a row. chars: so much of each result."""
        task = cls.model_validate({**row, "notes": notes or []})
        for run in task.runs:
            run.result = cut(run.result, chars)
        return task


class Tasks(Shaped):
    """Tasks, newest first."""

    tasks: list[Task]


class Waited(Shaped):
    """Tasks that were waited for, in the order in which they were named."""

    finished: bool = Field(description="whether all have ended; if not, call the tool again")
    tasks: list[Task]


class Agent(Shaped):
    """One agent. It answers to its id, type:<type>, and role:<role> where it has one."""

    id: str
    type: str
    role: str | None = None
    state: str = Field(description="active, idle, failed or stopped")
    healthy: bool | None = None
    reason: str | None = None
    workspace: str | None = None
    node: str | None = None
    task: str | None = Field(None, description="what it works at")


class Agents(Shaped):
    """All agents that were asked for."""

    agents: list[Agent]


class Output(Shaped):
    """The last of what the agents of a task have printed."""

    text: str
    cut: bool = Field(description="whether there is more before it")


class Value(Shaped):
    """A key of the shared state."""

    key: str
    value: str
    set_at: str
    expires_at: str | None = None
    actor: str


class Values(Shaped):
    """Keys of the shared state, sorted."""

    values: list[Value]


class Deleted(Shaped):
    """A key of the shared state that was deleted."""

    key: str
    deleted: bool


class Workflow(Shaped):
    """A stored workflow."""

    id: str
    title: str | None = None
    version: int


class Workflows(Shaped):
    """The workflows that can be run."""

    workflows: list[Workflow]


class Step(Shaped):
    """One instance of a step."""

    id: str
    status: str
    why: str | None = None
    task: str | None = None


class WorkflowRun(Shaped):
    """A run of a workflow."""

    id: str
    workflow: str
    version: int
    status: str
    why: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    waiting_for: Any = Field(None, description="the steps that wait for a person's answer")
    steps: list[Step] = []
    notes: list[str] = []


class Snapshot(Shaped):
    """A position of the log with archives of the workspaces."""

    id: str
    position: int
    taken_at: str
    state: str
    workspaces: list[str] = []
    torn: list[Any] = []
    missing: list[Any] = []
    notes: list[str] = []


class RestorePreview(Shaped):
    """What a restore would change. Nothing was done."""

    source: str | None = None
    position: int
    agents: list[dict[str, Any]]
    stopped: list[str] = []
    undone: dict[str, Any] = {}
    regained: dict[str, Any] = {}
    damaged: list[Any] = []
    failing: list[Any] = []
    command: str = Field(description="what a person types to do it")


class Event(Shaped):
    """One event of the log."""

    seq: int
    type: str
    subject: str
    time: str
    actor: str
    cause: str
    data: dict[str, Any]


class Events(Shaped):
    """Events in the order of the log."""

    events: list[Event]
    position: int = Field(description="pass it as `after` to go on")
