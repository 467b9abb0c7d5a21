"""`maestro workflow run`: starts a run of a stored workflow, or of a file."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from maestro.cli import completion, printer
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import Row
from maestro.cli.workflow_input import checked, definition_in, is_file, overrides_of, params_of, stem, vars_in
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="A workflow, or a file, which is stored first under its name without the end.",
        autocompletion=completion.workflows,
    ),
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="K=V",
        help="A value of a var; `k=@file` reads a file, `k=-` stdin; `k=@@x` is `@x`.",
    ),
]
VarsOption = Annotated[
    str | None, typer.Option("--vars", metavar="FILE", help="JSON: values of vars; --param comes before it.")
]
VersionOption = Annotated[int | None, typer.Option("--version", min=1, help="Of all versions, else the newest.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="The same key gives the same run.")]
PriorityOption = Annotated[int | None, typer.Option("--priority", min=1, max=5, help="1 is the most urgent.")]
TraceOption = Annotated[bool, typer.Option("--trace", help="Prefix each line of output with its time and step.")]
OverrideOption = Annotated[
    list[str] | None,
    typer.Option(
        "--agent-override",
        metavar="A=B",
        help="B works for A, `*` for all; `echo` is built in: it answers its prompt.",
    ),
]
ResumeOption = Annotated[
    str,
    typer.Option(
        "--resume-from",
        metavar="STEP",
        help="Go on from a step, an item (STEP:i) or what `failed`, in a new run.",
        autocompletion=completion.beginnings,
    ),
]
OldRunOption = Annotated[
    str,
    typer.Option(
        "--run",
        help="With --resume-from: of this run, else of the newest that has ended.",
        autocompletion=completion.runs,
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="With --files restore: also where another run worked there since.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only print the order, the agents, and the prompts that are known already.")
]


class Files(StrEnum):
    """What becomes of the workspaces of what runs again."""

    keep = "keep"
    restore = "restore"


FilesOption = Annotated[
    Files,
    typer.Option("--files", help="With --resume-from: leave the workspaces, or bring them back from before the step."),
]
EXAMPLES = examples(
    "maestro workflow run deploy --param branch=main",
    "maestro workflow run deploy.yaml --param notes=@notes.md --async",
    "maestro workflow run review --resume-from failed",
    "maestro workflow run review --resume-from fix --run 01J9… --files restore",
    "maestro workflow run deploy --agent-override '*=echo'  # to try it without an AI",
    "maestro workflow run deploy --dry-run",
)


def start_command(source: str, **options: Any) -> p.WorkflowStart:
    """The command that starts a run. options: as `run` has them. Raises Invalid, NotFound."""
    from maestro.runtime.node.ids import made_key

    definition, file, name = "", "", source
    if is_file(source):
        definition, file = definition_in(source)
        name = stem(source)
        if not name:
            mend = "store it: maestro workflow create NAME --definition FILE, then maestro workflow run NAME"
            raise Invalid("gives no id of a workflow", file, mend)
        if not definition:
            raise Invalid("is empty", file, "write at least one step; maestro help workflows has examples")
    key = options.pop("key")
    if key is not None and not key.strip():
        raise Invalid("is empty", "--key", "give a text, or leave it out; is a variable of your script not set?")
    vars_file = options.pop("vars")
    return p.WorkflowStart(
        name,
        definition,
        file,
        vars=vars_in(vars_file),
        vars_file=f"--vars {vars_file}" if vars_file else "",
        params=params_of(options.pop("param")),
        overrides=overrides_of(options.pop("override")),
        key=key or made_key(),
        first=not key,
        **options,
    )


def run(
    source: SourceArgument,
    param: ParamOption = None,
    vars: VarsOption = None,
    version: VersionOption = None,
    key: KeyOption = None,
    priority: PriorityOption = None,
    trace: TraceOption = False,
    override: OverrideOption = None,
    resume_from: ResumeOption = "",
    old: OldRunOption = "",
    files: FilesOption = Files.keep,
    force: ForceOption = False,
    dry_run: DryRunOption = False,
    async_: Annotated[bool, typer.Option("--async", help="Return at once, with the run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the run's id only.")] = False,
    format: FormatOption = None,
) -> int:
    """Start a run of a workflow, and see it to its end: exit code 0 where it completed, else as its agent's, or 1.

    On a terminal its steps are shown as a tree. Ctrl-C leaves it running.
    """
    command = start_command(
        source,
        param=param,
        vars=vars,
        version=version or 0,
        key=key,
        priority=priority,
        trace=trace,
        override=override,
        resume=resume_from,
        run=old,
        files=files.value,
        force=force,
        dry_run=dry_run,
    )
    if dry_run:
        return checked(command, format, show_preview)[0]
    if async_:
        return checked(command, "table" if quiet else format, _show_id)[0]
    started: list[Row] = []
    code, _ = checked(command, "table", started.append)
    return _see(started[0], format, quiet) if started else code


def _see(run: Row, format: str | None, quiet: bool) -> int:
    """Wait for a run that was started, and show it."""
    from maestro.cli import live_run, run_forms

    run_id = str(run["id"])
    if quiet:
        return live_run.follow(run_id, "table", quiet=True, show=run_forms.show_id)
    printer.tell(run_forms.introduced(run))
    return live_run.follow(run_id, format, introduced=True)


def add(app: typer.Typer) -> None:
    """Add the command to its group."""
    app.command("run", epilog=EXAMPLES)(run)


def _show_id(row: Row) -> None:
    printer.write_line(str(row["id"]))


def show_preview(row: Row) -> None:
    """Print what a run would do: a paragraph a step, in their order."""
    version = f"version {row['version']}" if row["version"] else "not stored yet"
    printer.write_line(f"workflow {row['workflow']}, {version}; nothing was started")
    for name, value in row["params"].items():
        printer.write_line(f"  {name} = {printer.value_text(value)}")
    for label in ("group", "resumed_from"):
        if row[label]:
            printer.write_line(f"  {label.replace('_', ' ')}: {row[label]}")
    for number, step in enumerate(sorted(row["steps"], key=lambda one: bool(one["only_after_failure"])), 1):
        printer.write_line(f"{number}. {step['id']}: {_who(step)}{_when(step)}")
        for line in str(step["prompt"] or "").splitlines():
            printer.write_line(f"     {line}")
        if step["why"]:
            printer.write_line(f"     (not known yet: {step['why']})")


def _who(step: Row) -> str:
    if step["does"] == "agent":
        others = [one for one in step["agents"] if one != step["chosen"]]
        behind = f" (of {', '.join(step['agents'])})" if others else ""
        return f"agent {step['chosen'] or step['agents'][0]}{behind}"
    if step["does"] == "run":
        return (
            "command" if step["chosen"] in (None, "run", "echo") else f"command, in the workspace of {step['chosen']}"
        )
    return f"workflow {step['workflow']}" if step["does"] == "workflow" else "approval"


def _when(step: Row) -> str:
    told = [f"after {', '.join(step['needs'])}"] if step["needs"] else []
    told += ["only after a failure or at the end"] if step["only_after_failure"] else []
    told += ["taken over, does not run again"] if step["reused"] else []
    return f", {', '.join(told)}" if told else ""
