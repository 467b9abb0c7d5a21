"""`maestro state restore|rollback`: go back to a snapshot, to a file, or to any time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from maestro import config
from maestro.cli import answer, completion, printer
from maestro.cli.column import Column
from maestro.cli.options import TIME_HELP, FormatOption, absolute, examples, snapshot_named
from maestro.cli.printer import Row
from maestro.cli.whereabouts import FolderHint
from maestro.model.errors import Invalid, TimedOut
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.amounts import size

END_S_MAX = 30.0
AGAIN_S = 0.1
DAMAGED_MAX = 100
NAMED_MAX = 10
"""At most so many names of each kind are shown; --format json has them all."""

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PATH|ID]",
        help="Path of an export, id of a snapshot, or `latest`. With --at it may be left out.",
        autocompletion=completion.snapshots,
    ),
]
SkipFailedOption = Annotated[
    bool,
    typer.Option(
        "--skip-failed",
        help="Go on past workspaces that cannot be put back, which stay as they are, and past files that are damaged,"
        " which are not put back; all are listed. Exit code 6 where anything is damaged.",
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        help=f"The state as it was then; each workspace from its newest archive at or before it. {TIME_HELP} A bare"
        " number is a position.",
    ),
]
WorkspaceOption = Annotated[
    str | None,
    typer.Option(
        "--workspace",
        help="Put back the files of this workspace only: its path, or the id of its agent.",
        autocompletion=completion.agents,
    ),
]
ForeignOption = Annotated[
    list[str] | None,
    typer.Option(
        "--replace-foreign",
        metavar="PATH",
        help="This folder may be replaced though it is no agent's here, lies outside MAESTRO_WORKSPACE_ROOT and is not"
        " empty. Once for each; what is in it is kept in the snapshot that undoes the restore.",
    ),
]
ResumeOption = Annotated[
    bool, typer.Option("--resume-queued", help="What was queued or running then goes on, instead of being cancelled.")
]

WORKSPACES = (
    Column("agent", "AGENT"),
    Column("workspace", "WORKSPACE", wraps=True, leaves=5),
    Column("snapshot", "FROM", leaves=3),
    Column("events_apart", "EVENTS APART", leaves=2),
    Column("added", "ADDED", lambda value: _files(value)),
    Column("changed", "CHANGED", lambda value: _files(value)),
    Column("deleted", "DELETED", lambda value: _files(value)),
    Column("unchanged", "UNCHANGED", lambda value: _files(value), leaves=1),
    Column("change", "AGENT THEN", leaves=4),
    Column("why_not", "CANNOT BE PUT BACK", wraps=True),
)
DAMAGED = (
    Column("agent", "AGENT"),
    Column("path", "FILE NOT PUT BACK", wraps=True),
    Column("why", "WHY", wraps=True),
)
DONE = (
    Column("agent", "AGENT"),
    Column("workspace", "WORKSPACE", wraps=True),
    Column("snapshot", "FROM", leaves=2),
    Column("events_apart", "EVENTS APART", leaves=1),
    Column("why", "LEFT AS IT IS", wraps=True),
)


def add(app: typer.Typer) -> None:
    """Add the commands to the group `state`."""
    app.command(
        "restore",
        epilog=examples(
            "maestro state restore latest --dry-run",
            "maestro state restore /backups/pr-123.tar.gz",
            "maestro state restore --at 10m",
            "maestro state restore latest --workspace /tmp/pr-123-review",
        ),
    )(restore)
    app.command(
        "rollback", epilog=examples("maestro state rollback latest", "maestro state rollback latest --skip-verify")
    )(rollback)


def restore(
    source: SourceArgument = None,
    skip_failed: SkipFailedOption = False,
    dry_run: DryRunOption = False,
    at: AtOption = None,
    workspace: WorkspaceOption = None,
    resume_queued: ResumeOption = False,
    replace_foreign: ForeignOption = None,
    format: FormatOption = None,
) -> int:
    """Put all workspaces and the state back as they were. What is there now is kept in a snapshot first.

    Running agents are stopped. The log is not rewritten: what is undone stays in the audit trail, and the command that
    undoes the restore is printed. Into an empty store the log is loaded from the snapshot.
    """
    command = p.StateRestore(
        source=_source(source, at),
        at=at,
        workspace=_workspace(workspace),
        skip_failed=skip_failed,
        resume_queued=resume_queued,
        replace_foreign=_foreign(replace_foreign),
    )
    return _preview(command, format) if dry_run else _carry_out(command, format)


def rollback(
    source: SourceArgument = None,
    skip_verify: Annotated[
        bool,
        typer.Option("--skip-verify", help="Do not read all of it before the start; each byte is checked as written."),
    ] = False,
    skip_failed: SkipFailedOption = False,
    dry_run: DryRunOption = False,
    at: AtOption = None,
    workspace: WorkspaceOption = None,
    resume_queued: ResumeOption = False,
    replace_foreign: ForeignOption = None,
    format: FormatOption = None,
) -> int:
    """As `restore`, under its name in an incident."""
    command = p.StateRestore(
        source=_source(source, at),
        at=at,
        workspace=_workspace(workspace),
        skip_failed=skip_failed,
        skip_verify=skip_verify,
        resume_queued=resume_queued,
        rollback=True,
        replace_foreign=_foreign(replace_foreign),
    )
    return _preview(command, format) if dry_run else _carry_out(command, format)


def _source(source: str | None, at: str | None) -> str | None:
    if source is None and at is None:
        raise Invalid("missing argument 'PATH|ID'", mend="name a file, an id or `latest`, or a time with --at")
    return None if source is None else snapshot_named(source)


def _workspace(workspace: str | None) -> str | None:
    return absolute(workspace, "--workspace") if workspace is not None and "/" in workspace else workspace


def _foreign(paths: list[str] | None) -> tuple[str, ...]:
    return tuple(absolute(path, "--replace-foreign") for path in paths or ())


def _preview(command: p.StateRestore, format: str | None) -> int:
    asked = p.RestorePreview(
        source=command.source,
        at=command.at,
        workspace=command.workspace,
        skip_failed=command.skip_failed,
        skip_verify=command.skip_verify,
        replace_foreign=command.replace_foreign,
    )
    return answer.one(asked, format, _show_preview)


def _carry_out(command: p.StateRestore, format: str | None) -> int:
    hint = FolderHint()
    if command.source is None or command.at is not None or command.workspace is not None:
        return answer.one(command, format, _show_done, hint.give)
    end = _into_empty(command, command.source)
    if isinstance(end, p.Failed):
        return end.exit_code
    if end.data["log"] == "there":
        return answer.one(command, format, _show_done, hint.give)
    code = 0
    if config.load().autostart:  # tasks that continue need a daemon
        code = answer.carry_out(p.Up(), lambda _: None).exit_code
    answer.show_one(end.data["restore"], format, _show_done, hint.give)
    return end.exit_code or code


def _into_empty(command: p.StateRestore, source: str) -> p.Done | p.Failed:
    """Restore into an empty log, loading it first; where the log is not empty, the answer is `there` and nothing is
    done.

    A daemon that started with the empty log has to end for it, and is waited for.
    """
    from maestro.runtime.client import daemon_start

    asked = p.RestoreLoad(
        source=source,
        skip_failed=command.skip_failed,
        skip_verify=command.skip_verify,
        resume_queued=command.resume_queued,
        rollback=command.rollback,
        replace_foreign=command.replace_foreign,
    )
    deadline = time.monotonic() + END_S_MAX
    while time.monotonic() < deadline:
        end = answer.carry_out(asked, lambda _: None)
        if isinstance(end, p.Failed) or end.data["log"] != "again":
            return end
        time.sleep(AGAIN_S)
        while (
            daemon_start.answers(config.socket_path(config.load().home, "daemon.sock")) and time.monotonic() < deadline
        ):
            time.sleep(0.05)
    raise TimedOut(f"the daemon of this node did not end within {END_S_MAX:.0f} s", mend="maestro shutdown, then again")


def _show_preview(row: Row) -> None:
    state = "the state as of it" if row["state_restored"] else "files only, the state stays"
    printer.write_line(f"{row['source']}: position {row['position']}, {printer.moment(row['at'])}; {state}")
    if row["log_loaded"]:
        printer.write_line("the log is empty here: it is loaded first")
    printer.write_table(WORKSPACES, row["agents"], "no agents, and no workspaces")
    _show_damaged(row.get("damaged", []))
    for agent in row["agents"]:
        if agent.get("recorded_workspace"):
            printer.write_line(f"{agent['agent']}: {agent['recorded_workspace']} becomes {agent['workspace']}")
        if agent.get("foreign") and not agent.get("why_not"):
            printer.write_line(f"{agent['agent']}: {agent['workspace']} is no agent's folder here, and is replaced")
        for kind, listed in agent.get("lost", {}).items():
            _show_names(f"{agent['agent']}: {kind.replace('_', ' ')}, would be lost", listed["files"], listed["paths"])
    for what in ("undone", "regained"):
        events = row[what]
        if events["events"]:
            kinds = ", ".join(f"{count} {kind}" for kind, count in events["types"].items())
            printer.write_line(f"events {what}: {events['events']} ({kinds})")
            _show_names(f"tasks {what}", len(events["tasks"]), events["tasks"])
            _show_names(f"workflow runs {what}", len(events["workflow_runs"]), events["workflow_runs"])
    for what, names in (
        ("agents stopped", row["stopped"]),
        ("agents restarted", row["restarted"]),
        ("tasks open then, cancelled unless --resume-queued", row["open_tasks"]),
        ("workflow runs open then, cancelled unless --resume-queued", row["open_workflow_runs"]),
    ):
        _show_names(what, len(names), names)
    free = row["disk_free_bytes"]
    of = f" of {size(free)} free" if free is not None else ""
    disks = row.get("disks", [])
    if len(disks) > 1:
        for disk in disks:
            needed, left = size(disk["disk_needed_bytes"]), size(disk["disk_free_bytes"])
            printer.write_line(f"disk needed on node {disk['node']}, {disk['path']}: about {needed} of {left} free")
        return
    printer.write_line(f"disk needed: about {size(row['disk_needed_bytes'])}{of}")


def _show_damaged(damaged: list[Row]) -> None:
    if damaged:
        printer.write_table(DAMAGED, damaged[:DAMAGED_MAX], "")
    if len(damaged) > DAMAGED_MAX:
        printer.write_line(f"and {len(damaged) - DAMAGED_MAX} more; --format json has them all")


def _show_names(what: str, count: int, names: list[str]) -> None:
    if count:
        more = f" and {count - NAMED_MAX} more" if count > NAMED_MAX else ""
        printer.write_line(f"{what}: {', '.join(names[:NAMED_MAX])}{more}")


def _show_done(row: Row) -> None:
    printer.write_line(f"restored from {row['source']}: position {row['position']}, {printer.moment(row['at'])}")
    printer.write_table(DONE, [*row["workspaces"], *row["skipped"]], "no workspaces")
    _show_damaged(row.get("damaged", []))
    for what in ("cancelled", "resumed"):
        _show_names(f"tasks {what}", len(row[what]), row[what])
        runs = row[f"{what}_workflow_runs"]
        _show_names(f"workflow runs {what}", len(runs), runs)


def _files(value: Mapping[str, Any]) -> str:
    return f"{value['files']} ({size(value['bytes'])})" if value["files"] else "0"
