"""What a dry run has shown to whom is about to confirm it: what is done then loses nothing that was not shown.

The log grows while somebody reads, and what was shown goes on: that is no reason to refuse. Another position, archive
or workspace is, and files that nobody at work there has changed, and what somebody has asked for since.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from maestro.model.errors import Conflict

KEPT_MAX = 64
PASSING = ("disk_free_bytes", "disk_needed_bytes", "disks", "agents", "undone", "regained")
"""Of a dry run, what changes by itself and changes nothing of what would be done; and what is compared apart."""
FILES = ("added", "changed", "deleted", "unchanged", "lost", "disk_needed_bytes")
"""Of a workspace, what there is in its files."""
BY_ITSELF = ("run:", "scheduler:", "node:", "worker:", "monitor:")
"""Actors of what goes on by itself; all others are persons, and programs of theirs."""
BEGUN = ("task.dispatched", "workflow_run.started")
OFF_SUBJECTS = ("agent:", "workspaces:")
"""Subjects of the log of whose change the rows of the agents tell."""
AGAIN = "look at it again"
SHOWN_MAX = 3


class _Workspace(NamedTuple):
    """A row of a workspace: digests of what is done to it, and of its files; whether a task is at work in it."""

    of: bytes
    files: bytes
    is_busy: bool


class _Shown(NamedTuple):
    """What was shown: for which act, a digest of each part, the workspaces, and the ids of what is undone."""

    act: bytes
    parts: dict[str, bytes]
    workspaces: dict[str, _Workspace]
    subjects: frozenset[str]


class Confirmations:
    """The dry runs that were shown last, each by its token, which serves once."""

    def __init__(self) -> None:
        self._shown: OrderedDict[str, _Shown] = OrderedDict()

    def show(self, action: str, arguments: Mapping[str, Any], dry_run: Mapping[str, Any]) -> str:
        """Note what is shown now; the token by which it is confirmed."""
        token = secrets.token_urlsafe(16)
        self._shown[token] = _Shown(
            _digest([action, arguments]), _parts(dry_run), _workspaces(dry_run), frozenset(_subjects(dry_run))
        )
        while len(self._shown) > KEPT_MAX:
            self._shown.popitem(last=False)
        return token

    def known(self, token: str, action: str, arguments: Mapping[str, Any]) -> None:
        """Raise Conflict unless this very act was shown under the token."""
        shown = self._shown.get(token)
        if shown is None or shown.act != _digest([action, arguments]):
            raise Conflict("what would be done was not shown, or was confirmed before", "confirm", AGAIN)

    def take(self, token: str, dry_run: Mapping[str, Any]) -> None:
        """Use up a token that is known. Raises Conflict where what would be done now, or lost, was not shown."""
        shown, now = self._shown.pop(token, None), _parts(dry_run)
        if shown is None:
            raise Conflict("it was confirmed before", "confirm", AGAIN)
        others = sorted(name for name in shown.parts.keys() | now.keys() if shown.parts.get(name) != now.get(name))
        others += _named("agents", _changed(shown.workspaces, _workspaces(dry_run)))
        others += _named("undone", sorted(set(_asked_for(dry_run)) - shown.subjects))
        if others:
            raise Conflict(f"what would be done has changed since it was shown: {', '.join(others)}", "confirm", AGAIN)


def _parts(dry_run: Mapping[str, Any]) -> dict[str, bytes]:
    parts = {name: _digest(value) for name, value in dry_run.items() if name not in PASSING}
    regained = dry_run.get("regained", {})
    return parts | {"regained": _digest([regained.get("tasks"), regained.get("workflow_runs")])}


def _workspaces(dry_run: Mapping[str, Any]) -> dict[str, _Workspace]:
    """The rows of agents, by agent."""
    undoes = bool(dry_run.get("state_restored"))  # then a task that is at work is among what is undone
    found = {}
    for row in dry_run.get("agents", ()):
        passing = (*FILES, "running_task") if undoes else FILES
        of = {name: value for name, value in row.items() if name not in passing}
        files = {name: row.get(name) for name in FILES}
        found[row["agent"]] = _Workspace(_digest(of), _digest(files), bool(row.get("running_task")))
    return found


def _changed(shown: Mapping[str, _Workspace], now: Mapping[str, _Workspace]) -> list[str]:
    """The agents with which something else would be done. Where a task is at work, its files change all the time."""
    return sorted(agent for agent in shown.keys() | now.keys() if not _is_same(shown.get(agent), now.get(agent)))


def _is_same(shown: _Workspace | None, now: _Workspace | None) -> bool:
    if shown is None or now is None or shown.of != now.of:
        return False
    return shown.files == now.files or shown.is_busy or now.is_busy


def _subjects(dry_run: Mapping[str, Any]) -> Iterator[str]:
    """What was shown: all tasks and runs of workflows that are undone or still to be done, and what else is undone."""
    undone = dry_run.get("undone", {})
    yield from (f"task:{task}" for task in (*undone.get("tasks", ()), *dry_run.get("open_tasks", ())))
    runs = (*undone.get("workflow_runs", ()), *dry_run.get("open_workflow_runs", ()))
    yield from (f"workflow-run:{run}" for run in runs)
    yield from (row["subject"] for row in undone.get("newest", ()))


def _asked_for(dry_run: Mapping[str, Any]) -> Iterator[str]:
    """What is undone that somebody has asked for, and what of it nobody can tell any more, being too much."""
    undone = dry_run.get("undone", {})
    newest = undone.get("newest", ())
    by_itself = {row["subject"] for row in newest if row["type"] in BEGUN and row["actor"].startswith(BY_ITSELF)}
    asked = {row["subject"] for row in newest if not row["actor"].startswith(BY_ITSELF)}
    yield from (subject for subject in asked if not subject.startswith(OFF_SUBJECTS))
    for kind, name in (("task", "tasks"), ("workflow-run", "workflow_runs")):
        yield from (f"{kind}:{each}" for each in undone.get(name, ()) if f"{kind}:{each}" not in by_itself)


def _named(part: str, names: Sequence[str]) -> list[str]:
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return [f"{part} ({', '.join(names[:SHOWN_MAX])}{more})"] if names else []


def _digest(value: Any) -> bytes:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).digest()
