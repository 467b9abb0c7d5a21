"""The rows of stored workflows that clients get, as those of `rows.py`."""

from __future__ import annotations

from maestro.model.workflow.stored_workflow import StoredVersion, StoredWorkflow
from maestro.runtime.server.rows import Row, when


def workflow_row(row: StoredWorkflow) -> Row:
    """A stored workflow in a list."""
    newest = row.newest
    return {
        "id": row.id,
        "title": newest.title or None,
        "version": newest.version,
        "versions": len(row.versions),
        "schedules": newest.schedules,
        "enabled": row.enabled,
        "deleted": row.deleted,
        "stored_at": when(newest.at),
        "by": newest.actor,
        "digest": newest.digest,
    }


def version_row(workflow: str, version: StoredVersion) -> Row:
    """One version of a workflow."""
    return {
        "id": workflow,
        "version": version.version,
        "title": version.title or None,
        "schedules": version.schedules,
        "digest": version.digest,
        "stored_at": when(version.at),
        "by": version.actor,
    }
