"""`maestro agent`: register types, create agents, check their health, stop and start them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import AgentArgument, FormatOption, absolute, examples, snapshot_named
from maestro.cli.printer import Row
from maestro.cli.text_input import read_text
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p

app = typer.Typer(name="agent", help="Agents: their types, workspaces, health and output.")

AGENTS = (
    Column("id", "AGENT"),
    Column("type", "TYPE", leaves=5),
    Column("state", "STATE"),
    Column("role", "ROLE", leaves=3),
    Column("priority", "PRIORITY", leaves=4),
    Column("workspace", "WORKSPACE", cuts="start"),
    Column("node", "NODE", leaves=1),
    Column("task", "TASK", leaves=6),
    Column("heartbeat_age_s", "HEARTBEAT", printer.seconds, leaves=2),
)
USAGE = (
    Column("id", "AGENT"),
    Column("type", "TYPE", leaves=1),
    Column("runs", "RUNS", leaves=3),
    Column("usage", "INPUT", lambda usage: str(usage["input_tokens"])),
    Column("usage", "OUTPUT", lambda usage: str(usage["output_tokens"])),
    Column("usage", "CACHED", lambda usage: str(usage["cached_tokens"]), leaves=2),
    Column("usage", "COST", printer.cost),
)
REGISTERED = (
    Column("slug", "TYPE"),
    Column("adapter", "ADAPTER", leaves=3),
    Column("mode", "MODE"),
    Column("executable", "BINARY", cuts="start"),
    Column("version", "VERSION", leaves=4),
    Column("capabilities", "CAPABILITIES", cuts="end", leaves=2),
    Column("source", "SOURCE", cuts="start", leaves=1),
)
TYPES = (
    Column("slug", "TYPE"),
    Column("usable", "USABLE"),
    Column("adapter", "ADAPTER", leaves=5),
    Column("version", "VERSION", leaves=7),
    Column("mode", "MODE", leaves=6),
    Column("modes", "MODES", wraps=True, leaves=3),
    Column("usage", "USAGE", leaves=4),
    Column("binary", "BINARY", wraps=True, leaves=2),
    Column("source", "SOURCE", wraps=True, leaves=1),
    Column("reason", "REASON", wraps=True),
)
DEFINITION_BYTES_MAX = 1024 * 1024


class Status(StrEnum):
    """States of agents to list."""

    active = "active"
    idle = "idle"
    failed = "failed"
    stopped = "stopped"
    all = "all"


@app.command(
    "register",
    epilog=examples(
        "maestro agent register code-reviewer",
        "maestro agent register --file ./code-reviewer.yaml",
        "maestro agent register        # all types in agents.d",
    ),
)
def register(
    type: Annotated[
        str | None, typer.Argument(help="Slug of a definition in agents.d.", autocompletion=completion.types)
    ] = None,
    file: Annotated[str | None, typer.Option("--file", help="A definition file; `-` is standard input.")] = None,
    format: FormatOption = None,
) -> int:
    """Validate and register a type of agent: one of agents.d, or a file."""
    if type is not None and file is not None:
        raise Invalid("both a type and --file", "agent register", "give one of them")
    definition = None if file is None else read_text(file, "--file", DEFINITION_BYTES_MAX)
    path = file if file in (None, "-") else absolute(str(file), "--file")
    command = p.AgentRegister(type, definition, path)
    if type is None and file is None:
        return answer.rows(command, REGISTERED, format, "no definition in agents.d")
    return answer.one(command, format)


@app.command(
    "assign",
    epilog=examples(
        "maestro agent assign code-reviewer --to-workspace /tmp/pr-123-review --priority 1",
        "maestro agent assign code-reviewer --to-workspace /tmp/pr-124-review --name reviewer-2",
        "maestro agent assign --from-snapshot /backups/pr-123.tar.gz",
        "maestro agent assign code-reviewer --from-snapshot newest --node build-2",
    ),
)
def assign(
    type: Annotated[
        str | None,
        typer.Argument(metavar="[TYPE]", help="Slug of the agent's type.", autocompletion=completion.types),
    ] = None,
    to_workspace: Annotated[
        str | None, typer.Option("--to-workspace", help="The folder it works in; made from the template if absent.")
    ] = None,
    role: Annotated[str | None, typer.Option("--role", help="What it is there for, e.g. backend-dev.")] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=1, max=5, help="1 is the most urgent; 3 if not given.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its id, where it is not the type's slug.")] = None,
    node: Annotated[
        str | None, typer.Option("--node", help="The node that has the workspace.", autocompletion=completion.nodes)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Stop its run, if one is on.")] = False,
    from_snapshot: Annotated[
        str | None,
        typer.Option(
            "--from-snapshot",
            help="Put back every assignment of a snapshot: a file, an id, or `latest`. Absent or empty workspaces are"
            " filled from it. With an agent's id: have that one, whose node is away, go on elsewhere; `newest` is the"
            " newest archive of its workspace.",
            autocompletion=completion.snapshots,
        ),
    ] = None,
    format: FormatOption = None,
) -> int:
    """Create an agent, or give it another role, priority or workspace."""
    if from_snapshot is not None:
        if type is not None:
            if any(each is not None for each in (role, priority, name)):
                what = "--from-snapshot moves an agent as it is"
                raise Invalid(what, mend="name nothing but --node and --to-workspace with it")
            place = None if to_workspace is None else absolute(to_workspace, "--to-workspace")
            source = from_snapshot if from_snapshot == "newest" else snapshot_named(from_snapshot)
            return answer.one(p.AgentMove(type, source, node, place), format, _show_agent)
        if from_snapshot == "newest":
            what = "`newest` is the newest archive of one agent's workspace"
            raise Invalid(what, "--from-snapshot", "name the agent: maestro agent assign ID --from-snapshot newest")
        if any(each is not None for each in (to_workspace, role, priority, name, node)):
            raise Invalid("--from-snapshot puts back all assignments as they were", mend="name nothing else with it")
        return answer.rows(
            p.AgentsPutBack(source=snapshot_named(from_snapshot)), AGENTS, format, "the snapshot holds no agents"
        )
    if type is None:
        raise Invalid("missing argument 'TYPE'", mend="see `maestro agent assign --help`")
    workspace = None if to_workspace is None else absolute(to_workspace, "--to-workspace")
    return answer.one(p.AgentAssign(type, workspace, role, priority, name, node, force), format, _show_agent)


@app.command("list", epilog=examples("maestro agent list --status failed --format json", "maestro agent list --usage"))
def list_(
    status: Annotated[Status, typer.Option("--status", help="Only those in this state.")] = Status.all,
    usage: Annotated[bool, typer.Option("--usage", help="Their runs, tokens and cost.")] = False,
    format: FormatOption = None,
) -> int:
    """All agents: state, role, priority, workspace, node, task, age of the last heartbeat."""
    columns = USAGE if usage else AGENTS
    return answer.rows(p.AgentList(status.value), columns, format, "no agents; see `maestro agent assign --help`")


@app.command("health", epilog=examples("maestro agent health code-reviewer --detail --log-lines 50"))
def health(
    id: AgentArgument,
    detail: Annotated[bool, typer.Option("--detail", help="All that the checks measured.")] = False,
    log_lines: Annotated[int, typer.Option("--log-lines", min=0, max=100_000, help="Lines of its log.")] = 10,
    format: FormatOption = None,
) -> int:
    """Check one agent; exit code 0 when it is healthy, else 1. Text, unless --format json."""
    chosen = "table" if format is None else format.value
    return answer.one(p.AgentHealth(id, detail, log_lines), chosen, _show_health)


@app.command("stop", epilog=examples("maestro agent stop code-reviewer", "maestro agent stop code-reviewer --force"))
def stop(
    id: AgentArgument,
    force: Annotated[bool, typer.Option("--force", help="SIGKILL at once.")] = False,
    format: FormatOption = None,
) -> int:
    """Stop one agent: its run ends, and it takes no more work."""
    return answer.one(p.AgentStop(id, force), format, _show_agent)


@app.command("restart", epilog=examples("maestro agent restart code-reviewer"))
def restart(id: AgentArgument, format: FormatOption = None) -> int:
    """Let a stopped or failed agent take work again."""
    return answer.one(p.AgentRestart(id), format, _show_agent)


@app.command("reset", epilog=examples("maestro agent reset code-reviewer"))
def reset(id: AgentArgument, format: FormatOption = None) -> int:
    """Stop an agent, clear its workspace and make it again from the template."""
    return answer.one(p.AgentReset(id), format, _show_agent)


@app.command("logs", epilog=examples("maestro agent logs code-reviewer --follow", "maestro agent logs x --lines 100"))
def logs(
    id: AgentArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last lines.")] = None,
) -> int:
    """The output of an agent's current or last run."""
    return answer.text(p.AgentLogs(id, follow, lines))


