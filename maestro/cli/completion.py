"""Shell completion: ids, asked of the daemon where it runs, and fixed names.

Completion starts no daemon and no store, and reports no errors: it then completes nothing.
"""

from __future__ import annotations

from typing import Any

import click

from maestro import config
from maestro.model.errors import MaestroError
from maestro.model.ids import LABEL
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p


def agents(incomplete: str) -> list[tuple[str, str]]:
    """Ids of agents, with type and state."""
    return _ids(p.AgentList(), incomplete, ("type", "state"))


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest tasks, with status and title."""
    return _ids(p.TaskList(limit=30), incomplete, ("status", "title"))


def tasks_and_runs(incomplete: str) -> list[tuple[str, str]]:
    """As `tasks`, and ids of runs of workflows."""
    return [*tasks(incomplete), *runs(incomplete)]


def types(incomplete: str) -> list[tuple[str, str]]:
    """Slugs of agent types."""
    return _ids(p.AgentTypes(), incomplete, ("reason",), "slug")


def targets(incomplete: str) -> list[tuple[str, str]]:
    """As `agents`, and behind one of them labels: the last one of a list; those before it are not offered again."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    found = [*agents(last), *(labels(last) if comma else [])]
    return [(f"{before}{comma}{name}", about) for name, about in found if name not in named]


def labels(incomplete: str) -> list[tuple[str, str]]:
    """Labels of nodes, as they stand behind a target."""
    try:
        items = client.ask_daemon(p.NodeList(), config.load()) or []
    except (MaestroError, OSError):
        return []
    names = dict.fromkeys(f"{LABEL}{name}" for item in items for name in item.data.get("labels", ()))
    return [(name, "of a node") for name in names if name.startswith(incomplete)]


def nodes(incomplete: str) -> list[tuple[str, str]]:
    """Ids of nodes, with their state."""
    return _ids(p.NodeList(), incomplete, ("state",))


def keys(incomplete: str) -> list[tuple[str, str]]:
    """Keys of the state, with their values."""
    return _ids(p.StateList(incomplete), incomplete, ("value",), "key")


def snapshots(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest snapshots, with time and reason, and `latest`."""
    found = _ids(p.StateSnapshots(limit=30), incomplete, ("taken_at", "reason"))
    return [("latest", "the newest that was asked for"), *found] if "latest".startswith(incomplete) else found


def alerts(incomplete: str) -> list[tuple[str, str]]:
    """Ids of open alerts, with what they tell."""
    return _ids(p.AlertList(), incomplete, ("what",))


def momentary(incomplete: str) -> list[tuple[str, str]]:
    """As `alerts`, those that can be acknowledged."""
    can = set(_ids(p.AlertList(), incomplete, (), "id", "momentary"))
    return [(name, about) for name, about in alerts(incomplete) if (name, "") in can]


def workflows(incomplete: str) -> list[tuple[str, str]]:
    """Ids of stored workflows, with their titles."""
    return _ids(p.WorkflowList(), incomplete, ("title",))


def schedules(incomplete: str) -> list[tuple[str, str]]:
    """Names of schedules, also those of workflows, with what they do."""
    return _ids(p.ScheduleList(), incomplete, ("cron", "command"))


def command_schedules(incomplete: str) -> list[tuple[str, str]]:
    """As `schedules`, those that `maestro schedule add` has added."""
    return [one for one in schedules(incomplete) if "#" not in one[0]]


def runs(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest runs of workflows, with workflow and status."""
    return _ids(p.WorkflowRuns(limit=30), incomplete, ("workflow", "status"))


def open_runs(incomplete: str) -> list[tuple[str, str]]:
    """As `runs`, of those that have not ended, and ids of workflows that have some."""
    found = _ids(p.WorkflowRuns(open=True, limit=100), incomplete, ("workflow", "status"))
    of = _ids(p.WorkflowRuns(open=True, limit=100), incomplete, (), "workflow")
    return [*found, *((name, "all its open runs") for name in dict.fromkeys(name for name, _ in of))]


def read_runs(incomplete: str) -> list[tuple[str, str]]:
    """As `runs`, and ids of workflows, whose newest run is meant."""
    return [*runs(incomplete), *workflows(incomplete)]


def asking_runs(incomplete: str) -> list[tuple[str, str]]:
    """Ids of runs that wait for an approval, with workflow and what they wait for."""
    found = _ids(p.WorkflowRuns(waiting=True, limit=100), incomplete, ("workflow", "waiting_for"))
    return [each for each in found if "approval: " in each[1] or "permission: " not in each[1]]


def steps(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """Instances of the run that was named before, with status and what they wait for."""
    return _told(_instances(str(ctx.params.get("id") or "")), incomplete)


def gates(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """As `steps`, those that wait for an approval."""
    found = _instances(str(ctx.params.get("id") or ""))
    return _told([row for row in found if row["waiting_for"] == "approval"], incomplete)


def beginnings(ctx: click.Context, incomplete: str) -> list[tuple[str, str]]:
    """Where the run that was named before, or the newest of the workflow, may go on: its steps, and `failed`."""
    found = _told(_instances(str(ctx.params.get("old") or ctx.params.get("source") or "")), incomplete)
    return [("failed", "what has not ended well"), *found] if "failed".startswith(incomplete) else found


def _instances(run: str) -> list[dict[str, Any]]:
    try:
        found = client.ask_daemon_once(p.WorkflowStatus(run), config.load()) if run else None
    except (MaestroError, OSError):
        return []
    return found["steps"] if isinstance(found, dict) else []


def _told(rows: list[dict[str, Any]], incomplete: str) -> list[tuple[str, str]]:
    return [
        (row["id"], " ".join(filter(None, (row["status"], row["waiting_for"]))))
        for row in rows
        if row["id"].startswith(incomplete)
    ]


def settings(incomplete: str) -> list[str]:
    """Names of settings of the namespace."""
    from maestro.model.settings.namespace_setting import DEFAULTS

    return [name for name in DEFAULTS if name.startswith(incomplete)]


def views(incomplete: str) -> list[str]:
    """Names of views."""
    from projections.fold import VIEWS

    return [name for name in VIEWS if name.startswith(incomplete)]


def event_types(incomplete: str) -> list[str]:
    """Types of events."""
    from maestro.model.events import FACTS

    return [name for name in FACTS if name.startswith(incomplete)]


def _ids(
    command: p.Command, incomplete: str, about: tuple[str, ...], key: str = "id", only: str = ""
) -> list[tuple[str, str]]:
    try:
        items = client.ask_daemon(command, config.load()) or []
    except (MaestroError, OSError):
        return []
    rows: list[dict[str, Any]] = [item.data for item in items if isinstance(item.data, dict)]
    return [
        (str(row[key]), " ".join(str(row.get(name, "")) for name in about))
        for row in rows
        if str(row.get(key, "")).startswith(incomplete) and (not only or row.get(only))
    ]
