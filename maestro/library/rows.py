"""What the client returns: rows as commands print them in JSON, typed. A row may have more keys than named here."""

from __future__ import annotations

from typing import Any, TypedDict


class Usage(TypedDict):
    """Tokens and cost, as agents have told them."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost: float


class Run(TypedDict):
    """One attempt of one agent at a task. result: its final text, "" for none."""

    id: str
    target: str
    agent: str
    node: str
    attempt: int
    status: str
    outcome: str | None
    exit_code: int | None
    signal: int | None
    evidence: str | None
    result: str
    session: str | None
    started_at: str | None
    ended_at: str | None
    duration_s: float | None
    workspace: str | None
    log: str | None
    usage: Usage


class Task(TypedDict):
    """A task with its runs, as `task status` prints it. exit_code: as of the command that waits, None while open."""

    id: str
    status: str
    outcome: str | None
    exit_code: int | None
    reason: str | None
    title: str
    targets: list[str]
    agents: list[str]
    priority: int | None
    depends_on: list[str]
    retries: int
    timeout_s: float | None
    key: str | None
    actor: str
    dispatched_at: str | None
    started_at: str | None
    finished_at: str | None
    duration_s: float | None
    workflow: str | None
    step: str | None
    usage: Usage
    runs: list[Run]


class Agent(TypedDict):
    """An agent, as `agent list` prints it."""

    id: str
    type: str
    state: str
    role: str | None
    priority: int
    workspace: str
    node: str
    task: str | None
    run: str | None
    healthy: bool
    reason: str | None
    last_task: str | None
    usage: Usage
    heartbeat_age_s: float | None
    assigned_at: str | None


class StateKey(TypedDict):
    """A key of the shared state, as `state get` prints it. expires_at: None where it is kept."""

    key: str
    value: str
    set_at: str | None
    expires_at: str | None
    actor: str


class WorkflowHeader(TypedDict):
    """A run of a workflow, as `workflow runs` prints it. usage: {tokens, cost}."""

    id: str
    workflow: str
    version: int
    status: str
    paused: str | None
    outcome: str | None
    why: str | None
    actor: str
    started_at: str | None
    ended_at: str | None
    usage: dict[str, float]


class WorkflowRun(TypedDict):
    """A run of a workflow with its steps, as `workflow status` prints it. result: of a run that has one."""

    id: str
    workflow: str
    version: int
    status: str
    why: str | None
    paused: str | None
    params: dict[str, Any]
    actor: str
    started_at: str | None
    ended_at: str | None
    exit_code: int | None
    usage: dict[str, float]
    result: str | None
    steps: list[dict[str, Any]]


class Event(TypedDict):
    """An event of the log, as `events tail` prints it. seq: its position; data: what `maestro events schema` tells."""

    seq: int
    type: str
    subject: str
    at: int
    time: str
    actor: str
    cause: str
    prev: int
    v: int
    data: dict[str, Any]
    chain: str


class Snapshot(TypedDict):
    """A snapshot, as `state snapshot` prints it. expires_at: None where it is kept."""

    id: str
    taken_at: str | None
    position: int
    state: str
    reason: str | None
    automatic: bool
    pinned: bool
    agents: list[str]
    workspaces: list[dict[str, Any]]
    bytes: int
    added_bytes: int
    expires_at: str | None
    why: str | None


class RestorePreview(TypedDict):
    """What a restore would change, as `state restore --dry-run` prints it. failing: what cannot be put back."""

    source: str
    position: int
    at: str | None
    state_restored: bool
    agents: list[dict[str, Any]]
    stopped: list[str]
    restarted: list[str]
    undone: dict[str, Any]
    damaged: list[dict[str, Any]]
    disk_needed_bytes: int
    disk_free_bytes: int | None
    failing: list[dict[str, Any]]