@app.command(
    "types",
    epilog=examples(
        "maestro agent types --check",
        "maestro agent types --show code-reviewer",
        "maestro agent types --schema > agent-type.json  # for `# yaml-language-server: $schema=agent-type.json`",
    ),
)
def types(
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Ask each program for its version and modes; tell what a run would lack (secrets, a login)."
        ),
    ] = False,
    show: Annotated[
        str | None,
        typer.Option(
            "--show",
            metavar="SLUG",
            help="One effective definition, with where each key comes from.",
            autocompletion=completion.types,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON Schema of a definition, for editors; nothing else.")
    ] = False,
    format: FormatOption = None,
) -> int:
    """All definitions: program, version, modes, or why one cannot be used."""
    if schema:
        from maestro.agents.schema import type_schema

        printer.write_json(type_schema())
        return 0
    if show is not None:
        if check:
            raise Invalid("both --check and --show", "agent types", "give one of them")
        return answer.one(p.AgentTypes(show=show), format, _show_definition)
    return answer.rows(p.AgentTypes(check), TYPES, format, "no definitions; see MAESTRO_AGENTS_DIR")


def _show_definition(explained: Row) -> None:
    from maestro.agents.provenance import commented

    for line in commented(explained):
        printer.write_line(line)


def _show_agent(agent: Row) -> None:
    printer.write_object(agent, ("definition", "version"))


def _limit(check: Row) -> str:
    return f"{check['limit']:g} {check.get('unit', '')}".rstrip()


def _show_health(report: Row) -> None:
    printer.write_line(f"status: {report.get('status', 'unhealthy')}")
    for check in report.get("checks", ()):
        state = "failed" if not check.get("ok") else "note" if check.get("notable") else "ok"
        said = f"{state}: {check.get('name', '')}"
        said = f"{said}: {check['detail']}" if check.get("detail") else said
        printer.write_line(said if check.get("limit") is None else f"{said} (limit {_limit(check)})")
        if check.get("mend"):
            printer.write_line(f"  to mend it: {check['mend']}")
    told = ("id", "status", "checks", "mend", "log", "log_truncated", "detail")
    detail: Row = report.get("detail") or {}
    sample = {f"sample {key}": value for key, value in (detail.get("sample") or {}).items()}
    rest = {key: value for key, value in report.items() if key not in told}
    printer.write_object(rest | {key: value for key, value in detail.items() if key != "sample"} | sample)
    log = report.get("log")
    if log:
        printer.write_line("log:")
        printer.write_text("".join(f"{line}\n" for line in ([log] if isinstance(log, str) else log)))
