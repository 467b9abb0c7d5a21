"""The options of requests, by name: those of the commands. What is left out is as there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TypedDict

Path = str | os.PathLike[str]


class DispatchOptions(TypedDict, total=False):
    """Options of a dispatch. timeout: seconds; key: the same key gives the same task; verify: a command."""

    timeout: float | None
    depends_on: str | Sequence[str]
    priority: int | None
    retries: int
    key: str | None
    strict_key: bool
    trace: bool
    force: bool
    verify: str
    budget_tokens: int | None
    budget_cost: float | None


class ListOptions(TypedDict, total=False):
    """Which tasks are listed. since: as of `task list`; all: the steps of workflows, too."""

    agent: str | None
    status: str | None
    since: str | None
    limit: int
    all: bool


class RunOptions(TypedDict, total=False):
    """Options of a workflow's run.

    definition: YAML that is stored first, under the workflow's name. params: values by name, of any type that JSON
    has. version: 0 for the newest. agents: agent, or `*`, to the agent that works for it. key: the same key gives the
    same run.
    """

    definition: str
    params: Mapping[str, object]
    version: int
    agents: Mapping[str, str]
    key: str | None
    priority: int | None


class SnapshotOptions(TypedDict, total=False):
    """Options of a snapshot. output: the path of a file that it is written to as well."""

    output: Path
    include_logs: bool
    allow_torn: bool
    allow_missing: bool
    rolling: bool


class RestoreOptions(TypedDict, total=False):
    """Options of a dry run. at: a position, or a time as `--at` takes it; workspace: a path, or an agent."""

    at: int | str | None
    workspace: Path | None
    skip_failed: bool
    skip_verify: bool
