"""`maestro workflow runs|status|wait|logs|stop|pause|resume|approve|reject`: runs of workflows that were started."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from maestro.cli import answer, completion, printer, run_forms
from maestro.cli.options import DURATION_HELP, CountedOption, FormatOption, comma_separated, duration, examples
from maestro.model.errors import Invalid, Refused
from maestro.runtime.protocol import messages as p


class RunStatus(StrEnum):
    """States of a run."""

    queued = "queued"
    running = "running"
    paused = "paused"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    timed_out = "timed_out"


READ_HELP = "Id of a run; of a workflow: its newest run."
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.", autocompletion=completion.runs)]
AskingArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run.", autocompletion=completion.asking_runs)
]
StepArgument = Annotated[
    str, typer.Argument(metavar="STEP", help="A step that waits, as `ask` or `ask#2`.", autocompletion=completion.gates)
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the audit trail.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the group `workflow`."""
    for name, command, lines in COMMANDS:
        app.command(name, epilog=examples(*lines))(command)
        if command is stop:
            app.command("cancel", hidden=True, epilog=examples(*lines))(command)


def runs(
    workflow: Annotated[
        str | None, typer.Argument(help="Id of a workflow: only its runs.", autocompletion=completion.workflows)
    ] = None,
    status: Annotated[RunStatus | None, typer.Option("--status", help="Only those in this state.")] = None,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that wait for an approval, or a permission.")
    ] = False,
    last: Annotated[bool, typer.Option("--last", help="The newest one, as an object.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    counted: CountedOption = False,
    all_time: Annotated[bool, typer.Option("--all-time", help="Also older ones, from sealed history.")] = False,
    format: FormatOption = None,
) -> int:
    """Runs, newest first, and the approvals and permissions they wait for; children are shown with their parents."""
    if last and (waiting or status or all_time):
        raise Invalid("both --last and a choice", "workflow runs", "give --limit 1 instead of --last")
    state = status.value if status else None
    command = p.WorkflowRuns(workflow, state, waiting=waiting, last=last, limit=limit, all_time=all_time)
    if last:
        return answer.one(command, format)
    return answer.rows(command, run_forms.RUNS, format, "no runs", counted)


def status(
    id: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help=READ_HELP, autocompletion=completion.read_runs),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest run of all.")] = False,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace", help="And all that happened: what each step waited for, was told, read and wrote, and when."
        ),
    ] = False,
    format: FormatOption = None,
) -> int:
    """One run: its steps, what each waits for, and since when."""
    if id is None and not last:
        raise Invalid("which run?", "workflow status", "name its id or its workflow, or give --last")
    command = p.WorkflowStatus(id, last, trace)
    return answer.one(command, format, run_forms.show_trace if trace else run_forms.show_status)


def wait(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help=READ_HELP, autocompletion=completion.read_runs)
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="The newest run of all.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            parser=duration("--timeout"),
            metavar="DURATION",
            help=f"How long to wait at most, then exit 124: {DURATION_HELP}.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing meanwhile.")] = False,
    format: FormatOption = None,
) -> int:
    """Block until runs have ended, and see one as it goes on; exits as `workflow run`. As JSON: an object a run."""
    if last == bool(ids):
        what = "both runs and --last" if last else "which run?"
        raise Invalid(what, "workflow wait", "name its id or its workflow, or give --last")
    names = comma_separated(ids, "workflow wait") if ids else [""]
    if len(names) == 1:
        from maestro.cli.live_run import follow

        return follow(names[0], format, timeout, quiet)
    command = p.WorkflowWait(names, timeout)
    if printer.wants_json(format):
        return answer.carry_out(command, printer.write_json).exit_code
    return answer.rows(command, run_forms.RUNS, format)


def logs(
    id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help=READ_HELP, autocompletion=completion.read_runs),
    ] = None,
    step: Annotated[
        str | None,
        typer.Argument(
            metavar="[STEP]", help="Only of a step, or of one instance: review:3.", autocompletion=completion.steps
        ),
    ] = None,
    last: Annotated[bool, typer.Option("--last", help="Of the newest run of all: --last [STEP].")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
) -> int:
    """The output of a run's steps, as `task logs`; where several have printed, each line begins with its step."""
    if last and step is not None:
        raise Invalid("both a run and --last", "workflow logs", "with --last name only a step: --last [STEP]")
    if id is None and not last:
        raise Invalid("which run?", "workflow logs", "name its id or its workflow, or give --last [STEP]")
    return answer.text(p.WorkflowLogs(None, id, follow, True) if last else p.WorkflowLogs(id, step, follow))


