"""The preparation of a run: what it asks of the node, and in which thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from maestro.agents.definitions import Definition
from maestro.model.agent import Agent
from maestro.model.events import TaskDispatched
from maestro.model.task import Run, Slot, Task
from maestro.runtime.provision.known_workspaces import KnownWorkspaces, look
from maestro.runtime.worker.preparation import Job, Prepared, place
from maestro.workspaces.addresses import current


def test_a_run_in_a_workspace_that_is_known_is_prepared_without_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path.resolve() / "ws"
    workspace.mkdir()
    settings = SimpleNamespace(home=tmp_path / "home", workspace_root=tmp_path / "runs")
    settings.home.mkdir()
    agent = Agent("ann", 1, "worker", {}, "", assigned_at=5, workspace=str(workspace))
    KnownWorkspaces(settings.home).remember(agent, look(str(workspace), current()))

    async def insist(ask: Callable[[], Awaitable[bytes]]) -> bytes:
        return await ask()

    async def content(text: str) -> bytes:
        return text.encode()

    async def unwanted(*_: object, **__: object) -> None:
        raise AssertionError("a thread was asked for")

    context = cast(Any, SimpleNamespace(settings=settings, environment={}, insist=insist, content=content))
    task = Task("t", 1, 1, "go", "running", [Slot("ann")], 0, "me")
    run = Run("t-0.1", 1, "ann", "here", 2, 3)
    definition = Definition(
        slug="worker", source="built-in", adapter="shell", bin="/bin/sh", executable="/bin/sh", argv=("{bin}",)
    )
    folder = place(cast(Any, settings), agent, "t", 1)
    job = Job(task, run, agent, folder, definition, cast(Any, None), "", False)
    monkeypatch.setattr(trio.to_thread, "run_sync", unwanted)
    spec = trio.run(Prepared(context, job, TaskDispatched("t", "true", "true", ("ann",)), "/s").spec)
    assert (spec.cwd, spec.argv[0]) == (str(workspace), "/bin/sh")
