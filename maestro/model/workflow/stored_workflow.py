"""A stored workflow: its versions, each of which never changes; the row of the view `workflows`."""

from __future__ import annotations

import msgspec

from maestro.model.events import Event, WorkflowDeleted, WorkflowStored, WorkflowSwitched


class StoredVersion(msgspec.Struct, omit_defaults=True):
    """One version. position: of its `workflow.stored`, where the definition is; at: ms; digest: SHA-256 of its text."""

    version: int
    position: int
    digest: str
    at: int
    actor: str = ""
    title: str = ""
    schedules: int = 0


class StoredWorkflow(msgspec.Struct, omit_defaults=True):
    """A workflow by its id. seq: of its last event; enabled: its schedules are on; deleted: no new run of it."""

    id: str
    seq: int
    versions: list[StoredVersion] = []
    enabled: bool = True
    deleted: bool = False

    @property
    def newest(self) -> StoredVersion:
        """The version that a run gets which names none."""
        return self.versions[-1]

    def numbered(self, version: int) -> StoredVersion | None:
        """The version of a number, None where there is none."""
        return next((one for one in self.versions if one.version == version), None)


def evolve(row: StoredWorkflow | None, event: Event) -> StoredWorkflow | None:
    """The workflow after the event, changed in place."""
    match event.fact:
        case WorkflowStored(workflow, version, digest=digest, title=title, schedules=schedules):
            row = row or StoredWorkflow(workflow, event.seq)
            stored = StoredVersion(version, event.seq, digest, event.at, event.actor, title, schedules)
            row.versions = [one for one in row.versions if one.version != version] + [stored]
            row.deleted = False
        case WorkflowDeleted():
            if row is not None:
                row.deleted = True
        case WorkflowSwitched(enabled=enabled):
            if row is not None:
                row.enabled = enabled
    if row is not None:
        row.seq = event.seq
    return row
