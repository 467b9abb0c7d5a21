"""The sources of a snapshot: the workspaces of agents on this node, and the output of their runs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.definition import AgentDefinition
from maestro.model.errors import MaestroError
from maestro.model.events import SnapshotMissing, SnapshotWorkspace
from maestro.model.snapshot import covered, kept_mounts
from maestro.runtime.node.context import Call, Context
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.supervision.capped_log import CHUNK_BYTES, CappedLogReader, pieces
from maestro.runtime.supervision.spec import SENT_BYTES_MAX
from maestro.workspaces import guards
from maestro.workspaces.folders import MARK, is_folder
from maestro.workspaces.mounts import is_mount
from maestro.workspaces.usage import size_of

KNOWN_FROM = 3
"""So many of the newest snapshots are asked how much there is to read."""


class Source(msgspec.Struct, frozen=True):
    """A folder that a snapshot is to hold. tree: its name in the snapshot; agent: who works in it.

    moved_from: where the folder lay, and a restore puts it back, "" where it lies there still. mounted: whether it is a
    mount point.
    """

    tree: str
    path: str
    agent: str
    moved_from: str = ""
    mounted: bool | None = None

    @property
    def place(self) -> str:
        """The path at which a restore puts the folder."""
        return self.moved_from or self.path


async def workspaces(call: Call, agents: Collection[str] | None) -> tuple[list[Source], list[SnapshotMissing]]:
    """The workspaces of these agents (None: of all) that can be read on this node, and those that cannot, with the
    reason.
    """
    context = call.context
    rows = [row for row in await context.rows(context.views.agents) if agents is None or row.id in agents]
    found = [Source(f"workspaces/{row.id}", row.workspace, row.id) for row in rows if row.workspace is not None]
    agents_by_id = {row.id: row for row in rows}
    before = kept_mounts(await context.rows(context.views.snapshots, "complete"))

    def work() -> tuple[list[Source], list[SnapshotMissing]]:
        there, lacking = [], []
        for source in found:
            row = agents_by_id[source.agent]
            if row.node not in (None, context.node):
                why = f"is on node {row.node}, and cannot be read from here"
            elif not (why := guards.unreadable(source.path)):
                source = msgspec.structs.replace(source, mounted=is_mount(source.path))
                held = SnapshotWorkspace(source.agent, source.path, source.tree, 0, source.mounted)
                why = covered(source.agent, row.assigned_at, held, before)
            if why:
                lacking.append(SnapshotMissing(source.agent, source.path, why))
            else:
                there.append(source)
        return there, lacking

    return await trio.to_thread.run_sync(work)


async def amount(context: Context, folders: SnapshotFolders, sources: Collection[Source]) -> tuple[int, int]:
    """About how many entries and bytes there are to read. Workspaces of a recent snapshot count no bytes: most are
    known.
    """
    rows = await context.rows(context.views.snapshots, limit=KNOWN_FROM)

    def work() -> tuple[int, int]:
        known: dict[str, int] = {}
        for row in rows:
            try:
                content = folders.archive().read(row.id).content
            except MaestroError:  # earlier snapshots only help to guess how long the reading takes
                continue
            for tree in content.trees if content else ():
                known.setdefault(os.fsdecode(tree.source), tree.entries)
        entries = total = 0
        for source in sources:
            if source.place in known:
                entries += known[source.place]
                continue
            files, size = size_of(source.path)
            entries, total = entries + files, total + size
        return entries, total

    return await trio.to_thread.run_sync(work)


def containers(agents: Iterable[Agent]) -> tuple[dict[str, object], ...]:
    """How the agents that run in containers are set up, for the account in the manifest."""
    definitions = ((row.id, AgentDefinition(row.definition)) for row in agents)
    return tuple(
        {
            "agent": name,
            "image": definition.image,
            "resource_limits": definition.resource_limits,
            "shared_cache": definition.shared_cache,
            "shared_network": definition.shared_network,
        }
        for name, definition in definitions
        if definition.in_container
    )


def gather_logs(root: str, agent: str, into: Path) -> bool:
    """Copy what each run of an agent has printed so far, as <task>/<attempt>/agent.log; whether there was any."""
    runs = Path(root, agent)
    if not os.path.lexists(runs / MARK):
        return False
    found = False
    for task in _folders(runs):
        for attempt in _folders(task / "attempts"):
            found |= _copy(attempt / "agent.log", into / task.name / attempt.name / "agent.log")
    return found


def _folders(above: Path) -> Iterator[Path]:
    try:
        yield from (entry for entry in sorted(above.iterdir()) if is_folder(entry))
    except OSError:
        return


def _copy(log: Path, to: Path) -> bool:
    """Copy a run's output, as far as it went when it was opened; whether there was any."""
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(handle, "rb") as source:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            return False
        to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with to.open("xb") as copy:
            if pieces(str(log)):  # the log is above its cap, and lies in pieces
                reader, left = CappedLogReader(str(log)), SENT_BYTES_MAX
                while left > 0 and (chunk := reader.read(CHUNK_BYTES)):
                    left -= copy.write(chunk)
            else:
                shutil.copyfileobj(source, copy)
                copy.truncate(status.st_size)
        to.chmod(0o600)
        os.utime(to, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True
