"""Exports whose digests are all right and that say what no honest one does, as users meet them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maestro.model.events import AgentAssigned, NewEvent
from maestro.workspaces.archive.export.export_reader import open_export
from maestro.workspaces.archive.library import Archive
from replayers import checkpoint
from tests.projections.histories import commit
from tests.runtime.acting import Node

SECONDS_MAX = 60


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "node") as node:
        node.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(node.folder / "ann"))
        (node.folder / "ann/mine").write_text("of ann")
        node.json("state", "snapshot", "--output", str(tmp_path / "x.tar.gz"))
        yield node


def forged(honest: Path, change: Callable[[Path, dict[str, object]], None]) -> Path:
    """The export, its trees changed by `change` (folder, meta), with digests that fit."""
    above = honest.parent / "forged"
    with open_export(honest) as export:
        names = [branch.name for branch in export.head.trees]
        stages = {name: above / name.replace("/", "-") for name in names}
        above.mkdir()
        export.restore(stages)
        meta = dict(export.head.meta)
    change(above, meta)
    archive = Archive(above / "store")
    archive.save([(name, str(stages[name])) for name in names], "s-forged", meta, allow_torn=True)
    archive.export("s-forged", honest.with_name("forged.tar.gz"))
    return honest.with_name("forged.tar.gz")


def refused(node: Node, source: Path) -> list[str]:
    """What each command that reads it says: within its time, in a line, and nothing is changed."""
    said = []
    for words in (("state", "verify"), ("state", "restore", "--dry-run"), ("agent", "assign", "--from-snapshot")):
        done = node.run(*words, str(source), timeout=SECONDS_MAX)
        assert done.returncode in (2, 4, 6), (words, done.returncode, done.stdout, done.stderr)
        said.append(done.stderr)
    assert (node.folder / "ann/mine").read_text() == "of ann"
    return said


@pytest.mark.parametrize("target", ["/dev/zero", "/proc/kmsg", "checkpoint.json"])
def test_a_member_that_is_a_link_is_not_followed(node: Node, tmp_path: Path, target: str) -> None:
    for name in ("registry.yaml", "checkpoint.json"):
        if name == target:
            continue

        def link(folder: Path, _: dict[str, object], name: str = name) -> None:
            (folder / "checkpoint" / name).unlink()
            (folder / "checkpoint" / name).symlink_to(target)

        done = node.run("state", "verify", str(forged(tmp_path / "x.tar.gz", link)), timeout=SECONDS_MAX)
        assert done.returncode == 6 and done.stderr.count("\n") == 1, done.stderr
        assert name in done.stderr and "no regular file" in done.stderr
        shutil.rmtree(tmp_path / "forged")


def test_two_agents_in_one_workspace_are_refused_by_each_who_reads_it(node: Node, tmp_path: Path) -> None:
    workspace = str(node.folder / "ann")

    def double(folder: Path, meta: dict[str, object]) -> None:
        store = node.store()
        (assigned,) = node.events("agent.assigned")
        assert isinstance(assigned.fact, AgentAssigned)
        more = AgentAssigned("eve", "shell", assigned.fact.definition, "/", workspace, node=assigned.fact.node)
        try:
            commit(store, NewEvent("agent:eve", more))
            shutil.rmtree(folder / "checkpoint")
            written = checkpoint.write(store, folder / "checkpoint", store.log.head().seq)
        finally:
            store.close()
        meta |= {"position": written.position, "chain": written.chain, "digests": written.digests}

    source = forged(tmp_path / "x.tar.gz", double)
    assert all("same workspace" in said and "'eve'" in said for said in refused(node, source))
    assert os.listdir(workspace) == ["mine"]
