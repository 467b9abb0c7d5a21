"""Where a restore may put workspaces: as the guards allow, and in no folder of somebody else unless a user named it.

A snapshot may be from anybody, and says where its workspaces were. So a folder that it would replace counts as an
agent's only where an agent of this node has it already, or it lies below the caller's own root of workspaces.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import trio

from maestro.model.errors import Invalid, MaestroError
from maestro.model.ids import shown
from maestro.model.restore import may_replace
from maestro.runtime.node.context import Call
from maestro.runtime.provision.type_binding import caller_settings
from maestro.runtime.restores.plan import Placement, RestorePlan, RestoreRequest
from maestro.workspaces import guards
from maestro.workspaces.exchanges.places import check_place


async def check_places(call: Call, wish: RestoreRequest, planned: RestorePlan) -> None:
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
    check = PlaceCheck(call, set() if wish.loaded else set(held), wish.replace_foreign)
    for named in wish.replace_foreign:
        if named not in replaced:
            what = f"{shown(named)} is not among the folders that would be replaced"
            raise Invalid(what, "--replace-foreign", "restore --dry-run shows them")
    await trio.to_thread.run_sync(check.all, planned.placements, others)


class PlaceCheck:
    """Decides where one restore may put workspaces. Its calls block.

    held: the folders that agents of this node have; named: the foreign folders that the user allows to be replaced.
    """

    def __init__(self, call: Call, held: set[str], named: Sequence[str] = ()) -> None:
        self._home = call.context.settings.home
        self._root = caller_settings(call).workspace_root
        self._held = held
        self._named = named

    def all(self, placements: Sequence[Placement], others: Sequence[guards.Claim] = ()) -> None:
        """Note in each placement why it cannot be where it is planned. others: agents that stay where they are."""
        claims = [*others, *(guards.Claim(each.agent, each.root, each.workspace) for each in placements)]
        for each in placements:
            if each.why_not:
                continue
            try:
                self._guard(each, claims)
            except MaestroError as error:
                each.why_not, each.is_barred = error.line(), each.workspace not in self._held
                continue
            try:
                check_place(each.workspace)  # the path itself, not the folder that a link in its place leads to
            except MaestroError as error:
                each.why_not = error.line()
                continue
            each.is_foreign = self.is_foreign(each.workspace)
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

    def _guard(self, each: Placement, claims: Sequence[guards.Claim]) -> None:
        if _is_removed_run_folder(each):
            guards.check_reserved(each.workspace, self._home)
            return
        for root in {str(each.root), str(self._root)}:
            guards.check_workspace(each.agent, each.workspace, root=root, home=self._home, claims=claims)

    def _is_below_root(self, path: str) -> bool:
        return os.path.realpath(path).startswith(os.path.realpath(self._root).rstrip("/") + "/")


def _is_removed_run_folder(each: Placement) -> bool:
    """Whether a placement is the workspace in a run folder that retention has removed, and that is not there now."""
    kind, _, run = each.archived.held.tree.partition("/") if each.archived is not None else ("", "", "")
    folder = f"{each.root}/{run}"
    is_in_it = kind == "runs" and run.split("/")[:-1] == [each.agent] and each.workspace == f"{folder}/workspace"
    return is_in_it and not os.path.lexists(folder)


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(Path(path)) as entries:
            return next(entries, None) is None
    except FileNotFoundError:
        return True
    except OSError:
        return False
