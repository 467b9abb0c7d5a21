"""What happens to tasks, and to their runs: the subject of these is `run:<task>-<slot>.<attempt>`."""

from __future__ import annotations

from typing import Any

import msgspec

from maestro.model.facts import BlobRef, Fact, Text


class TaskDispatched(Fact, frozen=True):
    """`task:<id>`: one prompt for one or more targets.

    targets: an agent id, or a pool: `type:<slug>`, `role:<role>`, `capability:<c>`. priority: 1 (most urgent) to 5,
    None for the agent's. title: the first line of the prompt, shortened. on_lost: `retry` or `fail`, for which
    the command line has no option: `retry`. verify: a shell command that must exit 0 in the workspace after a good
    end. budget_tokens, budget_cost: what its runs may use together, until it is retried; more ends them.

    Of an attempt of a workflow's step: workflow, step: the run and the instance. command: `sh` or `bash` where the
    prompt is a script that runs instead of the agent's program. place: whose workspace it works in: "" the agent's own,
    else the run's folder; `run` the run's folder; else that agent's. node, folder: where the run's folder is. alone: it
    has that folder to itself. env: further variables. answer_schema: the JSON Schema of its final text. session: of the
    agent's own, that it goes on with. leaves: paths, with `*` and `**`, of the files that it leaves to later steps;
    brings: files that are put into the workspace before it starts, by path. root: the topmost run, where that is
    another one.
    """

    task: str
    prompt: Text
    title: str
    targets: tuple[str, ...]
    depends_on: tuple[str, ...] = ()
    priority: int | None = None
    timeout_s: float | None = None
    retries: int = 0
    key: str | None = None
    trace: bool = False
    forced: bool = False
    on_lost: str = "retry"
    verify: str = ""
    budget_tokens: int | None = None
    budget_cost: float | None = None
    workflow: str = ""
    step: str = ""
    command: str = ""
    place: str = ""
    node: str = ""
    folder: str = ""
    alone: bool = False
    env: dict[str, str] = msgspec.field(default_factory=dict)
    answer_schema: dict[str, Any] | None = None
    session: str = ""
    leaves: tuple[str, ...] = ()
    brings: dict[str, BlobRef] = msgspec.field(default_factory=dict)
    root: str = ""


class TaskCancelRequested(Fact, frozen=True):
    """`task:<id>`: somebody wants it to end. Queued slots end at once, running ones are stopped by their worker."""

    task: str
    reason: str = ""


class TaskRetried(Fact, frozen=True):
    """`task:<id>`: a finished task is queued again; its earlier runs stay on record.

    resume: each agent goes on with the session of its last run. budget_tokens, budget_cost: what its runs may use
    together from now on; None leaves that as it was.
    """

    task: str
    resume: bool = False
    budget_tokens: int | None = None
    budget_cost: float | None = None


class TaskFinished(Fact, frozen=True):
    """`task:<id>`: all slots have ended. status: completed, failed, cancelled, timed_out or skipped.

    outcome: the worst run's, or `skipped`. exit_code: the first non-zero one in target order, else 0; None when
    nothing ran. source: `agent` when that code is an agent's own, else `maestro`. reason: why, in words.
    """

    task: str
    status: str
    outcome: str
    exit_code: int | None = None
    source: str = "agent"
    reason: str = ""


# ---- runs ----


class RunReleased(Fact, frozen=True):
    """`run:<id>`: the scheduler gives the run to a node. The seq of this event is the run's fencing token.

    agent: who runs it (a pool's choice is made here). shared: nothing binds it to a node: the hint went to the shared
    stream, and `node` is None until one starts it, or labels have chosen `node`. reason: why now, why this agent.
    """

    run: str
    task: str
    slot: int
    attempt: int
    agent: str
    node: str | None
    timeout_s: float
    decided_at: int
    shared: bool = False
    reason: str = ""


class RunStarted(Fact, frozen=True):
    """`run:<id>`: a worker took it, before the spawn. folder: its attempt folder on that node.

    ready_at: since when nothing kept it but the queue (no dependency, retry time or pause), server ms; 0: not known.
    """

    run: str
    task: str
    agent: str
    node: str
    folder: str
    workspace: str
    ready_at: int = 0


class RunSessionOpened(Fact, frozen=True):
    """`run:<id>`: the agent told the id of its own session."""

    run: str
    task: str
    agent: str
    session: str


class RunUsageReported(Fact, frozen=True):
    """`run:<id>`: tokens and cost that the agent reported since its last report.

    As it tells them: cached_tokens are those input tokens that a cache had; many agents count them in, some do not.
    """

    run: str
    task: str
    agent: str
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    cached_tokens: int = 0


class RunEnded(Fact, frozen=True):
    """`run:<id>`: the one terminal event of a run.

    outcome: one of `outcome.SEVERITY`. exit_code: the agent's, None when it never ran or a signal ended it; signal:
    that signal's number. source: `agent` or `maestro`. evidence: which rule judged it, and on what. result: final text.
    duration_ms: from the spawn to the end, monotonic. retry_at: when the next attempt may start (backoff with jitter,
    chosen by the worker), None when there is none to come (`task.may_go_on`), or it may start at once. restart: it is
    `lost` since its daemon ended in order, which counts for nothing (`outcome.is_loss`).

    Of a workflow's step: output: its stdout, "" where that is the result; check: what its failed `verify` printed;
    error: why its final text did not fit the schema; files: those that it leaves, by path.
    """

    run: str
    task: str
    agent: str
    outcome: str
    exit_code: int | None = None
    signal: int | None = None
    source: str = "agent"
    evidence: str = ""
    result: Text = ""
    duration_ms: int = 0
    output_bytes: int = 0
    retry_at: int | None = None
    restart: bool = False
    output: Text = ""
    check: Text = ""
    error: str = ""
    files: dict[str, BlobRef] = msgspec.field(default_factory=dict)


class RunParked(Fact, frozen=True):
    """`run:<id>`: lost too often; not tried again by itself. Follows the last `RunEnded` of its slot."""

    run: str
    task: str
    agent: str
    losses: int
    reason: str = ""
