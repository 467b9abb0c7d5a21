"""Commands that go back: to a snapshot, to a time, to the assignments that there were."""

from __future__ import annotations

from maestro.runtime.protocol.commands import Command


class RestoreLoad(Command, frozen=True, tag_field="kind", tag="state restore, loading"):
    """Restore where the log is empty, loading it first. Data: {log: there|done|again, restore: as of `StateRestore`}.

    there: it is not empty, and nothing was done; again: the daemon that answers has to end first; ask once more when it
    has. Fields as in `StateRestore`.
    """

    source: str
    skip_failed: bool = False
    skip_verify: bool = False
    resume_queued: bool = False
    rollback: bool = False
    replace_foreign: tuple[str, ...] = ()


class RestorePreview(Command, frozen=True, tag_field="kind", tag="state restore, dry run"):
    """Data: {source, position, agents: [{agent, workspace, snapshot, added, changed, deleted, unchanged, lost, ...}],
    undone, stopped, restarted, disk_needed_bytes, failing, ...}; exit code 0 or 6. Fields as in `StateRestore`.
    """

    source: str | None = None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    skip_verify: bool = False
    replace_foreign: tuple[str, ...] = ()


class StateRestore(Command, frozen=True, tag_field="kind", tag="state restore"):
    """Data: {restore, source, position, workspaces, skipped, damaged, cancelled, resumed, before, undo, standing, ...}.

    damaged: with skip_failed, the files that cannot be had whole and are not put back: [{agent, workspace, path, why}];
    exit code 6 where there are any, or a workspace was skipped because it is damaged.

    source: an id, `latest`, or the absolute path of an export; at: a position or a time, for which each workspace comes
    from its newest archive; workspace: put back this one only (path, or id of its agent); rollback: under that name;
    replace_foreign: absolute paths of folders that are no agent's here, outside the root, and may be replaced.
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
    """Items: agent rows. source: as in `StateRestore`."""

    source: str
