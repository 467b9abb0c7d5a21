"""The folders of workflows' runs, and the archives before their steps: kept while a run needs them, then removed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from maestro import config
from maestro.model import events as e
from maestro.model.errors import Invalid, Refused
from maestro.model.events import NewEvent
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.context import Context
from maestro.runtime.snapshots import retention
from maestro.runtime.snapshots.procedure import take
from maestro.runtime.snapshots.request import SnapshotRequest
from maestro.runtime.snapshots.run_folders import clean_runs, tidying_call
from maestro.store.contract import Append
from maestro.workspaces import workflow_folders
from tests.runtime.acting import Node

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("folders")) as node:
        node.json("agent", "assign", "shell", "--name", "ann")
        yield node


def inside(node: Node, work: Callable[[Context], Awaitable[Any]], days: int = 7) -> Any:
    """Work with the store. days: how long things are kept."""

    async def main() -> Any:
        settings = config.load(node.env, node.folder)
        async with open_context(msgspec.structs.replace(settings, snapshot_retention_days=days)) as context:
            return await work(context)

    return trio.run(main)


def run(here: Node, name: str, ended: bool = True, **started: Any) -> Path:
    """A run of a workflow with a file in its folder."""
    folder = started.setdefault("folder", f"{here.root}/.workflows/{name}")
    facts: list[e.AnyFact] = [e.WorkflowRunStarted(name, "w", 1, "{}", **({"node": here.id} | started))]
    facts += [e.WorkflowRunFinished(name, "completed", "ok")] if ended else []
    store = here.store()
    try:
        events = tuple(NewEvent(f"workflow-run:{name}", fact, None) for fact in facts)
        store.log.commit([Append(events, "test", "test")], None)
    finally:
        store.close()
    workflow_folders.make(folder)
    (Path(folder) / "workspace").mkdir(exist_ok=True)
    (Path(folder) / "workspace/file").write_text(name)
    return Path(folder)


def clean(node: Node, days: int) -> set[str]:
    found = inside(node, lambda context: clean_runs(tidying_call(context), frozenset()), days)
    return {Path(path).name for path in found}


def test_only_what_no_run_needs_is_removed_and_that_is_archived_first(node: Node) -> None:
    folders = {name: run(node, name, ended=name != "open") for name in ("open", "ended", "resumed", "parent", "empty")}
    (folders["empty"] / "workspace/file").unlink()
    run(node, "resumes", ended=False, resumed_from="resumed", folder=str(folders["resumed"]))
    folders["child"] = run(node, "child", parent="open", root="open")
    folders["elsewhere"] = run(node, "elsewhere", node="another")
    workflow_folders.make(unknown := f"{node.root}/.workflows/unknown")
    assert clean(node, 7) == set()
    assert clean(node, 0) == {"ended", "parent", "empty"}
    there = {folder.name for folder in (node.root / ".workflows").iterdir()}
    assert there == {".maestro-runs", "open", "resumed", "child", "elsewhere", Path(unknown).name}
    (kept,) = [row for row in node.json("state", "snapshots", "--all") if row["reason"] == "cleanup"]
    node.json("state", "restore", kept["id"], "--workspace", f"{folders['ended']}/workspace")
    assert (folders["ended"] / "workspace/file").read_text() == "ended"


def test_archives_of_open_runs_and_of_what_they_resume_do_not_expire(node: Node) -> None:
    run(node, "before")
    run(node, "now", ended=False, resumed_from="before", folder=f"{node.root}/.workflows/before")
    run(node, "over")
    taken = {}

    async def archive(context: Context) -> None:
        for name in ("now", "before", "over", ""):
            request = SnapshotRequest("before step", agents=(), run=name)
            taken[name] = (await take(tidying_call(context), request)).row.id
        await retention.expire(context, await context.now() + 100 * DAY_MS)

    inside(node, archive)
    kept = {row["id"] for row in node.json("state", "snapshots", "--all") if row["state"] == "complete"}
    assert {name for name, id in taken.items() if id in kept} == {"now", "before"}


def test_no_agent_works_in_a_folder_of_runs_or_has_its_name(node: Node) -> None:
    for place in (".workflows", ".workflows/open/workspace", ".workflows/new"):
        refused = node.run("agent", "assign", "shell", "--name", "bad", "--to-workspace", f"{node.root}/{place}")
        assert refused.returncode == 4 and "folder of the runs of workflows" in refused.stderr, refused
    named = node.run("agent", "assign", "shell", "--name", ".workflows")
    assert named.returncode == 2 and "Traceback" not in named.stderr


def test_a_folder_is_made_through_no_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    (root / ".workflows").symlink_to(tmp_path)
    with pytest.raises(Refused):
        workflow_folders.make(f"{root}/.workflows/r")
    (root / ".workflows").unlink()
    assert workflow_folders.make(f"{root}/.workflows/r") == "r"
    (root / ".workflows/r").rmdir()
    (root / ".workflows/r").symlink_to(tmp_path)
    with pytest.raises(Refused):
        workflow_folders.make(f"{root}/.workflows/r")
    with pytest.raises(Invalid):
        workflow_folders.make(f"{root}/elsewhere/r")
    assert not (tmp_path / "r").exists()
