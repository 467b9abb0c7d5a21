"""Where a restore may put workspaces: as the guards allow, and in no folder of somebody else unless a user named it.

A snapshot may be from anybody, and says where its workspaces were. So a folder that it would replace counts as an
agent's only where an agent of this node has it already, or it lies below the caller's own root of workspaces; or where
the log of this store proves that it was that agent's until a restore took it, and it comes back from the snapshot
store.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import trio

from maestro.model.errors import Invalid, MaestroError
from maestro.model.ids import shown
from maestro.model.orphaned import Holding, orphaned
from maestro.model.restore import may_replace
from maestro.runtime.node.context import Call, Context
from maestro.runtime.provision.type_binding import caller_settings
from maestro.runtime.restores.open_origins import OpenOrigins
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.runtime.snapshots import sources
from maestro.workspaces import guards, workflow_folders
from maestro.workspaces.exchanges.places import check_place
from replayers.log_reader import history


async def check_places(call: Call, wish: RestoreRequest, planned: RestorePlan, origins: OpenOrigins) -> None:
    """Note in each placement that cannot be where it is planned why not.

    Raises Invalid where --replace-foreign names a folder that would not be replaced.
    """
    here = (None, call.context.node)
    held = {row.workspace: row.id for row in planned.now.values() if row.workspace is not None and row.node in here}
    replaced = {each.workspace for each in planned.placements}
    others = [
        guards.Claim(each.id, each.workspace_root, each.workspace)
        for each in planned.now.values()
        if planned.to is None and each.workspace not in replaced and each.node in here
    ]
    own = None if wish.loaded or planned.loads else await _Own.of(call.context, planned, origins)
    check = PlaceCheck(call, set() if wish.loaded else set(held), wish.replace_foreign, own)
    for named in wish.replace_foreign:
        if named not in replaced:
            what = f"{shown(named)} is not among the folders that would be replaced"
            raise Invalid(what, "--replace-foreign", "restore --dry-run shows them")
    mine = [each for each in planned.placements if each.node in ("", call.context.node)]
    if not wish.loaded and not planned.loads:
        agents = {held[each.workspace] for each in mine if each.workspace in held}
        check.lacking = {each.workspace: each.why for each in (await sources.workspaces(call, agents))[1]}
    await trio.to_thread.run_sync(check.all, mine, others)


class _Own:
    """Tells which folders a restore took from their agents, by the log of this store. Its calls block.

    kept: the snapshots that are read from the snapshot store. What comes from a file replaces no such folder: it may be
    from anybody.
    """

    def __init__(self, context: Context, kept: Collection[str]) -> None:
        self._context = context
        self._kept = kept
        self._orphaned: set[Holding] | None = None

    @classmethod
    async def of(cls, context: Context, planned: RestorePlan, origins: OpenOrigins) -> _Own:
        """For the snapshots that a plan puts workspaces back from."""
        here = ("", context.node)
        names = {archived.snapshot for each, archived in planned.restorable if each.node in here}
        return cls(context, [name for name in sorted(names) if not await origins.is_file(name)])

    def has(self, each: Placement) -> bool:
        """Whether a workspace comes back to the folder that was its agent's until a restore."""
        if each.archived is None or each.archived.snapshot not in self._kept:
            return False
        if self._orphaned is None:  # the log is read only where a folder is nobody's
            events = (event for events in history(self._context.store) for event in events)
            self._orphaned = orphaned(events, self._context.node)
        return (each.agent, each.workspace) in self._orphaned


class PlaceCheck:
    """Decides where one restore may put workspaces. Its calls block.

    held: the folders that agents of this node have; named: the foreign folders that the user allows to be replaced;
    own: tells which folders earlier restores took from their agents. lacking: the folders of agents of this node that
    no snapshot can keep as they are now, with why, so that they are not replaced.
    """

    def __init__(self, call: Call, held: set[str], named: Sequence[str] = (), own: _Own | None = None) -> None:
        self._home = call.context.settings.home
        self._root = caller_settings(call).workspace_root
        self._held = held
        self._named = named
        self._own = own
        self.lacking: dict[str, str] = {}

    def all(self, placements: Sequence[Placement], others: Sequence[guards.Claim] = ()) -> None:
        """Note in each placement why it cannot be where it is planned. others: agents that stay where they are."""
        claims = [*others, *(guards.Claim(each.agent, each.root, each.workspace) for each in placements)]
        neighbours = guards.Neighbours(self._home, claims)
        for each in placements:
            if each.why_not:
                continue
            try:
                self._guard(each, neighbours)
            except MaestroError as error:
                each.why_not, each.is_barred = error.line(), each.workspace not in self._held
                continue
            try:
                check_place(each.workspace)  # the path itself, not the folder that a link in its place leads to
            except MaestroError as error:
                each.why_not = error.line()
                continue
            if each.workspace in self.lacking and not _is_empty(each.workspace):
                each.why_not = f"{each.workspace} {self.lacking[each.workspace]}; what is in it could not be kept"
                continue
            each.is_foreign = self.is_foreign(each.workspace) and not (self._own and self._own.has(each))
            if each.is_foreign and each.workspace not in self._named:
                each.why_not = (
                    f"{each.workspace} is no agent's folder here, lies outside MAESTRO_WORKSPACE_ROOT and is not empty"
                )
                each.is_barred = True

    def is_foreign(self, path: str) -> bool:
        """Whether something is at the path that belongs to no agent here."""
        return not may_replace(
            is_held=path in self._held, is_below_root=self._is_below_root(path), is_empty=_is_empty(path)
        )

    def _guard(self, each: Placement, neighbours: guards.Neighbours) -> None:
        if _is_removed_run_folder(each):
            neighbours.check_reserved(each.workspace)
            return
        for root in {str(each.root), str(self._root)}:
            neighbours.check(each.agent, each.workspace, root)

    def _is_below_root(self, path: str) -> bool:
        return os.path.realpath(path).startswith(os.path.realpath(self._root).rstrip("/") + "/")


def _is_removed_run_folder(each: Placement) -> bool:
    """Whether a placement is the workspace in a run folder that retention has removed, and that is not there now."""
    kind, _, run = each.archived.held.tree.partition("/") if each.archived is not None else ("", "", "")
    if kind == workflow_folders.TREES:
        folder, owner = f"{each.root}/{workflow_folders.NAME}/{run}", run
    else:
        folder, owner = f"{each.root}/{run}", run.rpartition("/")[0]
    is_kind = kind in ("runs", workflow_folders.TREES)
    is_in_it = is_kind and owner == each.agent and each.workspace == f"{folder}/workspace"
    return is_in_it and not os.path.lexists(folder)


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(Path(path)) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False
