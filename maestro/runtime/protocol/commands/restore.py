"""Commands that go back: to a snapshot, to a time, or to the assignments of a snapshot."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class RestoreLoad(Command, frozen=True, tag_field="kind", tag="state restore, loading"):
    """Restore into an empty log, loading it first. Data: {log: there|done|again, restore: as of `StateRestore`}.

    there: the log is not empty, and nothing was done.
    again: the answering daemon has to end first; send the command once more when it has.
    Fields as in `StateRestore`.
    """

    source: str
    skip_failed: bool = False
    skip_verify: bool = False
    resume_queued: bool = False
    rollback: bool = False
    replace_foreign: tuple[str, ...] = ()


class RestorePreview(Command, frozen=True, tag_field="kind", tag="state restore, dry run"):
    """Preview of a restore. Data: {source, position, agents, undone, stopped, restarted, disk_needed_bytes, failing,
    ...}.

    agents: [{agent, workspace, snapshot, added, changed, deleted, unchanged, lost, ...}].
    Exit code 0 or 6. Fields as in `StateRestore`.
    """

    source: str | None = None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    skip_verify: bool = False
    replace_foreign: tuple[str, ...] = ()


class StateRestore(Command, frozen=True, tag_field="kind", tag="state restore"):
    """Restore. Data: {restore, source, position, workspaces, skipped, damaged, cancelled, resumed, before, undo,
    standing, ...}.

    damaged: with skip_failed, the damaged files that were not restored: [{agent, workspace, path, why}]; exit code 6
    where there are any, or a workspace was skipped because it is damaged.

    source: an id, `latest`, or the absolute path of an export.
    at: a position or a time; each workspace is restored from its newest archive at or before it.
    workspace: restore only this one (its path, or the id of its agent).
    rollback: the user called the command by that name.
    replace_foreign: absolute paths of folders that belong to no agent here, lie outside the workspace root, and may be
    replaced.
    """

    source: str | None = None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    skip_verify: bool = False
    resume_queued: bool = False
    rollback: bool = False
    replace_foreign: tuple[str, ...] = ()


class AgentsPutBack(Command, frozen=True, tag_field="kind", tag="agent assign --from-snapshot"):
    """Restore the assignments of a snapshot. Items: agent rows. source: as in `StateRestore`."""

    source: str
