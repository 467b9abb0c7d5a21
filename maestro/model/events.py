"""The facts that the log holds: frozen structs, one union, stable names.

A fact is in the past tense and is never changed once released: fields may be added with a default, names and
meanings stay. `FACTS` gives each fact its name in the stream; `VERSIONS` its version where it is above 1.
Times are milliseconds since the Unix epoch, server time; durations say their unit in their name.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class BlobRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text kept outside the log because of its size. blob: SHA-256 in hex; size: bytes, uncompressed."""

    blob: str
    size: int


Text: TypeAlias = str | BlobRef


class Fact(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an event says. Every field has the meaning that its fact's docstring gives it.

    gc: data from JSON has no cycles, and a replay holds hundreds of thousands that nobody needs to look through.
    """


# ---- agents ----


class AgentRegistered(Fact, frozen=True):
    """`type:<slug>`: a definition was validated. definition: as resolved, adapter merged in."""

    slug: str
    definition: dict[str, Any]
    source: str = ""


class AgentAssigned(Fact, frozen=True):
    """`agent:<id>`: created, moved or given another role; later assignments replace earlier ones whole.

    definition: the resolved type at that moment, paths and binaries included, so that a run needs nothing else.
    workspace: absolute path, or None for an agent that works in its run folders. node: who owns the workspace.
    """

    agent: str
    type: str
    definition: dict[str, Any]
    workspace_root: str
    workspace: str | None = None
    role: str = ""
    priority: int = 3
    node: str | None = None


class AgentStopped(Fact, frozen=True):
    """`agent:<id>`: takes no work until it is restarted or assigned."""

    agent: str
    reason: str = ""
    force: bool = False


class AgentRestarted(Fact, frozen=True):
    """`agent:<id>`: takes work again, and counts as healthy until a check says otherwise."""

    agent: str


class AgentReset(Fact, frozen=True):
    """`agent:<id>`: its workspace was cleared and made again from the template. snapshot: what it held before."""

    agent: str
    snapshot: str | None = None


class AgentHealthChanged(Fact, frozen=True):
    """`agent:<id>`: became healthy or unhealthy. failed: the names of the checks that failed."""

    agent: str
    healthy: bool
    failed: tuple[str, ...] = ()
    reason: str = ""


# ---- nodes ----


class NodeJoined(Fact, frozen=True):
    """`node:<id>`: a daemon started there. incarnation: unique per daemon start."""

    node: str
    host: str
    incarnation: str
    pid: int
    max_concurrent: int
    build: str
    home: str = ""


class NodeHeld(Fact, frozen=True):
    """`node:<id>`: was shut down; its queued tasks are held until `NodeResumed`."""

    node: str
    reason: str = ""


class NodeResumed(Fact, frozen=True):
    """`node:<id>`: takes work again (`up`, `agent restart`, `agent assign`, a new dispatch)."""

    node: str
    reason: str = ""


class NodeLeft(Fact, frozen=True):
    """`node:<id>`: its daemon ended in order."""

    node: str
    reason: str = ""


class NodeLost(Fact, frozen=True):
    """`node:<id>`: its lease ran out."""

    node: str
    reason: str = ""


# ---- tasks ----


class TaskDispatched(Fact, frozen=True):
    """`task:<id>`: one prompt for one or more targets.

    targets: an agent id, or a pool: `type:<slug>`, `role:<role>`, `capability:<c>`. priority: 1 (most urgent) to 5,
    None for the agent's. title: the first line of the prompt, shortened. on_lost: `retry` or `fail`. verify: a shell
    command that must exit 0 in the workspace after a good end. budget_tokens, budget_cost: what its runs may use
    together, until it is retried; more ends them.
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


class TaskCancelRequested(Fact, frozen=True):
    """`task:<id>`: somebody wants it to end. Queued slots end at once, running ones are stopped by their worker."""

    task: str
    reason: str = ""


class TaskRetried(Fact, frozen=True):
    """`task:<id>`: a finished task is queued again; its earlier runs stay on record.

    resume: each agent goes on with the session of its last run.
    """

    task: str
    resume: bool = False


class TaskFinished(Fact, frozen=True):
    """`task:<id>`: all slots have ended. status: completed, failed, cancelled, timed_out or skipped.

    outcome: the worst run's, or `skipped`. exit_code: the first non-zero one in target order, else 0; None when
    nothing ran. source: `agent` when that code is an agent's own, else `maestro`. cause: why, in words.
    """

    task: str
    status: str
    outcome: str
    exit_code: int | None = None
    source: str = "agent"
    reason: str = ""


# ---- runs: the subject is `run:<task>-<slot>.<attempt>` ----


class RunReleased(Fact, frozen=True):
    """`run:<id>`: the scheduler gives the run to a node. The seq of this event is the run's fencing token.

    agent: who runs it (a pool's choice is made here). shared: the hint went to the shared stream, so any node may
    take it, and `node` is None until it starts. reason: why now, why this agent.
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
    """`run:<id>`: a worker took it, before the spawn. folder: its attempt folder on that node."""

    run: str
    task: str
    agent: str
    node: str
    folder: str
    workspace: str


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

    outcome: SPEC.md 2's list. exit_code: the agent's, None when it never ran or a signal ended it; signal: that
    signal's number. source: `agent` or `maestro`. evidence: which rule judged it, and on what. result: final text.
    duration_ms: from the spawn to the end, monotonic. retry_at: when the next attempt may start (backoff with
    jitter, chosen by the shell), None when there is none to come.
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


class RunParked(Fact, frozen=True):
    """`run:<id>`: lost too often; not tried again by itself. Follows the last `RunEnded` of its slot."""

    run: str
    task: str
    agent: str
    losses: int
    reason: str = ""


# ---- state ----


class StateSet(Fact, frozen=True):
    """`state:<key>`: ttl_ms: time to live from `at`, None for ever."""

    key: str
    value: Text
    ttl_ms: int | None = None


class StateDeleted(Fact, frozen=True):
    """`state:<key>`: reason: `expired` where the sweep did it."""

    key: str
    reason: str = ""


# ---- snapshots, restore, the log itself ----


class SnapshotTaken(Fact, frozen=True):
    """`snapshot:<id>`: complete, at this event's seq. automatic: it expires."""

    snapshot: str
    position: int
    automatic: bool = False
    path: str = ""


class SnapshotFailed(Fact, frozen=True):
    """`snapshot:<id>`: not complete; nothing of it is kept."""

    snapshot: str
    reason: str = ""


class SnapshotExpired(Fact, frozen=True):
    """`snapshot:<id>`: deleted by retention."""

    snapshot: str


class RestoreStarted(Fact, frozen=True):
    """`restore:<id>`: its pre-restore snapshot is taken, the agents are being stopped."""

    restore: str
    to: int
    source: str = ""


class RestoreDone(Fact, frozen=True):
    """`restore:<id>`: from here on the line is events 1..to and this seq onwards (DESIGN.md 2)."""

    restore: str
    to: int
    source: str = ""


class RestoreFailed(Fact, frozen=True):
    """`restore:<id>`: nothing changed, or the journal will roll it forward."""

    restore: str
    reason: str = ""


class LogSealed(Fact, frozen=True):
    """`log:segments`: events first..last lie in a segment file. sha256: of that file; chain: of `last`."""

    first: int
    last: int
    sha256: str
    chain: str
    path: str = ""


class LogForked(Fact, frozen=True):
    """`log:lineage`: an operator accepted that acknowledged events were lost after `known_seq`."""

    known_seq: int
    known_chain: str
    reason: str = ""


class Unrecognised(Fact, frozen=True):
    """An event that this build does not know: a later one's. A fold that meets it stops and never goes past it."""

    name: str
    v: int
    data: bytes


AnyFact: TypeAlias = (
    AgentRegistered
    | AgentAssigned
    | AgentStopped
    | AgentRestarted
    | AgentReset
    | AgentHealthChanged
    | NodeJoined
    | NodeHeld
    | NodeResumed
    | NodeLeft
    | NodeLost
    | TaskDispatched
    | TaskCancelRequested
    | TaskRetried
    | TaskFinished
    | RunReleased
    | RunStarted
    | RunSessionOpened
    | RunUsageReported
    | RunEnded
    | RunParked
    | StateSet
    | StateDeleted
    | SnapshotTaken
    | SnapshotFailed
    | SnapshotExpired
    | RestoreStarted
    | RestoreDone
    | RestoreFailed
    | LogSealed
    | LogForked
    | Unrecognised
)

FACTS: dict[str, type[AnyFact]] = {
    "agent.registered": AgentRegistered,
    "agent.assigned": AgentAssigned,
    "agent.stopped": AgentStopped,
    "agent.restarted": AgentRestarted,
    "agent.reset": AgentReset,
    "agent.health_changed": AgentHealthChanged,
    "node.joined": NodeJoined,
    "node.held": NodeHeld,
    "node.resumed": NodeResumed,
    "node.left": NodeLeft,
    "node.lost": NodeLost,
    "task.dispatched": TaskDispatched,
    "task.cancel_requested": TaskCancelRequested,
    "task.retried": TaskRetried,
    "task.finished": TaskFinished,
    "run.released": RunReleased,
    "run.started": RunStarted,
    "run.session_opened": RunSessionOpened,
    "run.usage_reported": RunUsageReported,
    "run.ended": RunEnded,
    "run.parked": RunParked,
    "state.set": StateSet,
    "state.deleted": StateDeleted,
    "snapshot.taken": SnapshotTaken,
    "snapshot.failed": SnapshotFailed,
    "snapshot.expired": SnapshotExpired,
    "restore.started": RestoreStarted,
    "restore.done": RestoreDone,
    "restore.failed": RestoreFailed,
    "log.sealed": LogSealed,
    "log.forked": LogForked,
}

NAMES: dict[type[AnyFact], str] = {fact: name for name, fact in FACTS.items()}

VERSIONS: dict[str, int] = {}


class Event(msgspec.Struct, frozen=True, gc=False):
    """One fact in its place. seq: position, id and version at once; prev: the subject's version before it.

    at: server time in ms, never going back. actor: who appended it. cause: the seq or the command that led to it.
    """

    seq: int
    subject: str
    at: int
    actor: str
    cause: str
    prev: int
    fact: AnyFact

    @property
    def type(self) -> str:
        """The fact's name in the stream."""
        fact = self.fact
        return fact.name if isinstance(fact, Unrecognised) else NAMES[fact.__class__]


class NewEvent(msgspec.Struct, frozen=True):
    """A fact on its way into the log.

    expected: the version that its subject must have (0 or the floor for a new one), None to append at any version.
    Further events of the same subject in one append follow the first and carry None.
    """

    subject: str
    fact: AnyFact
    expected: int | None = None


def run_id(task: str, slot: int, attempt: int) -> str:
    """The id of a run: `<task>-<slot>.<attempt>`."""
    return f"{task}-{slot}.{attempt}"
