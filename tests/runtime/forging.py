"""An export that says what its maker likes: a log with a chain of its own, and workspaces wherever it says they are."""

from __future__ import annotations

from pathlib import Path

import msgspec

from maestro.agents import definitions
from maestro.model import events as e
from maestro.model.events import NewEvent, SnapshotWorkspace
from maestro.store.memory.memory_store import MemoryStore
from maestro.workspaces.archive.library import Archive
from replayers import checkpoint
from tests.projections.histories import commit

SNAPSHOT = "s-forged"


def forged(
    folder: Path, namespace: str, workspaces: dict[str, str], root: str = "/nowhere", node: str = "elsewhere"
) -> Path:
    """A file that names these workspaces, by agent, each with a file `page` in it; root, node: of them, as it says."""
    definition = definitions.load("shell", []).to_dict() | {"executable": "/bin/sh"}
    store = MemoryStore(namespace)
    commit(store, NewEvent("type:shell", e.AgentRegistered("shell", definition, "built-in")))
    for agent, place in workspaces.items():
        fact = e.AgentAssigned(agent, "shell", definition, root, place, "", 3, node)
        commit(store, NewEvent(f"agent:{agent}", fact))
    started = e.SnapshotStarted(SNAPSHOT, "asked", False, tuple(workspaces), node)
    position = commit(store, NewEvent(f"snapshot:{SNAPSHOT}", started)).last
    trees = []
    for agent in workspaces:
        tree = folder / "forged" / agent
        tree.mkdir(parents=True)
        (tree / "page").write_text("forged")
        trees.append((f"workspaces/{agent}", str(tree)))
    written = checkpoint.write(store, folder / "forged/checkpoint", position)
    trees.append(("checkpoint", str(folder / "forged/checkpoint")))
    held = [SnapshotWorkspace(agent, place, f"workspaces/{agent}", position) for agent, place in workspaces.items()]
    meta: dict[str, object] = {
        "format": 1,
        "namespace": namespace,
        "node": node,
        "position": position,
        "chain": written.chain,
        "workspace_root": root,
        "workspaces": [msgspec.structs.asdict(each) for each in held],
    }
    archive = Archive(folder / "forged/archive")
    archive.save(trees, SNAPSHOT, meta)
    out = folder / "forged.tar.gz"
    archive.export(SNAPSHOT, out)
    return out
