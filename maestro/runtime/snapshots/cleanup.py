"""Removing the folders of runs that have outlived retention: a workspace in one is archived first (SPEC.md 4)."""

from __future__ import annotations

import os
from pathlib import Path

import trio

from maestro.model.errors import MaestroError, Refused
from maestro.runtime import protocol as p
from maestro.runtime.context import Call, Context
from maestro.runtime.logs import log
from maestro.runtime.snapshots.sources import Source
from maestro.runtime.snapshots.taking import Wanted, take
from maestro.workspaces import cleaning
from maestro.workspaces.cleaning import ExpiredRun


def tidying_call(context: Context) -> Call:
    """What the node does of its own accord, as a command that nobody listens to."""

    async def send(_: object) -> None:
        return

    return Call(context, p.Caller(f"tidy:{context.node}", "/"), send)


async def clean_runs(call: Call, busy: frozenset[str]) -> list[str]:
    """Remove the expired run folders of this node but those of the tasks in `busy`; their paths.

    Where the workspaces in them cannot be archived, their folders stay.
    """
    settings = call.context.settings
    root, days = settings.workspace_root, settings.snapshot_retention_days
    removed = await trio.to_thread.run_sync(cleaning.clean_expired, root, days, busy)
    expired = await trio.to_thread.run_sync(cleaning.expired_runs, root, days)
    filled = [run for run in expired if run.filled and run.task not in busy]
    if not filled:
        return removed
    real = [run for run in filled if not os.path.islink(f"{run.path}/workspace")]  # noqa: PTH114 - False where it fails
    folders = tuple(Source(f"runs/{run.agent}/{run.task}", f"{run.path}/workspace", run.agent) for run in real)
    try:
        if folders:
            await take(call, Wanted("cleanup", agents=(), folders=folders))
    except MaestroError as error:
        log.warning("%d run folders older than %d days are kept: %s", len(filled), days, error.line())
        return removed
    return removed + await trio.to_thread.run_sync(_remove, root, filled)


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
