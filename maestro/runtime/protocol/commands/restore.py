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
    Exit code 0 or 6. Fields as in `StateRestore`. part: only of what lies on the node that is asked.
    """

    source: str | None = None
    at: str | None = None
    workspace: str | None = None
    skip_failed: bool = False
    skip_verify: bool = False
    replace_foreign: tuple[str, ...] = ()
    part: bool = False


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


class AgentMove(Command, frozen=True, tag_field="kind", tag="agent assign <id> --from-snapshot"):
    """Have an agent whose node is away go on elsewhere, from an archive of its workspace. Data: agent row.

    source: `newest`, or as in `StateRestore`; node: where, None for this one; to_workspace: absolute, None for the same
    path, below the root of workspaces there.
    """

    id: str
    source: str = "newest"
    node: str | None = None
    to_workspace: str | None = None


class AgentsPutBack(Command, frozen=True, tag_field="kind", tag="agent assign --from-snapshot"):
    """Restore the assignments of a snapshot. Items: agent rows. source: as in `StateRestore`.

    only: these agents, on this node; none for all, those of other nodes that are up by these.
    """

    source: str
    only: tuple[str, ...] = ()


class Fork(Command, frozen=True, tag_field="kind", tag="fork"):
    """Make a namespace whose log begins with this one's history. Data: {namespace, source, position, root, env,
    snapshots, workspaces, cancelled, ...}.

    into: the new namespace; root: its folder, absolute. at: a position or a time; None for the end of the log.
    dry_run: nothing is made; the data says what would be, with {fork: "dry run", blobs, archives, disk_needed_bytes,
    disk_free_bytes}.
    """

    into: str
    root: str
    at: str | None = None
    dry_run: bool = False
