"""`maestro task`: dispatch prompts to agents, see the results, wait, cancel, retry."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.options import (
    DURATION_HELP,
    AgentFilter,
    CountedOption,
    FormatOption,
    SinceOption,
    TaskArgument,
    comma_separated,
    duration,
    examples,
)
from maestro.cli.printer import Column, Row
from maestro.cli.text_input import read_prompt
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="task", help="Tasks: one prompt, dispatched to one or more agents.")

TASKS = (
    Column("id", "TASK"),
    Column("status", "STATUS"),
    Column("outcome", "OUTCOME", leaves=2),
    Column("targets", "TO", cuts="end", leaves=3),
    Column("dispatched_at", "DISPATCHED", printer.moment, leaves=1),
    Column("title", "PROMPT", cuts="end"),
)
RUNS = (
    Column("id", "RUN"),
    Column("agent", "AGENT"),
    Column("status", "STATUS"),
    Column("outcome", "OUTCOME"),
    Column("exit_code", "EXIT", leaves=6),
    Column("node", "NODE", leaves=1),
    Column("duration_s", "SECONDS", leaves=4),
    Column("usage", "TOKENS", printer.tokens, leaves=3),
    Column("usage", "COST", printer.cost, leaves=2),
    Column("log", "LOGS", below=True),
)
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        parser=duration("--timeout", least_ms=1),
        metavar="DURATION",
        help=f"How long a run may take: {DURATION_HELP}.",
    ),
]
VerifyOption = Annotated[
    str, typer.Option("--verify", help="A shell command that must exit 0 in the workspace after a good end.")
]
BudgetTokensOption = Annotated[
    int | None, typer.Option("--budget-tokens", min=1, help="Tokens that its runs may use together.")
]
BudgetCostOption = Annotated[
    float | None, typer.Option("--budget-cost", help="What its runs may cost together, as the agents tell it.")
]


class Status(StrEnum):
    """States of a task."""

    queued = "queued"
    running = "running"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    timed_out = "timed_out"
    skipped = "skipped"


@app.command(
    "dispatch",
    epilog=examples(
        'maestro task dispatch "Review PR #123" --to code-reviewer --sync',
        "maestro task dispatch @prompt.md --to a1,a2 --timeout 10m",
        "git diff | maestro task dispatch - --to role:reviewer --priority 1",
        'maestro task dispatch "Run the tests" --to tester --depends-on "$(maestro task list --last | jq -r .id)"',
        'maestro task dispatch "Make the tests pass" --to coder --verify "pytest -q" --budget-cost 2.50',
        "maestro task dispatch --to code-reviewer -- --help-me",
        'maestro task dispatch "@@all: look here" --to code-reviewer',
    ),
)
def dispatch(
    prompt: Annotated[str, typer.Argument(help="What to do; `-` reads standard input, `@file` a file; `@@x` is `@x`.")],
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            help="Agents or pools (type:<slug>, role:<role>, capability:<c>), comma-separated.",
            autocompletion=completion.targets,
        ),
    ],
    sync: Annotated[bool, typer.Option("--sync", help="Wait for the end; exit as the agents did.")] = False,
    async_: Annotated[bool, typer.Option("--async", help="Return at once (the default).")] = False,
    timeout: TimeoutOption = None,
    depends_on: Annotated[
        list[str] | None,
        typer.Option("--depends-on", help="Wait for these tasks; comma-separated.", autocompletion=completion.tasks),
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", min=1, max=5, help="1 is the most urgent.")] = None,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="New attempts when an agent fails.")] = 0,
    key: Annotated[str | None, typer.Option("--key", help="The same key gives the same task.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Prefix each line of output with its time.")] = False,
    force: Annotated[bool, typer.Option("--force", help="To unhealthy agents too.")] = False,
    verify: VerifyOption = "",
    budget_tokens: BudgetTokensOption = None,
    budget_cost: BudgetCostOption = None,
    cancel_on_interrupt: Annotated[
        bool, typer.Option("--cancel-on-interrupt", help="With --sync: Ctrl-C cancels the task.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the task's id only.")] = False,
    format: FormatOption = None,
) -> int:
    """Give a prompt to agents; prints the task, or its id on a terminal."""
    from maestro.runtime.node.ids import made_key

    if sync and async_:
        raise Invalid("both --sync and --async", "task dispatch", "give one of them")
    command = p.TaskDispatch(
        prompt=read_prompt(prompt),
        to=comma_separated(to, "--to"),
        sync=sync,
        timeout_s=timeout,
        depends_on=comma_separated(depends_on, "--depends-on"),
        priority=priority,
        retries=retries,
        key=key or made_key(),
        first=not key,
        trace=trace,
        force=force,
        cancel_on_interrupt=cancel_on_interrupt,
        verify=verify,
        budget_tokens=budget_tokens,
        budget_cost=budget_cost,
    )
    if quiet:
        return answer.one(command, "table", _show_id)
    return answer.one(command, format, _show_task if sync else _show_id)


@app.command("status", epilog=examples("maestro task status 01J9…", "maestro task status --last code-reviewer"))
def status(
    id: Annotated[
        str | None,
        typer.Argument(help="Id of a task; with --last that of an agent.", autocompletion=completion.tasks),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest task (of an agent).")] = False,
    format: FormatOption = None,
) -> int:
    """One task: its runs, exit codes, outcome, timings, usage and logs."""
    if id is None and not last:
        raise Invalid("which task?", "task status", "name its id, or give --last [AGENT]")
    command = p.TaskStatus(last=True, agent=id) if last else p.TaskStatus(id)
    return answer.one(command, format, _show_task)


@app.command(
    "list",
    epilog=examples("maestro task list --status failed --since 2h", "maestro task list --last | jq -r .id"),
)
def list_(
    last: Annotated[bool, typer.Option("--last", help="The newest one, as an object.")] = False,
    agent: AgentFilter = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this state.")] = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    counted: CountedOption = False,
    all: Annotated[bool, typer.Option("--all", help="Without effect: there are no workflows yet.")] = False,
    format: FormatOption = None,
) -> int:
    """Tasks, newest first."""
    command = p.TaskList(last, agent, status.value if status else None, since, limit, all)
    if last:
        return answer.one(command, format, _show_task)
    return answer.rows(command, TASKS, format, "no tasks", counted)


@app.command("wait", epilog=examples("maestro task wait 01J9…", "maestro task wait 01J9… 01JA… --timeout 10m"))
def wait(
    ids: Annotated[list[str], typer.Argument(help="Ids of tasks.", autocompletion=completion.tasks)],
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            parser=duration("--timeout"),
            metavar="DURATION",
            help=f"How long to wait at most, then exit 124: {DURATION_HELP}.",
        ),
    ] = None,
    format: FormatOption = None,
) -> int:
    """Block until tasks are finished; exits as `dispatch --sync`."""
    command = p.TaskWait(comma_separated(ids, "task wait"), timeout)
    if len(command.ids) == 1:
        return answer.one(command, format, _show_task)
    return answer.rows(command, TASKS, format)


@app.command("logs", epilog=examples("maestro task logs 01J9… --follow", "maestro task logs 01J9… --agent a1"))
def logs(
    id: TaskArgument,
    agent: AgentFilter = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for the task; go on to its end.")] = False,
) -> int:
    """The output of a task's agents: of a run that printed more than 64 MiB, its beginning and its end.

    With --follow a task that is queued is waited for, and all its attempts are shown until it has ended.
    """
    return answer.text(p.TaskLogs(id, agent, follow))


@app.command("cancel", epilog=examples('maestro task cancel 01J9… --reason "wrong branch"'))
def cancel(
    id: TaskArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.")] = "",
    format: FormatOption = None,
) -> int:
    """End a task: what is queued never starts, what runs is stopped with all its processes."""
    return answer.one(p.TaskCancel(id, reason), format, _show_task)


@app.command("retry", epilog=examples("maestro task retry 01J9…", "maestro task retry 01J9… --continue"))
def retry(
    id: TaskArgument,
    resume: Annotated[
        bool, typer.Option("--continue", help="Let each agent go on with the session of its last run.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """A new attempt of a finished task."""
    return answer.one(p.TaskRetry(id=id, resume=resume), format, _show_task)


def _show_id(task: Row) -> None:
    printer.write_line(str(task.get("id", "")))


def _show_task(task: Row) -> None:
    printer.write_object(task, ("runs", "slots", "results", "version"))
    if task.get("runs"):
        printer.write(b"\n")
        printer.write_table(RUNS, task["runs"])
