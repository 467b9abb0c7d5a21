"""What a restore would change, in figures: the files of each workspace, events, agents, room on the disk."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence

import trio

from maestro.model.errors import MaestroError, VerificationFailed
from maestro.model.events import Event
from maestro.model.restore import Archived, Fate, Span
from maestro.runtime.node.context import Context
from maestro.runtime.restores.across.room import disks_of, mark
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.origin import Origin
from maestro.runtime.restores.plan import Placement, RestorePlan
from maestro.runtime.server.rows import Row, damaged_row, when
from maestro.workspaces import untracked
from maestro.workspaces.archive.format.entries import FOLDER
from maestro.workspaces.archive.write.diff import Change, Diff
from replayers import positions
from replayers.log_reader import history

LISTED_MAX = 1000
"""How many names and events of each kind are listed; all are counted."""
ENTRY_BYTES = 1024
OFF_LINE = ("node.", "snapshot.", "restore.", "log.", "alert.")
"""Prefixes of the types of events that a restore does not undo."""
OF_WORKFLOW = "workflow-run:"


async def preview(context: Context, planned: RestorePlan, origins: OpenOrigins, whole: bool = False) -> Row:
    """The answer of `restore --dry-run`. whole: what has not changed is written again, as over several nodes."""
    fates = {fate.agent: fate for fate in planned.fates}
    agents = []
    damaged: list[Row] = []
    for placement in planned.placements:
        row = await _workspace(context, planned, placement, origins, whole)
        damaged += row.pop("damaged", [])
        agents.append(row | _fate(fates.pop(placement.agent, None)))
    for fate in fates.values():
        agents.append({"agent": fate.agent, "workspace": None} | _fate(fate))
    needed = {row["workspace"]: row["disk_needed_bytes"] for row in agents if "disk_needed_bytes" in row}
    disks = await trio.to_thread.run_sync(disks_of, needed)
    mark(planned.placements, disks)
    why_not = {each.agent: each.why_not for each in planned.placements if each.why_not}
    for row in agents:
        row["why_not"] = row.get("why_not") or why_not.get(row["agent"])
    return {
        "restore": "dry run",
        "source": planned.source,
        "position": planned.past.position,
        "at": when(planned.past.at),
        "state_restored": planned.to is not None,
        "log_loaded": planned.loads,
        "agents": agents,
        "stopped": [fate.agent for fate in planned.fates if fate.stopped],
        "restarted": [fate.agent for fate in planned.fates if fate.restarted],
        "undone": await _events(context, planned.undone),
        "regained": await _events(context, planned.regained),
        "damaged": damaged,
        "open_tasks": [task.id for task in planned.past.tasks] if planned.to is not None else [],
        "open_workflow_runs": [run.id for run in planned.past.runs] if planned.to is not None else [],
        "disk_needed_bytes": sum(needed.values()),
        "disk_free_bytes": min((disk.free for disk in disks), default=None),
        "disks": [disk.row(context.node) for disk in disks],
        "failing": [
            {"agent": each.agent, "workspace": each.workspace, "why": each.why_not} for each in planned.failing
        ],
    }


async def _workspace(
    context: Context, planned: RestorePlan, placement: Placement, origins: OpenOrigins, whole: bool
) -> Row:
    row: Row = {"agent": placement.agent, "workspace": placement.workspace, "why_not": placement.why_not or None}
    if placement.is_foreign:
        row["foreign"] = True
    if placement.recorded != placement.workspace:
        row["recorded_workspace"] = placement.recorded
    if placement.archived is None:
        return row
    if placement.is_foreign and placement.why_not:
        row["why_not"] = f"{placement.why_not}: --replace-foreign {shlex.quote(placement.workspace)} replaces it"
    row |= await _apart(context, planned, placement.archived)
    if placement.why_not:
        return row
    origin = await origins.snapshot(placement.archived.snapshot, placement.archived.node)
    try:
        lost = await trio.to_thread.run_sync(origin.lost, placement.archived.held.tree)
        changes = await trio.to_thread.run_sync(
            _changes, origin, placement.archived.held.tree, placement.workspace, whole or not origin.reuses
        )
    except MaestroError as error:
        placement.why_not, placement.damaged = error.line(), isinstance(error, VerificationFailed)
        return row | {"why_not": placement.why_not}
    return row | changes | {"damaged": [damaged_row(placement.agent, placement.workspace, one) for one in lost]}


async def _apart(context: Context, planned: RestorePlan, archived: Archived) -> Row:
    """Which archive a workspace comes from, and how many events and seconds it is from the position restored to."""
    taken = planned.past.at
    if archived.position != planned.past.position:
        taken = await context.call(positions.time_of, context.store.log, archived.position)
    return {
        "snapshot": archived.snapshot,
        "archived_position": archived.position,
        "archived_at": when(taken),
        "events_apart": planned.past.position - archived.position,
        "seconds_apart": round((planned.past.at - taken) / 1000, 3),
    }


def _changes(origin: Origin, tree: str, workspace: str, whole: bool) -> Row:
    diff = origin.diff(tree, workspace)
    going = [change.path for change in (*diff.deleted, *diff.changed) if change.kind != FOLDER]
    lost = untracked.unrecoverable(workspace, going)
    written = origin.room(tree)
    if not whole:
        written = min(written, sum(change.bytes for change in (*diff.added, *diff.changed)))
    return {
        "added": _told(diff.added),
        "changed": _told(diff.changed),
        "deleted": _told(diff.deleted),
        "unchanged": {"files": diff.unchanged, "bytes": diff.unchanged_bytes},
        "lost": {
            "untracked": _listed(lost.untracked),
            "ignored": _listed(lost.ignored),
            "not_in_git": _listed(lost.unknown),
        },
        "disk_needed_bytes": written + ENTRY_BYTES * _entries(diff),
    }


def _told(changes: Sequence[Change]) -> Row:
    files = [change for change in changes if change.kind != FOLDER]
    return {
        "files": len(files),
        "bytes": sum(change.bytes for change in files),
        **_names([each.path for each in files]),
    }


def _listed(paths: Sequence[str]) -> Row:
    return {"files": len(paths), **_names(paths)}


def _names(paths: Sequence[str]) -> Row:
    return {"paths": [path.encode("utf-8", "replace").decode() for path in sorted(paths)[:LISTED_MAX]]}


def _entries(diff: Diff) -> int:
    return len(diff.added) + len(diff.changed) + diff.unchanged


def _fate(fate: Fate | None) -> Row:
    if fate is None:
        return {"change": "stays", "stopped": False, "restarted": False, "running_task": None}
    return {
        "change": fate.change,
        "stopped": fate.stopped,
        "restarted": fate.restarted,
        "running_task": fate.task or None,
    }


async def _events(context: Context, spans: Sequence[Span]) -> Row:
    return await trio.to_thread.run_sync(_counted, context, spans)


def _counted(context: Context, spans: Sequence[Span]) -> Row:
    """How many events, of those that the restore undoes, there are at these positions. Blocks; cost: O(events)."""
    kinds: Counter[str] = Counter()
    listed: list[Row] = []
    tasks: dict[str, None] = {}
    runs: dict[str, None] = {}
    for first, last in spans:
        for events in history(context.store, first - 1, last):
            for event in _on_line(events):
                kinds[event.type] += 1
                if task := getattr(event.fact, "task", ""):
                    tasks[task] = None
                if event.subject.startswith(OF_WORKFLOW):
                    runs[event.subject.removeprefix(OF_WORKFLOW)] = None
                listed.append(_listed_event(event))
            del listed[:-LISTED_MAX]
    types = dict(sorted(kinds.items()))
    found = {"tasks": list(tasks), "workflow_runs": list(runs), "newest": listed[::-1]}
    return {"events": kinds.total(), "types": types, **found}


def _listed_event(event: Event) -> Row:
    told = {"seq": event.seq, "at": when(event.at), "type": event.type, "subject": event.subject}
    return told | {"actor": event.actor}


def _on_line(events: Iterable[Event]) -> Iterable[Event]:
    return (event for event in events if not event.type.startswith(OFF_LINE))
