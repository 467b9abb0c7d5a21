"""What tools answer: of the rows of commands the fields that an agent can use, so that its context is not filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

RESULT_CHARS_MAX = 16 * 1024
"""So much of a result an answer holds; the rest is in the state, under task:<id>:result."""
GLANCE_CHARS_MAX = 400
"""So much of each text a list holds."""
ANSWER_CHARS_MAX = 128 * 1024
"""So much an answer holds in all, about; a list ends before it, and says so."""
VALUE_CHARS_MAX = 64 * 1024
ITEMS_MAX = 100
"""So many a list within an answer holds."""
RUNS_MAX = 20
"""So many runs of a task are shown, the last ones."""
_Shown = TypeVar("_Shown", bound=BaseModel)


def cut(text: str, chars: int) -> str:
    """The text, where it is longer than so many characters shortened, with its length told."""
    return text if len(text) <= chars else f"{text[:chars]}… ({len(text)} characters)"


def within(rows: Sequence[_Shown], limit: int, chars: int = ANSWER_CHARS_MAX) -> list[_Shown]:
    """The first of some rows: so many, and so much, but one at least."""
    kept: list[_Shown] = []
    for row in rows[:limit]:
        chars -= len(row.model_dump_json())
        if kept and chars < 0:
            break
        kept.append(row)
    return kept


def further(left_out: int, what: str, way: str) -> str:
    """That rows are left out of a list, and how to see them; "" where none are."""
    return f"{left_out} more {what} not shown: {way}" if left_out > 0 else ""


def bounded(value: Any, items: int = ITEMS_MAX) -> Any:
    """A value whose long lists and texts are cut; each says of itself how long it was."""
    if isinstance(value, str):
        return cut(value, GLANCE_CHARS_MAX)
    if isinstance(value, dict):
        short = {name: bounded(each, items) for name, each in list(value.items())[:items]}
        return short | ({"…": f"{len(value) - items} more are not shown"} if len(value) > items else {})
    if isinstance(value, list):
        kept = [bounded(each, items) for each in value[:items]]
        told = f"{len(value) - items} more are not shown"
        return kept if len(value) <= items else [*kept, {"…": told} if isinstance(value[0], dict) else f"… {told}"]
    return value


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
        if len(task.runs) > RUNS_MAX:
            task.notes.append(f"{len(task.runs) - RUNS_MAX} earlier runs are not shown")
            task.runs = task.runs[-RUNS_MAX:]
        for run in task.runs:
            run.result = cut(run.result, chars)
        return task


class Tasks(Shaped):
    """Tasks, newest first."""

    tasks: list[Task]
    further: str = Field(default="", description="what is not shown, and how to see it; empty where that is all")


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
    further: str = Field(default="", description="what is not shown, and how to see it; empty where that is all")


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
    further: str = Field(default="", description="how to read on, where the value goes on behind what is shown")


class Values(Shaped):
    """Keys of the shared state, sorted."""

    values: list[Value]
    further: str = Field(default="", description="what is not shown, and how to see it; empty where that is all")


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
    further: str = Field(default="", description="what is not shown, and how to see it; empty where that is all")


class Step(Shaped):
    """One instance of a step."""

    id: str
    status: str
    waiting_for: str | None = None
    reason: str | None = Field(default=None, description="what it waits for, in words")
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
    further: str = Field(default="", description="which steps are not shown, and how to see them")
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
    further: str = Field(default="", description="what shows all, where lists or texts are cut")


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
    further: str = Field(default="", description="that there may be more; empty where there is not")
