"""`maestro state snapshot|snapshots|verify|pin|unpin`: rollback points of all workspaces and of the log."""

from __future__ import annotations

from typing import Annotated

import typer

from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import CountedOption, FormatOption, absolute, examples
from maestro.cli.printer import Row
from maestro.model.errors import Invalid
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.amounts import size

SnapshotArgument = Annotated[
    str, typer.Argument(help="Id of a snapshot, or `latest`.", autocompletion=completion.snapshots)
]


SNAPSHOTS = (
    Column("id", "SNAPSHOT"),
    Column("taken_at", "TAKEN", printer.moment, leaves=4),
    Column("position", "POSITION", leaves=5),
    Column("reason", "REASON", leaves=6),
    Column("agents", "AGENTS", cuts="end", leaves=7),
    Column("bytes", "SIZE", size, leaves=8),
    Column("added_bytes", "ADDED", size, leaves=1),
    Column("expires_at", "EXPIRES", printer.moment, leaves=3),
    Column("pinned", "PINNED", leaves=2),
    Column("state", "STATE"),
    Column("damaged", "DAMAGED", lambda found: found["why"], cuts="end"),
)
HELD = (
    Column("agent", "AGENT"),
    Column("node", "NODE", leaves=2),
    Column("workspace", "WORKSPACE", wraps=True),
    Column("position", "POSITION", leaves=1),
)
LACKING = (Column("agent", "NOT IN IT"), Column("workspace", "WORKSPACE", wraps=True), Column("why", "WHY", wraps=True))


def add(app: typer.Typer) -> None:
    """Add the commands to the group `state`."""
    app.command(
        "snapshot",
        epilog=examples(
            "maestro state snapshot",
            "maestro state snapshot --output /backups/pr-123-$(date +%s).tar.gz",
            "maestro state snapshot --workspace /tmp/pr-123-review --output /backups/pr-123.tar.gz --include-logs",
        ),
    )(snapshot)
    app.command("snapshots", epilog=examples("maestro state snapshots", "maestro state snapshots --all"))(snapshots)
    app.command(
        "verify",
        epilog=examples(
            "maestro state verify latest", "maestro state verify /backups/pr-123.tar.gz", "maestro state verify --all"
        ),
    )(verify)
    app.command("pin", epilog=examples("maestro state pin s-20260501T120000Z-1a2b"))(pin)
    app.command("unpin", epilog=examples("maestro state unpin s-20260501T120000Z-1a2b"))(unpin)


def snapshot(
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace",
            help="Only this workspace: its path, or its agent; may be repeated. Else all, of all nodes.",
            autocompletion=completion.agents,
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Write it to this tar.gz too, for another place or machine.")
    ] = None,
    include_logs: Annotated[
        bool, typer.Option("--include-logs", help="With what the agents have printed, in the file of --output.")
    ] = False,
    allow_torn: Annotated[
        bool, typer.Option("--allow-torn", help="Keep it though files changed while they were read; it says which.")
    ] = False,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Take it though a workspace is not there, or its node is away; it says which."
        ),
    ] = False,
    rolling: Annotated[
        bool,
        typer.Option("--rolling", help="Pause one agent at a time, each for its own position, and not all at once."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the snapshot's id only.")] = False,
    format: FormatOption = None,
) -> int:
    """Keep all workspaces and the log as they are now.

    Agents at work are paused while theirs is read. What is taken stays: only automatic snapshots, and what is left
    here of one with --output, are deleted after MAESTRO_SNAPSHOT_RETENTION days, unless they are pinned. Workspaces of
    several nodes are kept as of one position, each in the archive of its node; --rolling goes with one node.
    """
    out = "" if output is None else absolute(output, "--output")
    command = p.StateSnapshot(
        workspaces=workspace or [],
        output=out,
        include_logs=include_logs,
        allow_torn=allow_torn,
        allow_missing=allow_missing,
        rolling=rolling,
    )
    return answer.one(command, "table" if quiet else format, _show_id if quiet else _show)


def snapshots(
    all: Annotated[bool, typer.Option("--all", help="Those too that failed or have expired.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many at most.")] = 100,
    counted: CountedOption = False,
    format: FormatOption = None,
) -> int:
    """The snapshots, newest first."""
    return answer.rows(p.StateSnapshots(all=all, limit=limit), SNAPSHOTS, format, "no snapshots", counted)


def verify(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Id of a snapshot, `latest`, or the path of an export.", autocompletion=completion.snapshots
        ),
    ] = None,
    all: Annotated[
        bool,
        typer.Option("--all", help="Instead of one, all that the snapshot store holds: what the scrub does in days."),
    ] = False,
    copies: Annotated[
        bool,
        typer.Option(
            "--copies",
            help="Instead of one, this node's copies in the shared archive; what is damaged is mended from this node.",
        ),
    ] = False,
    format: FormatOption = None,
) -> int:
    """Check a snapshot to the last byte without restoring it.

    The log in it is folded again too. Exit code 6 where something is damaged; it says what. What is damaged is set
    aside, so that the next snapshot keeps it anew from the workspace; what was put back from a copy counts again.
    """
    if [source is not None, all, copies].count(True) != 1:
        raise Invalid("name a snapshot, or one of --all and --copies, and nothing besides", "state verify")
    return answer.one(p.StateVerify(source=source or "", all=all, copies=copies), format)


def pin(id: SnapshotArgument, format: FormatOption = None) -> int:
    """Keep a snapshot for ever."""
    return answer.one(p.StatePin(id=id), format, _show)


def unpin(id: SnapshotArgument, format: FormatOption = None) -> int:
    """Let an automatic snapshot expire again."""
    return answer.one(p.StatePin(id=id, pinned=False), format, _show)


def _show_id(row: Row) -> None:
    printer.write_line(str(row["id"]))


def _show(row: Row) -> None:
    """A snapshot: what it is, then what it holds and lacks, a line each."""
    printer.write_object(row, ("agents", "workspaces", "missing", "parts"))
    if row.get("workspaces"):
        printer.write_table(HELD, row["workspaces"], "")
    if row.get("missing"):
        printer.write_table(LACKING, row["missing"], "")
