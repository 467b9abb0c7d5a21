"""`maestro workflow`: definitions of workflows, checked, stored and drawn; and runs of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maestro.cli import answer, completion, printer, workflow_runs, workflow_start
from maestro.cli.column import Column
from maestro.cli.options import FormatOption, examples
from maestro.cli.printer import Row
from maestro.cli.workflow_input import (
    checked,
    definition_in,
    is_file,
    print_complaint,
    print_diff,
    stem,
    vars_in,
)
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="workflow", help="Workflows: steps with needs, loops, approvals, in one YAML file.")
workflow_start.add(app)
workflow_runs.add_to(app)

WORKFLOWS = (
    Column("id", "WORKFLOW"),
    Column("version", "VERSION"),
    Column("title", "TITLE", cuts="end", leaves=4),
    Column("schedules", "SCHEDULES", leaves=3),
    Column("enabled", "ENABLED", leaves=2),
    Column("stored_at", "STORED", printer.moment, leaves=1),
    Column("by", "BY", cuts="end", leaves=5),
)
FileArgument = Annotated[str, typer.Argument(metavar="YAML", help="A definition; `-` reads standard input.")]
WorkflowArgument = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a workflow.", autocompletion=completion.workflows)
]


class ShowFormat(StrEnum):
    """Formats of a stored definition."""

    yaml = "yaml"
    json = "json"
    table = "table"


@app.command(
    "create",
    epilog=examples(
        "maestro workflow create deploy --definition deploy.yaml",
        "maestro workflow create nightly --definition nightly.yaml --vars staging.json",
    ),
)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its id; `name` in the file is a title.")],
    definition: Annotated[
        str | None, typer.Option("--definition", metavar="YAML", help="The file; `-` is standard input. Required.")
    ] = None,
    vars: Annotated[
        str | None, typer.Option("--vars", metavar="FILE", help="JSON: values over the defaults of its vars.")
    ] = None,
    format: FormatOption = None,
) -> int:
    """Check a definition and store it as a new version; the newest one again is no new version.

    All that is wrong is told at once, each as FILE:LINE:COL, and exits 2.
    """
    if definition is None:
        named = (stem(name) or "ID", name) if name.endswith((".yaml", ".yml")) else (name, "FILE.yaml")
        mend = f"maestro workflow create {named[0]} --definition {named[1]}"
        raise Invalid("the file goes behind --definition", "workflow create", mend)
    text, file = definition_in(definition)
    command = p.WorkflowCreate(name, text, file, vars_in(vars), f"--vars {vars}" if vars else "")
    return checked(command, format, _show_version)[0]


@app.command(
    "validate",
    epilog=examples(
        "maestro workflow validate deploy.yaml",
        "maestro workflow validate - < deploy.yaml",
        "maestro workflow validate deploy.yaml --offline  # in CI: needs no agents, and no store",
    ),
)
def validate(
    file: FileArgument,
    offline: Annotated[
        bool, typer.Option("--offline", help="Unknown agents and workflows are warnings; nothing is asked.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """Check a definition without storing it: all its errors at once, each as FILE:LINE:COL."""
    text, name = definition_in(file)
    found: list[Row] = []

    def take(row: Row) -> None:
        found.append(row)
        print_complaint(row)

    if offline:
        from maestro.cli.offline_check import offline_complaints

        for one in offline_complaints(text, name):
            take(one)
        code = 2 if any(row["level"] == "error" for row in found) else 0
    else:
        end = answer.carry_out(p.WorkflowCheck(text, name, stem(file)), take)
        if isinstance(end, p.Failed):
            return end.exit_code
        code = end.exit_code
    if printer.wants_json(format):
        errors = [row for row in found if row["level"] == "error"]
        rest = [row for row in found if row["level"] != "error"]
        printer.write_json({"valid": not code, "file": name, "errors": errors, "warnings": rest})
    elif not code:
        printer.write_line("valid")
    return code


@app.command("list", epilog=examples("maestro workflow list", "maestro workflow list | jq -r '.[].id'"))
def list_(format: FormatOption = None) -> int:
    """What is stored, what changed last first."""
    return answer.rows(p.WorkflowList(), WORKFLOWS, format, "no workflows: maestro workflow create stores one")


@app.command(
    "show",
    epilog=examples(
        "maestro workflow show deploy",
        "maestro workflow show deploy --version 2 --format yaml > deploy.yaml",
        "maestro workflow show deploy --format json | jq .definition",
    ),
)
def show(
    id: WorkflowArgument,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Of all versions, else the newest.")] = None,
    format: Annotated[
        ShowFormat | None, typer.Option("--format", help="yaml (as it was written), json or table; yaml on a terminal.")
    ] = None,
) -> int:
    """A stored definition as it was written; as JSON with its versions, its digest, when and by whom."""
    chosen = "json" if format is None and not printer.is_terminal() else format
    shows = _show_version if chosen == "table" else _show_source
    return answer.one(p.WorkflowShow(id, version or 0), "json" if chosen == "json" else "table", shows)


@app.command("diff", epilog=examples("maestro workflow diff deploy 1 2"))
def diff(
    id: WorkflowArgument,
    a: Annotated[int, typer.Argument(metavar="A", min=1, help="A version.")],
    b: Annotated[int, typer.Argument(metavar="B", min=1, help="The other one.")],
    format: FormatOption = None,
) -> int:
    """What changed between two versions, as a unified diff; nothing where they are the same. Exits 0."""
    return answer.one(p.WorkflowDiff(id, a, b), format, lambda row: print_diff(str(row["diff"])))


@app.command("delete", epilog=examples("maestro workflow delete deploy"))
def delete(id: WorkflowArgument, format: FormatOption = None) -> int:
    """Delete a workflow; refused while a run of it is open. Its history stays, and its versions are counted on."""
    return answer.one(p.WorkflowDelete(id), format)


@app.command("enable", epilog=examples("maestro workflow enable nightly"))
def enable(id: WorkflowArgument, format: FormatOption = None) -> int:
    """Switch the schedules of a workflow on."""
    return answer.one(p.WorkflowSwitch(id, True), format)


@app.command("disable", epilog=examples("maestro workflow disable nightly"))
def disable(id: WorkflowArgument, format: FormatOption = None) -> int:
    """Switch the schedules of a workflow off; it can still be run."""
    return answer.one(p.WorkflowSwitch(id, False), format)


@app.command(
    "graph",
    epilog=examples(
        "maestro workflow graph deploy", "maestro workflow graph deploy.yaml --mermaid", "maestro workflow graph 01J9…"
    ),
)
def graph(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A workflow, a run, a file, or `-`.", autocompletion=completion.workflows
        ),
    ],
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart.")] = False,
) -> int:
    """Draw the steps; of a run with what became of them."""
    if not is_file(source):
        return answer.text(p.WorkflowGraph(source, mermaid))
    from maestro.documents.workflow_file import read_workflow
    from maestro.model.workflow import drawing

    text, name = definition_in(source)
    reading = read_workflow(text, name)
    for one in reading.complaints:
        print_complaint({"text": one.text(name)})
    if reading.workflow is None or not reading.is_valid:
        return 2
    for line in drawing.mermaid(reading.workflow) if mermaid else drawing.lines(reading.workflow):
        printer.write_line(line)
    return 0


@app.command("schema", epilog=examples("maestro workflow schema > workflow.json"))
def schema() -> int:
    """The JSON Schema of a definition, for editors: `# yaml-language-server: $schema=workflow.json`."""
    from maestro.documents.json_schema import json_schema
    from maestro.documents.workflow_file import DURATIONS
    from maestro.model.workflow.definition import Workflow

    printer.write_json(json_schema(Workflow, "Maestro workflow", DURATIONS))
    return 0


def _show_version(row: Row) -> None:
    printer.write_object(row, ("definition", "source", "versions"))


def _show_source(row: Row) -> None:
    text = str(row["source"])
    if row.get("deleted"):
        printer.tell(f"workflow {row['id']} is deleted; this is its version {row['version']}")
    printer.write_text(text if text.endswith("\n") else f"{text}\n")
