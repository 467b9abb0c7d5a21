"""What a snapshot is to hold: the workspaces of agents, as this node has them, and the logs of their runs."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec
import trio

from maestro.model.agent import Agent
from maestro.model.errors import MaestroError, Refused
from maestro.runtime.capped_log import CHUNK_BYTES, Reader, pieces
from maestro.runtime.context import Call, Context
from maestro.runtime.snapshots.shelf import Shelf
from maestro.runtime.spec import SENT_BYTES_MAX
from maestro.runtime.workplaces import size_of
from maestro.workspaces.folders import MARK

KNOWN_FROM = 3
"""So many of the newest snapshots are asked how much there is to read."""


class Source(msgspec.Struct, frozen=True):
    """A folder to read. tree: its name in the snapshot; agent: who works in it."""

    tree: str
    path: str
    agent: str


async def workspaces(call: Call, agents: Collection[str] | None) -> list[Source]:
    """The workspaces of these agents, of all where it is None. Those that are not there are left out, with a note.

    Raises Refused where one is on another node.
    """
    context = call.context
    rows = [row for row in await context.rows(context.views.agents) if agents is None or row.id in agents]
    rows = [row for row in rows if row.workspace is not None]
    _check_here(rows, context.node)
    found = []
    for row in rows:
        assert row.workspace is not None
        if os.path.realpath(row.workspace) != row.workspace:
            await call.note(f"the workspace of {row.id} is now a link, and is left out: {row.workspace}", "warn")
        elif Path(row.workspace).is_dir():
            found.append(Source(f"workspaces/{row.id}", row.workspace, row.id))
        else:
            await call.note(f"the workspace of {row.id} is not there, and is left out: {row.workspace}", "warn")
    return found


def _check_here(rows: Iterable[Agent], here: str) -> None:
    elsewhere: dict[str, list[str]] = {}
    for row in rows:
        if row.node not in (None, here):
            elsewhere.setdefault(str(row.node), []).append(row.id)
    if elsewhere:
        which = "; ".join(f"{', '.join(sorted(agents))} on {node}" for node, agents in sorted(elsewhere.items()))
        mend = "run this there as well, and name those of this node with --workspace"
        raise Refused(f"workspaces of other nodes cannot be read from here: {which}", mend=mend)


async def amount(context: Context, shelf: Shelf, sources: Collection[Source]) -> tuple[int, int]:
    """About how many entries there are to look at, and bytes to read: 0 where most of them are known already."""
    rows = await context.rows(context.views.snapshots, limit=KNOWN_FROM)

    def work() -> tuple[int, int]:
        known: dict[str, int] = {}
        for row in rows:
            try:
                content = shelf.archive().read(row.id).content
            except MaestroError:
                continue
            for tree in content.trees if content else ():
                known.setdefault(os.fsdecode(tree.source), tree.entries)
        entries = total = 0
        for source in sources:
            if source.path in known:
                entries += known[source.path]
                continue
            files, size = size_of(source.path)
            entries, total = entries + files, total + size
        return entries, total

    return await trio.to_thread.run_sync(work)


def containers(agents: Iterable[Agent]) -> list[dict[str, object]]:
    """How the agents that run in containers are set up, to be found in the manifest."""
    return [
        {
            "agent": row.id,
            "image": row.definition.get("image"),
            "resource_limits": row.definition.get("resource_limits"),
            "shared_cache": row.definition.get("shared_cache"),
            "shared_network": bool(row.definition.get("shared_network")),
        }
        for row in agents
        if row.definition.get("isolate_with") == "docker"
    ]


def gather_logs(root: str, agent: str, into: Path) -> bool:
    """Copy what each attempt of an agent has printed so far, as <task>/<attempt>/agent.log; whether there was any."""
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
        yield from (entry for entry in sorted(above.iterdir()) if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return


def _copy(log: Path, to: Path) -> bool:
    """A log that is being written only grows: what it held when it was opened is copied."""
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
            if pieces(str(log)):  # above its cap, and not one file yet
                reader, left = Reader(str(log)), SENT_BYTES_MAX
                while left > 0 and (chunk := reader.read(CHUNK_BYTES)):
                    left -= copy.write(chunk)
            else:
                shutil.copyfileobj(source, copy)
                copy.truncate(status.st_size)
        to.chmod(0o600)
        os.utime(to, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True
