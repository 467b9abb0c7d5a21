"""Commands about tasks, and the queue in which they wait."""

from __future__ import annotations

import msgspec

from maestro.runtime.protocol.commands import Command


class TaskDispatch(Command, frozen=True, tag_field="kind", tag="task dispatch"):
    """Dispatch a task. Data: task row {id, status, outcome, exit_code, title, targets, priority, runs: [...], ...}.

    Notes of level `progress` are sent while `sync` waits.
    first: the key was generated for this command, so no task has it yet. strict_key: refuse where the key stands for a
    task of another prompt, other targets or options, instead of a note.
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
    strict_key: bool = False


class TaskBatch(Command, frozen=True, tag_field="kind", tag="task dispatch --batch"):
    """Dispatch a file of tasks, a JSON object a line, once all of it was found to be right.

    Items: {line, error} for each thing that is wrong, and then nothing is dispatched; else a row for each line {line,
    id, key, title, targets, depends_on, there}, there: whether it had been dispatched before. path: absolute, of a
    regular file; name: as messages call it; spooled: delete it once it is open. key: what the keys of lines without one
    begin with, "" for the hash of the file. strict_key: as for `TaskDispatch`.
    """

    path: str
    name: str
    key: str = ""
    strict_key: bool = False
    spooled: bool = False


class TaskStatus(Command, frozen=True, tag_field="kind", tag="task status"):
    """Show a task. Data: task row with its runs."""

    id: str | None = None
    last: bool = False
    agent: str | None = None


class TaskExplain(Command, frozen=True, tag_field="kind", tag="task explain"):
    """Say why a task, or a run of a workflow, does not go on. Data: {id, kind, status, title, reasons, because}.

    kind: task or run. reasons: {target or step, reason, waits, what, since, to_go_on}; because: {id, reasons, because}
    of the task that it waits for, None for none.
    """

    id: str


class TaskList(Command, frozen=True, tag_field="kind", tag="task list"):
    """List tasks. Items: task rows, newest first; with `last` Data: task row.

    all: those of workflows' steps, too. all_time: also those that are told from sealed history only.
    """

    last: bool = False
    agent: str | None = None
    status: str | None = None
    since: str | None = None
    limit: int = 100
    all: bool = False
    all_time: bool = False


class TaskWait(Command, frozen=True, tag_field="kind", tag="task wait"):
    """Wait for tasks. Items: task rows in the order of `ids`; exit code as `dispatch --sync`.

    With `one`, Data: the row of the first task; the exit code is of all, too.
    """

    ids: list[str]
    timeout_s: float | None = None
    one: bool = False


class TaskLogs(Command, frozen=True, tag_field="kind", tag="task logs"):
    """The output of a task's agents, as Output frames."""

    id: str
    agent: str | None = None
    follow: bool = False


class TaskCancel(Command, frozen=True, tag_field="kind", tag="task cancel"):
    """Cancel a task. Data: task row."""

    id: str
    reason: str = ""


class TaskAnswer(Command, frozen=True, tag_field="kind", tag="task answer"):
    """Answer a request for permission of a task's agent. Data: task row.

    answer: allow, allow-always, reject, reject-always, or the id of an option. number: of the request, None where only
    one is open.
    """

    id: str
    answer: str
    number: int | None = None
    reason: str = ""


class RunAsk(Command, frozen=True, tag_field="kind", tag="run ask"):
    """Ask for a permission on behalf of the run that this is sent from, and wait for the answer. Data: {answer}.

    tool: the kind of tool; options: id, kind and name of each. answer_s: how long that is waited for, then the
    answer is `reject`; None for as long as the run takes. ruled: `allow` or `reject` where the policy of the type has
    decided, which is to be recorded, and why it has.
    """

    number: int
    title: str
    tool: str = ""
    options: tuple[tuple[str, str, str], ...] = ()
    answer_s: float | None = None
    ruled: str = ""
    why: str = ""


class TaskRetry(Command, frozen=True, tag_field="kind", tag="task retry"):
    """Retry a finished task. Data: task row, with `dependants`: the ids of the others that were retried.

    resume: each agent continues the session of its last run. with_dependants: the tasks that were skipped for it too;
    of a task that is open again, or has completed since, those alone. sync: wait for the end of all.
    budget_tokens, budget_cost: what its runs may use together from now on; None leaves that as it was.
    """

    id: str
    resume: bool = False
    with_dependants: bool = False
    sync: bool = False
    budget_tokens: int | None = None
    budget_cost: float | None = None


class QueueStatus(Command, frozen=True, tag_field="kind", tag="queue status"):
    """List the queue. Items: {task, status, target, agent, run, priority, waiting_for, waiting_since, to_go_on,
    dispatched_at, title}.
    """

    agent: str | None = None
    task: str | None = None
    which: str = "open"  # open, waiting, processing or completed
    limit: int = 100
