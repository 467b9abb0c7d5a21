"""Two nodes with one shared archive, a folder: what one has taken, the other verifies and restores."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from maestro import config
from maestro.model.events import AnyFact, NewEvent, NodeForgotten, RestoreDone, SnapshotExpired
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.context import Context
from maestro.runtime.snapshots.shared.clearance import clear_forgotten
from maestro.runtime.snapshots.shared.identity import Standing, standing
from maestro.runtime.snapshots.shared.reached import reached
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until


class Pair(NamedTuple):
    """Two nodes of one namespace, and the folder that both reach."""

    a: Node
    b: Node
    shared: Path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, server: StoreServer) -> Iterator[Pair]:
    """Agent `ann` is on the first node, `ben` on the second."""
    top = tmp_path_factory.mktemp("pair")
    shared = top / "shared"
    shared.mkdir()
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": "pair", "MAESTRO_ARCHIVE_URL": shared.as_uri()}
    with Node(top / "a", **env) as a, Node(top / "b", **env) as b:
        a.json("agent", "assign", "shell", "--name", "ann", "--to-workspace", str(top / "ann"))
        b.json("agent", "assign", "shell", "--name", "ben", "--to-workspace", str(top / "ben"))
        (top / "ann" / "file").write_text("of ann")
        (top / "ben" / "file").write_text("of ben")
        yield Pair(a, b, shared)


def test_what_one_node_has_taken_is_copied_and_the_other_verifies_it(pair: Pair) -> None:
    row = pair.a.json("state", "snapshot", "--workspace", "ann")
    manifest = pair.shared / "pair" / pair.a.id / "manifests" / row["id"]
    assert manifest.read_bytes() == (pair.a.home / "snapshots/manifests" / row["id"]).read_bytes()
    found = pair.b.json("state", "verify", row["id"])
    assert (found["ok"], found["node"]) == (True, pair.a.id)
    assert not (pair.b.home / "snapshots/manifests" / row["id"]).exists()


def test_the_archive_has_one_name_that_both_have_joined_with(pair: Pair) -> None:
    (named,) = pair.a.events("archive.named")
    joined = {event.fact.archive for event in pair.a.events("node.joined")}
    assert joined == {named.fact.archive}
    assert [path.name for path in (pair.shared / "pair" / "archives").iterdir()] == [named.fact.archive]
    assert named.fact.place == pair.shared.as_uri()


def test_the_parts_of_all_nodes_come_into_one_file_and_are_verified_from_any_node(pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "all.tar.gz"
    row = pair.b.json("state", "snapshot", "--output", str(out))
    assert (row["latest"], row["automatic"]) == (False, True), "what was taken for a file expires"
    assert not [each for each in pair.b.json("state", "snapshots") if each["id"] == row["id"] and each["latest"]]
    assert {each["agent"] for each in row["workspaces"]} == {"ann", "ben"} and row["sha256"]
    for node in pair[:2]:
        found = node.json("state", "verify", str(out))
        assert {(each["agent"], each["position"]) for each in found["workspaces"]} == {
            (agent, row["position"]) for agent in ("ann", "ben")
        }
        found = node.json("state", "verify", row["id"])
        assert sorted(part["node"] for part in found["parts"]) == sorted([pair.a.id, pair.b.id])
        assert {each["agent"] for each in found["workspaces"]} == {"ann", "ben"}
    with tarfile.open(out) as tar:
        held = {name: tar.extractfile(name) for name in tar.getnames() if name.endswith("/file")}
        assert {file.read() for file in held.values() if file} == {b"of ann", b"of ben"}


def test_a_flipped_byte_in_the_shared_archive_is_named_with_its_node(pair: Pair) -> None:
    (pair.shared.parent / "ann" / "random").write_bytes(os.urandom(50_000))
    row = pair.a.json("state", "snapshot", "--workspace", "ann")
    pair.b.json("state", "verify", row["id"])  # all of it has been fetched then
    there = pair.shared / "pair" / pair.a.id
    inventory = json.loads((there / "inventories" / row["id"]).read_bytes().split(b"\n", 1)[1])
    pack = there / "packs" / max(inventory["packs"], key=lambda one: one["bytes"])["name"]
    good = pack.read_bytes()
    pack.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    done = pair.b.run("state", "verify", row["id"])
    pack.write_bytes(good)
    assert done.returncode == 6 and pair.a.id in done.stderr and "is not what it was" in done.stderr
    assert pair.b.json("state", "verify", row["id"])["ok"]


def test_another_archive_or_none_is_told_and_fails_what_would_lie_there(pair: Pair) -> None:
    aside = pair.shared.with_name("aside")
    pair.shared.rename(aside)
    done = pair.a.run("state", "snapshot", "--workspace", "ann")
    assert done.returncode == 4 and "is its file system mounted" in done.stderr
    assert pair.shared.as_uri() in done.stderr
    assert not [row for row in pair.a.json("state", "snapshots", "--all") if row["state"] == "taking"]
    told = pair.a.run("up")
    assert told.returncode == 0 and "is out of reach" in told.stderr
    pair.shared.mkdir()
    try:
        done = pair.a.run("state", "snapshot", "--workspace", "ann")
        assert done.returncode == 4 and "nothing there says that it is the archive" in done.stderr
        assert not list(pair.shared.iterdir()), "nothing is written to what is not the archive"
        other = pair.shared / "pair" / "archives" / "11111111-2222-4333-8444-555555555555"
        other.parent.mkdir(parents=True)
        other.write_text("pair\n")
        row = next(row for row in doctor(pair.a) if row["check"] == "shared archive")
        assert row["status"] == "failed" and "it is the archive 11111111" in row["detail"]
        assert "MAESTRO_ARCHIVE_URL" in row["remedy"]
        done = pair.a.run("agent", "reset", "ann")
        assert done.returncode == 4 and (pair.shared.parent / "ann" / "file").read_text() == "of ann"
    finally:
        shutil.rmtree(pair.shared)
        aside.rename(pair.shared)
    assert pair.b.dispatch("echo on", "--to", "ben", "--sync")["status"] == "completed"
    assert next(row for row in doctor(pair.a) if row["check"] == "shared archive")["status"] == "ok"


def doctor(node: Node) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(node.run("doctor", "--format", "json").stdout)
    return rows


def test_the_workspace_of_a_node_that_is_lost_comes_back_on_another_one(pair: Pair) -> None:
    """The last test: the first node does not come back."""
    (pair.shared.parent / "ann" / "file").write_text("kept")
    row = pair.a.json("state", "snapshot", "--workspace", "ann")
    pair.a.kill()
    shutil.rmtree(pair.shared.parent / "ann")  # its host is gone
    until(lambda: next(each for each in pair.b.json("node", "list") if each["id"] == pair.a.id)["status"] == "lost")
    refused = pair.b.run("state", "restore", row["id"], "--workspace", "ann")
    assert refused.returncode == 4 and "maestro agent assign ann --from-snapshot newest --node" in refused.stderr
    done = pair.b.run("agent", "assign", "ann", "--from-snapshot", row["id"], "--node", pair.b.id)
    assert done.returncode == 0, done.stderr
    assert (pair.shared.parent / "ann" / "file").read_text() == "kept"
    trio.run(_clear_after, pair, row["id"])


async def _clear_after(pair: Pair, snapshot: str) -> None:
    """What the lost node left is collected by another one when it is forgotten, as far as its snapshots are over."""
    manifests = pair.shared / "pair" / pair.a.id / "manifests"
    async with open_context(config.load(pair.b.env)) as context:

        async def tell(subject: str, fact: AnyFact) -> None:
            await context.append([NewEvent(subject, fact)], "test", f"test:{subject}:{type(fact).__name__}")

        await tell(f"snapshot:{snapshot}", SnapshotExpired(snapshot))
        await clear_forgotten(context)
        assert (manifests / snapshot).exists()
        await tell(f"node:{pair.a.id}", NodeForgotten(pair.a.id))
        others = {path.name for path in manifests.iterdir()} - {snapshot}
        await clear_forgotten(context)
        assert {path.name for path in manifests.iterdir()} == others != set()
        async with reached(context, pair.a.id) as archive:
            for name in others:
                await trio.to_thread.run_sync(archive.verify, name)


def test_nodes_that_name_an_archive_at_once_agree_and_no_restore_takes_the_name_away(
    tmp_path: Path, server: StoreServer
) -> None:
    (tmp_path / "shared").mkdir()
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"n-{os.urandom(4).hex()}", "HOME": str(tmp_path)}
    env["MAESTRO_ARCHIVE_URL"] = (tmp_path / "shared").as_uri()

    async def name() -> None:
        async with AsyncExitStack() as stack:
            homes = [env | {"MAESTRO_HOME": str(tmp_path / f"h{number}")} for number in range(4)]
            nodes = [await stack.enter_async_context(open_context(config.load(home))) for home in homes]
            found: list[Standing] = []

            async def look(context: Context) -> None:
                found.append(await standing(context))

            async with trio.open_nursery() as nursery:
                for context in nodes:
                    nursery.start_soon(look, context)
            assert {(each.state, each.archive) for each in found} == {("reached", found[0].archive)}
            floor = NewEvent("restore:r-1", RestoreDone("r-1", 0, "test"))
            await nodes[0].append([floor], "test", "test:restore")
            assert (await standing(nodes[1])).archive == found[0].archive
            assert await nodes[1].call(nodes[1].store.log.version, "setting:archive") >= 1

    trio.run(name)
