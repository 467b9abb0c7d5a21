"""Removal of run folders that have outlived retention: a workspace in one is archived first."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from maestro.model.errors import MaestroError, Refused
from maestro.runtime.node.context import Call, Context
from maestro.runtime.node.daemon_log import log
from maestro.runtime.protocol import messages as p
from maestro.runtime.snapshots.deletion import closed_to, delete
from maestro.runtime.snapshots.needed_runs import expired_of_workflows, needed_runs
from maestro.workspaces import cleaning
from maestro.workspaces.cleaning import ExpiredRun
from maestro.workspaces.deletion import Doomed


def tidying_call(context: Context) -> Call:
    """A command that the node gives itself: its answer goes nowhere."""

    async def send(_: object) -> None:
        return

    return Call(context, p.Caller(f"tidy:{context.node}", "/"), send)


async def clean_runs(call: Call, busy: frozenset[str]) -> list[str]:
    """Remove the expired run folders of this node, but those of the tasks in `busy`; returns the paths that are gone.

    Where the workspace in a folder cannot be archived, the folder stays.
    """
    settings = call.context.settings
    root, days = settings.workspace_root, settings.snapshot_retention_days
    removed = await trio.to_thread.run_sync(cleaning.clean_expired, root, days, busy)
    of_workflows = await expired_of_workflows(call.context)
    removed += await trio.to_thread.run_sync(_remove, root, [run for run in of_workflows if not run.filled])
    expired = await trio.to_thread.run_sync(cleaning.expired_runs, root, days)
    filled = [run for run in (*expired, *of_workflows) if run.filled and run.task not in busy]
    if not filled:
        return removed
    async with closed_to(call.context, sorted({run.owner for run in filled})):
        opened = {task.id for task in await call.context.rows(call.context.views.open_tasks)}
        opened |= await needed_runs(call.context)
        filled = [run for run in filled if run.task not in opened]  # a task may have been retried meanwhile
        return removed + await _archive_and_remove(call, filled)


async def _archive_and_remove(call: Call, runs: list[ExpiredRun]) -> list[str]:
    """Archive and remove run folders with one snapshot; where that fails, each by itself, so that none
    hinders others.
    """
    try:
        return await _delete(call, runs)
    except MaestroError as error:
        if len(runs) == 1:
            log.warning("%s is kept: %s", runs[0].path, error.line())
            return []
    return [path for run in runs for path in await _archive_and_remove(call, [run])]


async def _delete(call: Call, runs: list[ExpiredRun]) -> list[str]:
    real = [run for run in runs if not os.path.islink(f"{run.path}/workspace")]  # noqa: PTH114 - False where it fails
    trees = [Doomed(f"{run.path}/workspace", run.tree, stays=False) for run in real]
    if trees:
        deleted = await delete(call, "cleanup", trees, [run.owner for run in real])
        for place, left in deleted.left.items():
            log.warning("%s is kept: %s in it: %s", place, left[0].path, left[0].why)
        runs = [run for run in runs if f"{run.path}/workspace" not in deleted.left]
    return await trio.to_thread.run_sync(_remove, call.context.settings.workspace_root, runs)


def _remove(root: Path, runs: list[ExpiredRun]) -> list[str]:
    removed = []
    for run in runs:
        try:
            cleaning.remove_run(root, run.agent, run.task)
        except Refused as error:
            log.warning("%s", error.line())
            continue
        removed.append(run.path)
    return removed
