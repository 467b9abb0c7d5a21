"""Shell completion: ids, asked of the daemon where it runs, and fixed names.

Completion starts no daemon and no store, and reports no errors: it then completes nothing.
"""

from __future__ import annotations

from typing import Any

from maestro import config
from maestro.model.errors import MaestroError
from maestro.runtime.client import client
from maestro.runtime.protocol import messages as p


def agents(incomplete: str) -> list[tuple[str, str]]:
    """Ids of agents, with type and state."""
    return _ids(p.AgentList(), incomplete, ("type", "state"))


def tasks(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest tasks, with status and title."""
    return _ids(p.TaskList(limit=30), incomplete, ("status", "title"))


def types(incomplete: str) -> list[tuple[str, str]]:
    """Slugs of agent types."""
    return _ids(p.AgentTypes(), incomplete, ("reason",), "slug")


def targets(incomplete: str) -> list[tuple[str, str]]:
    """As `agents`, for the last one of a comma-separated list; those before it are not offered again."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [(f"{before}{comma}{name}", about) for name, about in agents(last) if name not in named]


def keys(incomplete: str) -> list[tuple[str, str]]:
    """Keys of the state, with their values."""
    return _ids(p.StateList(incomplete), incomplete, ("value",), "key")


def snapshots(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest snapshots, with time and reason, and `latest`."""
    found = _ids(p.StateSnapshots(limit=30), incomplete, ("taken_at", "reason"))
    return [("latest", "the newest that was asked for"), *found] if "latest".startswith(incomplete) else found


def views(incomplete: str) -> list[str]:
    """Names of views."""
    from projections.fold import VIEWS

    return [name for name in VIEWS if name.startswith(incomplete)]


def event_types(incomplete: str) -> list[str]:
    """Types of events."""
    from maestro.model.events import FACTS

    return [name for name in FACTS if name.startswith(incomplete)]


def _ids(command: p.Command, incomplete: str, about: tuple[str, ...], key: str = "id") -> list[tuple[str, str]]:
    try:
        items = client.ask_daemon(command, config.load()) or []
    except (MaestroError, OSError):
        return []
    rows: list[dict[str, Any]] = [item.data for item in items if isinstance(item.data, dict)]
    return [
        (str(row[key]), " ".join(str(row.get(name, "")) for name in about))
        for row in rows
        if str(row.get(key, "")).startswith(incomplete)
    ]
