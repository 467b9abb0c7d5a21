"""Makes a fork: reads how everything was at the position, then builds folder, archives, workspaces and, last, the log.

Nothing of the namespace that goes on is changed. The log is loaded at once, with all that ends what was open in it;
before that the fork is nowhere, and behind it only its folder has to get its name. A command that is killed leaves
`<DIR>.forking`, from which nothing can be used; the same command again begins anew there, and where the log is in the
store already, only finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import trio

from maestro import setting_values
from maestro.model.errors import Invalid, MaestroError
from maestro.model.events import (
    DeliveryDropped,
    NewEvent,
    ScheduleSwitched,
    TaskFinished,
    WorkflowRunFinished,
    WorkflowSwitched,
)
from maestro.model.facts import Fact
from maestro.model.forks.fork import AGENTS, HOME, Branch, decide_branch, inherited, sources
from maestro.model.monitoring.failsafe import is_undone
from maestro.model.restore import Archived
from maestro.model.snapshot import Snapshot
from maestro.runtime.node.context import Call, Context
from maestro.runtime.protocol import messages as p
from maestro.runtime.restores.forks import archives
from maestro.runtime.restores.forks.earlier_try import begun_at, is_begun
from maestro.runtime.restores.forks.own_places import branch_of
from maestro.runtime.restores.forks.site import ForkSite
from maestro.runtime.snapshots.folders import SnapshotFolders
from maestro.runtime.snapshots.progress import ProgressReport
from maestro.runtime.snapshots.shared.reached import reached
from maestro.store.contract import Store
from maestro.store.embedded import choice, embedded_server
from maestro.store.redis.redis_store import open_redis
from maestro.workspaces import guards
from maestro.workspaces.archive.library import Archive
from projections.fold import Fold
from replayers import positions, rewind
from replayers.branch import Branching, Origin

Row = dict[str, Any]
_ENDS: dict[str, type[Fact]] = {
    "cancelled": TaskFinished,
    "cancelled_workflow_runs": WorkflowRunFinished,
    "schedules_disabled": ScheduleSwitched,
    "workflows_disabled": WorkflowSwitched,
    "deliveries_dropped": DeliveryDropped,
}
"""Of the answer: what a fork ends or switches off."""


async def fork(call: Call, command: p.Fork) -> Row:
    """Make a fork, or with `dry_run` say what it would be; the answer.

    Raises Invalid, Refused, VerificationFailed: then there is none.
    """
    context, site = call.context, ForkSite(Path(command.root))
    _check_name(context, command.into)
    await trio.to_thread.run_sync(site.check_new, command.into)
    agents = await context.rows(context.views.agents)
    claims = [guards.Claim(row.id, row.workspace_root, row.workspace, str(context.settings.home)) for row in agents]
    await trio.to_thread.run_sync(site.check, context.settings, claims)
    branch = Branch(context.store.namespace, command.into, await _position(context, command, site), command.root)
    work = _Work(call, site, branch)
    await call.note(f"reading the history up to position {branch.position}", "progress")
    await trio.to_thread.run_sync(work.read)
    return await work.carry_out(await context.rows(context.views.snapshots, "complete"), command.dry_run)


def _check_name(context: Context, into: str) -> None:
    try:
        setting_values.namespace(into)
    except ValueError as error:
        reason, _, mend = str(error).partition("; ")
        raise Invalid(f"{into!r} {reason}", "--into", mend) from None
    if into == context.store.namespace:
        raise Invalid(f"{into} is this namespace itself", "--into", "name another one")


async def _position(context: Context, command: p.Fork, site: ForkSite) -> int:
    """The last position that the fork shares: as asked for, else that of a try that was broken off, else the end."""
    if command.at is not None:
        position, _ = await context.call(positions.reached, context.store, command.at)
    else:
        stage = await trio.to_thread.run_sync(branch_of, site.home)
        wanted = Branch(context.store.namespace, command.into, 0, command.root)
        begun = await trio.to_thread.run_sync(begun_at, context.settings, wanted, stage)
        position = begun or (await context.call(context.store.log.head)).seq
    if not position:
        raise Invalid("there is no event up to that position", "--at", "name a position from 1 on")
    return position


class _Work:
    """The making of one fork."""

    def __init__(self, call: Call, site: ForkSite, branch: Branch) -> None:
        self._call, self._context = call, call.context
        self._site, self._branch = site, branch
        self._chosen = choice.choose(self._context.settings)
        self._url = self._chosen.url
        self._branching: Branching
        self._fold: Fold
        self._at = 0
        self._lacking: list[str] = []

    @property
    def _is_embedded(self) -> bool:
        return self._chosen.kind == "embedded"

    def read(self) -> None:
        """Read the history, and how everything was at its end; check that the namespace is free. Blocks."""
        store, position = self._context.store, self._branch.position
        self._branching = Branching(store, position)
        self._fold = rewind.folded(store, position)
        self._at = positions.time_of(store.log, position)
        if not self._is_embedded:
            with closing(self._open()) as target:
                self._begun(target)

    async def carry_out(self, now: list[Snapshot], dry_run: bool) -> Row:
        """Build the fork, or look at what it would be; the answer. now: the snapshots that are complete now."""
        branch, fold, here = self._branch, self._fold, self._context.node
        known = fold.rows_of("snapshots")
        rows = [row for row in now if row.id in known and row.position <= branch.position]
        kept = [
            Archived(row.id, each, "" if (each.node or row.node) in ("", here) else each.node or row.node)
            for row in rows
            if not is_undone(row.reason)
            for each in row.workspaces
        ]
        found = sources(fold.rows_of("agents").values(), kept, branch.position, fold.line.ranges)
        async with AsyncExitStack() as stack:
            archives_of: dict[str, Archive] = {}
            for node in sorted({each.node for each in found.values() if each is not None} - {""}):
                try:
                    archives_of[node] = await stack.enter_async_context(reached(self._context, node))
                except MaestroError as error:
                    self._lacking.append(f"not in the fork: {error.line()}")
            make = self._look if dry_run else self._build
            row = await trio.to_thread.run_sync(make, rows, found, archives_of)
        for text in self._lacking:
            await self._call.note(text, "warn")
        return row

    def _build(
        self, rows: list[Snapshot], found: Mapping[str, Archived | None], archives_of: Mapping[str, Archive]
    ) -> Row:
        """Build all of it, and give it its name. Blocks."""
        context, site = self._context, self._site
        report = ProgressReport(self._call.note, "copying archives")
        with site.building():
            copied = archives.copied(rows, context.settings.home, site.home, report.written)
            self._lacking += copied.lacking
            workspaces = self._fill(found, archives_of)
            events = self._events(copied.rows)
            site.write(self._branch, context.node, self._chosen, context.settings)
            with closing(self._open()) as target:
                is_new = not self._begun(target)
                try:
                    if is_new:
                        origin = Origin(target.now(), self._call.caller.actor, self._call.cause)
                        self._branching.load(target, events, origin)
                    if self._is_embedded:
                        embedded_server.stop(site.home)
                    site.place()
                except BaseException:
                    if is_new and not self._is_embedded:
                        self._unload(target)
                    raise
        return self._answer(events, sorted(copied.rows), workspaces)

    def _look(
        self, rows: list[Snapshot], found: Mapping[str, Archived | None], archives_of: Mapping[str, Archive]
    ) -> Row:
        """What `_build` would make, and how large that is; nothing is made. Blocks."""
        home = self._context.settings.home
        copied, size = archives.looked_at(rows, home)
        self._lacking += copied.lacking
        there = SnapshotFolders(home)
        own = there.archive() if there.is_there else None
        sizes: dict[str, int] = {}

        def look(archive: Archive, mine: Mapping[str, Archived]) -> dict[str, str]:
            known, failed = archives.room_in(archive, mine)
            sizes.update(known)
            return failed

        failed = self._each(found, {"": own, **archives_of}, look)
        workspaces = [row | {"bytes": sizes.get(row["agent"], 0)} for row in self._told(found, failed)]
        blobs = [data for name in self._branching.blobs if (data := self._context.store.blobs.get(name)) is not None]
        return {
            "fork": "dry run",
            **self._answer(self._events(copied.rows), sorted(copied.rows), workspaces),
            "blobs": {"count": len(blobs), "bytes": sum(map(len, blobs))},
            "archives": {"files": len(copied.packs) + len(copied.manifests), "bytes": size},
            "disk_needed_bytes": size + sum(sizes.values()),
            "disk_free_bytes": self._site.free(),
        }

    def _open(self) -> Store:
        """The store of the fork: this one's server, or an embedded one of its own."""
        if self._is_embedded:
            self._url = embedded_server.ensure(self._site.home, self._context.settings.embedded_fsync)
        return open_redis(self._url, self._branch.into)

    def _begun(self, store: Store) -> bool:
        """Whether an earlier try of this fork has loaded its log. Raises Refused for any other log."""
        return is_begun(store, self._branch, self._branching.end.chain, self._url)

    def _unload(self, target: Store) -> None:
        """Erase the log that was loaded just now, as the fork has failed behind that; nobody else's."""
        with suppress(MaestroError):  # the same command with that position finishes it
            if self._begun(target):
                target.erase()

    def _fill(self, found: Mapping[str, Archived | None], archives_of: Mapping[str, Archive]) -> list[Row]:
        """Put the workspaces where the fork has them; what became of each. Blocks."""
        above, own = self._site.stage / AGENTS, SnapshotFolders(self._site.home).archive()
        fill = partial(archives.fill, above=above)
        told = self._told(found, self._each(found, {"": own, **archives_of}, fill))
        for row in told:
            if row["why"]:
                (above / row["agent"]).mkdir(mode=0o700)
        return told

    def _each(
        self,
        found: Mapping[str, Archived | None],
        archives_of: Mapping[str, Archive | None],
        act: Callable[[Archive, Mapping[str, Archived]], dict[str, str]],
    ) -> dict[str, str]:
        """Do something with the workspaces of each archive; why that failed, by agent. Blocks."""
        failed: dict[str, str] = {}
        for node in sorted({each.node for each in found.values() if each is not None}):
            archive = archives_of.get(node)
            mine = {agent: each for agent, each in found.items() if each is not None and each.node == node}
            why = f"what node {node or self._context.node} has archived is out of reach"
            failed |= dict.fromkeys(mine, why) if archive is None else act(archive, mine)
        return failed

    def _told(self, found: Mapping[str, Archived | None], failed: Mapping[str, str]) -> list[Row]:
        """What becomes of each workspace. failed: why one cannot be put there."""
        rows = []
        for agent, archived in sorted(found.items()):
            why = failed.get(agent, "" if archived is not None else "there is no archive of it at or before then")
            done = archived if not why else None
            rows.append(
                {
                    "agent": agent,
                    "workspace": self._branch.place(agent),
                    "snapshot": done.snapshot if done else None,
                    "events_apart": self._branch.position - done.position if done else None,
                    "why": why,
                }
            )
        return rows

    def _events(self, copied: Mapping[str, Snapshot]) -> list[NewEvent]:
        had = inherited(self._fold.rows_of, self._at, self._context.node, copied)
        return decide_branch(self._branch, self._branching.end.chain, had)

    def _answer(self, events: list[NewEvent], snapshots: list[str], workspaces: list[Row]) -> Row:
        def ended(kind: str) -> list[str]:
            return [event.subject.partition(":")[2] for event in events if isinstance(event.fact, _ENDS[kind])]

        branch = self._branch
        return {
            "namespace": branch.into,
            "source": branch.source,
            "position": branch.position,
            "at": positions.rfc3339(self._at),
            "root": branch.root,
            "home": f"{branch.root}/{HOME}",
            "env": f"{branch.root}/env",
            "events": branch.position + len(events),
            "snapshots": snapshots,
            "workspaces": workspaces,
            **{kind: ended(kind) for kind in _ENDS},
        }