def stop(
    id: Annotated[
        str, typer.Argument(metavar="RUN", help="Id of a run, or of a workflow.", autocompletion=completion.open_runs)
    ],
    reason: ReasonOption = "",
    yes: Annotated[bool, typer.Option("--yes", help="Of a workflow: all its open runs, without being asked.")] = False,
    format: FormatOption = None,
) -> int:
    """End a run as cancelled: what works is stopped, nothing new starts but its `finally`.

    With the id of a workflow: all its open runs, which are shown first.
    """
    found: list[Any] = []
    end = answer.carry_out(p.WorkflowStop(id, reason=reason), found.append)
    if not isinstance(end, p.Done) or end.data is None:
        return end.exit_code
    if "runs" not in end.data:
        answer.show_one(end.data, format, run_forms.show_state)
        return end.exit_code
    open_runs = [row["id"] for row in end.data["runs"]]
    if not open_runs:
        printer.tell(f"workflow {id} has no open runs")
        return 0
    if not yes:
        _confirm(id, end.data["runs"])
    command = p.WorkflowStop(id, open_runs, reason)
    return answer.rows(command, run_forms.RUNS, format)


def _confirm(workflow: str, rows: list[Any]) -> None:
    """Show the runs that are to be stopped, and ask. Raises Refused where the answer is not yes."""
    for row in rows:
        printer.tell(f"{row['id']}  {run_forms.state(row)}  since {printer.moment(row['started_at'])}")
    count = f"{len(rows)} open run{'' if len(rows) == 1 else 's'}"
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused(f"that would stop {count} of workflow {workflow}", mend="give --yes, or name one of them")
    printer.tell(f"stop {count} of workflow {workflow}? yes or no")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Refused("nothing was stopped")


def pause(id: RunArgument, format: FormatOption = None) -> int:
    """Start nothing new in a run; what works goes on to its end."""
    return answer.one(p.WorkflowPause(id), format, run_forms.show_state)


def resume(
    id: RunArgument,
    add_budget: Annotated[
        list[str] | None,
        typer.Option(
            "--add-budget",
            metavar="cost=N,tokens=N",
            help="More than it has used: needed where its budget has paused it.",
        ),
    ] = None,
    format: FormatOption = None,
) -> int:
    """Let a run go on that was paused, by a person or by its budget."""
    tokens, cost = added_budget(add_budget or [])
    return answer.one(p.WorkflowResume(id, tokens, cost), format, run_forms.show_state)


def added_budget(values: list[str]) -> tuple[int, float]:
    """Tokens and cost of `cost=5,tokens=N`. Raises Invalid."""
    tokens, cost = 0, 0.0
    for part in comma_separated(values, "--add-budget"):
        name, _, number = part.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        whole = name == "tokens" and value.is_integer()
        if not 0 < value < 1e15 or not (name == "cost" or whole):
            raise Invalid(f"{part!r} is no addition", "--add-budget", "give cost=5, tokens=20000, or both with a comma")
        tokens, cost = (int(value), cost) if whole else (tokens, value)
    return tokens, cost


def approve(id: AskingArgument, step: StepArgument, reason: ReasonOption = "", format: FormatOption = None) -> int:
    """Approve a step that waits for that; the same answer again changes nothing, and says who gave it and when."""
    return answer.one(p.WorkflowAnswer(id, step, True, reason), format, run_forms.show_state)


def reject(id: AskingArgument, step: StepArgument, reason: ReasonOption = "", format: FormatOption = None) -> int:
    """Reject a step that waits for an approval: it fails."""
    return answer.one(p.WorkflowAnswer(id, step, False, reason), format, run_forms.show_state)


COMMANDS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    (
        "status",
        status,
        (
            "maestro workflow status 01J9…",
            "maestro workflow status deploy --trace",
            "maestro workflow status 01J9… | jq '.steps[] | select(.status == \"waiting\") | .waiting_for'",
        ),
    ),
    (
        "runs",
        runs,
        (
            "maestro workflow runs deploy --status failed",
            "maestro workflow runs --waiting",
            "maestro workflow runs --last | jq -r .id",
            "maestro workflow runs deploy --all-time --limit 1000  # from the first one on",
        ),
    ),
    ("logs", logs, ("maestro workflow logs deploy --follow", "maestro workflow logs --last review:3")),
    ("wait", wait, ("maestro workflow wait deploy", "maestro workflow wait 01J9… 01JA… --timeout 1h")),
    ("approve", approve, ("maestro workflow approve 01J9… ask", 'maestro workflow approve 01J9… ask#2 --reason "ok"')),
    ("reject", reject, ('maestro workflow reject 01J9… ask --reason "not on a Friday"',)),
    ("stop", stop, ('maestro workflow stop 01J9… --reason "wrong branch"', "maestro workflow stop deploy --yes")),
    ("pause", pause, ("maestro workflow pause 01J9…",)),
    ("resume", resume, ("maestro workflow resume 01J9…", "maestro workflow resume 01J9… --add-budget cost=5")),
)
