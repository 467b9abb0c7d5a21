"""`maestro task`: dispatch prompts to agents, see the results, wait, cancel, retry."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer, task_answer, task_explanation, task_forms
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
    targets_named,
)
from maestro.cli.results import print_results
from maestro.cli.task_columns import TASKS
from maestro.cli.task_options import (
    BatchKeyOption,
    BatchOption,
    BudgetCostOption,
    BudgetTokensOption,
    CancelOnInterruptOption,
    DependsOnOption,
    PromptArgument,
    Status,
    StrictKeyOption,
    SyncOption,
    TimeoutOption,
    ToOption,
    VerifyOption,
    check_keys,
)
from maestro.cli.text_input import read_prompt
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="task", help="Tasks: one prompt, dispatched to one or more agents.")


@app.command(
    "dispatch",
    epilog=examples(
        'maestro task dispatch "Review PR #123" --to code-reviewer --sync',
        "maestro task dispatch @prompt.md --to a1,a2 --timeout 10m",
        "git diff | maestro task dispatch - --to role:reviewer --priority 1",
        'maestro task dispatch "Run the tests" --to tester --depends-on "$(maestro task list --last | jq -r .id)"',
        'maestro task dispatch "Make the tests pass" --to coder --verify "pytest -q" --budget-cost 2.50',
        'maestro task dispatch -- "- [ ] a list" --to code-reviewer',
        "maestro task dispatch --to code-reviewer -- --help-me",
        'maestro task dispatch "@@all: look here" --to code-reviewer',
        "maestro task dispatch --batch tasks.jsonl -q > ids",
        """echo '{"prompt": "Run the tests", "to": "tester", "timeout": 600}' | maestro task dispatch --batch -""",
    ),
)
def dispatch(
    ctx: typer.Context,
    prompt: PromptArgument = None,
    to: ToOption = None,
    batch: BatchOption = None,
    batch_key: BatchKeyOption = "",
    sync: SyncOption = False,
    async_: Annotated[bool, typer.Option("--async", help="Return at once (the default).")] = False,
    timeout: TimeoutOption = None,
    depends_on: DependsOnOption = None,
    priority: Annotated[int | None, typer.Option("--priority", min=1, max=5, help="1 is the most urgent.")] = None,
    retries: Annotated[int, typer.Option("--retries", min=0, max=100, help="New attempts when an agent fails.")] = 0,
    key: Annotated[str | None, typer.Option("--key", help="The same key gives the same task.")] = None,
    strict_key: StrictKeyOption = False,
    trace: Annotated[bool, typer.Option("--trace", help="Prefix each line of output with its time.")] = False,
    force: Annotated[bool, typer.Option("--force", help="To unhealthy agents too.")] = False,
    verify: VerifyOption = "",
    budget_tokens: BudgetTokensOption = None,
    budget_cost: BudgetCostOption = None,
    cancel_on_interrupt: CancelOnInterruptOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the task's id only.")] = False,
    format: FormatOption = None,
) -> int:
    """Give a prompt to agents; prints the task, or its id on a terminal. With --batch, a file of such tasks.

    `maestro help tasks` has the keys of a line, and says how a batch that was broken off is finished.
    """
    check_keys(ctx, batch)
    if batch is not None:
        from maestro.cli.batch import dispatch_batch

        return dispatch_batch(ctx, batch, batch_key, strict_key, "table" if quiet else format)
    from maestro.runtime.node.ids import made_key

    text = _prompt(prompt, to)
    if sync and async_:
        raise Invalid("both --sync and --async", "task dispatch", "give one of them")
    command = p.TaskDispatch(
        prompt=text,
        to=targets_named(to),
        sync=sync,
        timeout_s=timeout,
        depends_on=comma_separated(depends_on, "--depends-on"),
        priority=priority,
        retries=retries,
        key=key or made_key(),
        first=not key,
        strict_key=strict_key,
        trace=trace,
        force=force,
        cancel_on_interrupt=cancel_on_interrupt,
        verify=verify,
        budget_tokens=budget_tokens,
        budget_cost=budget_cost,
    )
    show = task_forms.show_end if sync and not quiet else task_forms.show_id
    return answer.one(command, "table" if quiet else format, show)


def _prompt(prompt: str | None, to: list[str] | None) -> str:
    """The text of a dispatch that is no batch. Raises Invalid, also where there is no target."""
    if prompt is None or to is None:
        missing = "argument 'PROMPT'" if prompt is None else "option '--to'"
        raise Invalid(f"missing {missing}", mend="see `maestro task dispatch --help`")
    return read_prompt(prompt)


@app.command(
    "status",
    epilog=examples(
        "maestro task status 01J9…", "maestro task status --last code-reviewer", "maestro task status 01J9… --full"
    ),
)
def status(
    id: Annotated[
        str | None,
        typer.Argument(help="Id of a task; with --last that of an agent.", autocompletion=completion.tasks),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest task (of an agent).")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With the agents' final texts, whole; JSON has them in any case.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """One task: its runs, exit codes, outcome, timings, usage and logs; in the last line why it does not go on."""
    if id is None and not last:
        raise Invalid("which task?", "task status", "name its id, or give --last [AGENT]")
    command = p.TaskStatus(last=True, agent=id) if last else p.TaskStatus(id)
    return answer.one(command, format, task_forms.show_whole if full else task_forms.show_task)


@app.command(
    "result",
    epilog=examples(
        "maestro task result 01J9… > review.md",
        "maestro task result 01J9… --agent a1",
        "maestro task result 01J9… --format json | jq -r .a1",
    ),
)
def result(id: TaskArgument, agent: AgentFilter = None, format: FormatOption = None) -> int:
    """The final texts of a task's agents, whole: of one as they are, of several as JSON, by agent.

    On a terminal, and with --format table, the texts of several stand below each other, each under its agent.
    """
    return print_results(id, agent, format)


app.command("answer", epilog=task_answer.EXAMPLES)(task_answer.answer_)
app.command("explain", epilog=task_explanation.EXAMPLES)(task_explanation.explain)


@app.command(
    "list",
    epilog=examples(
        "maestro task list --status failed --since 2h",
        "maestro task list --last | jq -r .id",
        "maestro task list --all  # with the steps of workflows",
    ),
)
def list_(
    last: Annotated[bool, typer.Option("--last", help="The newest one, as an object.")] = False,
    agent: AgentFilter = None,
    status: Annotated[Status | None, typer.Option("--status", help="Only those in this state.")] = None,
    since: SinceOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    counted: CountedOption = False,
    all: Annotated[bool, typer.Option("--all", help="The steps of workflows, too.")] = False,
    all_time: Annotated[bool, typer.Option("--all-time", help="Also older ones, from sealed history.")] = False,
    format: FormatOption = None,
) -> int:
    """Tasks, newest first."""
    command = p.TaskList(last, agent, status.value if status else None, since, limit, all, all_time)
    if last:
        return answer.one(command, format, task_forms.show_task)
    return answer.rows(command, TASKS, format, "no tasks", counted)


@app.command(
    "wait",
    epilog=examples(
        "maestro task wait 01J9…",
        "maestro task wait 01J9… 01JA… --timeout 10m",
        "maestro task wait 01J9… 01JA… | jq -r .status  # an object for each, one or many",
    ),
)
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
    """Block until tasks are finished; exits as `dispatch --sync`. As JSON: an object a task, each on a line."""
    command = p.TaskWait(comma_separated(ids, "task wait"), timeout)
    if len(command.ids) == 1:
        return answer.one(command, format, task_forms.show_end)
    if printer.wants_json(format):
        return answer.carry_out(command, printer.write_json).exit_code
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


@app.command(
    "cancel",
    epilog=examples(
        'maestro task cancel 01J9… --reason "wrong branch"',
        "maestro task cancel $(maestro task list --status queued | jq -r '.[].id')",
    ),
)
def cancel(
    ids: Annotated[list[str], typer.Argument(help="Ids of tasks.", autocompletion=completion.tasks)],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only: one a line.")] = False,
    format: FormatOption = None,
) -> int:
    """End tasks: what is queued never starts, what runs is stopped with all its processes.

    Of several each is ended, whatever the others answer; the exit code is the first that is not 0. As JSON: an object a
    task, each on a line.
    """
    names = comma_separated(ids, "task cancel")
    if len(names) == 1:
        one = task_forms.show_id if quiet else task_forms.show_task
        return answer.one(p.TaskCancel(names[0], reason), "table" if quiet else format, one)
    as_json = printer.write_json if printer.wants_json(format) else task_forms.show_state
    show = task_forms.show_id if quiet else as_json
    codes = []
    for name in names:
        end = answer.carry_out(p.TaskCancel(name, reason), show)
        codes.append(end.exit_code)
        if isinstance(end, p.Done):
            show(end.data)
    return next((code for code in codes if code), 0)


@app.command(
    "retry",
    epilog=examples(
        "maestro task retry 01J9…",
        "maestro task retry 01J9… --continue --sync",
        "maestro task retry 01J9… --with-dependants",
        "maestro task retry 01J9… --budget-cost 5   # where it has spent its budget",
    ),
)
def retry(
    id: TaskArgument,
    resume: Annotated[
        bool, typer.Option("--continue", help="Let each agent go on with the session of its last run.")
    ] = False,
    with_dependants: Annotated[
        bool,
        typer.Option("--with-dependants", help="The tasks that were skipped for it too, and those skipped for them."),
    ] = False,
    budget_tokens: BudgetTokensOption = None,
    budget_cost: BudgetCostOption = None,
    sync: Annotated[bool, typer.Option("--sync", help="Wait for the end; exit as the agents did.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only: one a line.")] = False,
    format: FormatOption = None,
) -> int:
    """A new attempt of a finished task; what was skipped for it is told, and retried where that is asked for.

    Its budget begins anew, as large as before unless another one is given.

    With --with-dependants a task that is open again, or has completed meanwhile, is left alone: then those that were
    skipped for it are all that is retried.
    """
    command = p.TaskRetry(
        id=id,
        resume=resume,
        with_dependants=with_dependants,
        sync=sync,
        budget_tokens=budget_tokens,
        budget_cost=budget_cost,
    )
    return answer.one(command, "table" if quiet else format, task_forms.show_ids if quiet else task_forms.show_task)
