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
from maestro.model.errors import Refused
from maestro.model.events import (
    AnyFact,
    ArchiveNamed,
    NewEvent,
    NodeForgotten,
    NodeJoined,
    RestoreDone,
    SnapshotExpired,
)
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.handlers import nodes
from maestro.runtime.monitor.node_sight import NodeSight
from maestro.runtime.node.context import Context
from maestro.runtime.restores.log_loader import is_empty
from maestro.runtime.snapshots.shared.clearance import clear_forgotten
from maestro.runtime.snapshots.shared.copy_scrub import damage, scrub
from maestro.runtime.snapshots.shared.identity import Standing, reach_of, standing
from maestro.runtime.snapshots.shared.reached import reached
from maestro.runtime.snapshots.shared.upload import check_reach
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
    _restored_over_both_nodes(pair, out)
    _restored_where_another_archive_is_reached_or_none(pair, out)


def _restored_over_both_nodes(pair: Pair, out: Path) -> None:
    """The file lies on the node of the command; the other one reads its own archive of that snapshot."""
    top = pair.shared.parent
    files = [top / agent / "file" for agent in ("ann", "ben")]
    for file in files:
        file.write_text("altered")
    row = pair.a.json("state", "restore", str(out), "--dry-run")
    assert [each["changed"]["files"] for each in row["agents"]] == [1, 1] and not row["failing"]
    assert not pair.a.json("state", "restore", str(out))["skipped"]
    assert [file.read_text() for file in files] == ["of ann", "of ben"]
    files[1].write_text("altered")
    pair.a.json("state", "restore", str(out), "--workspace", "ben")
    assert files[1].read_text() == "of ben"


def _restored_where_another_archive_is_reached_or_none(pair: Pair, out: Path) -> None:
    """The log in an export names the archive of the nodes that it comes from, which a new place need not reach."""
    there = out.parent / "there"
    there.mkdir()
    for url in (there.as_uri(), ""):
        env = {"MAESTRO_REDIS_URL": pair.a.url} | ({"MAESTRO_ARCHIVE_URL": url} if url else {})
        with Node(out.parent / f"new-{bool(url)}", **env) as new:
            assert new.json("state", "restore", str(out), "--skip-failed")["state_restored"]
            names = [event.fact for event in new.events("archive.named")]
            assert len(names) == 2 and (names[-1].place, bool(names[-1].archive)) == (url, bool(url))


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


def damaged(path: Path) -> bytes:
    """Flip a byte of a file; what it was."""
    good = path.read_bytes()
    path.write_bytes(good[:200] + bytes([good[200] ^ 1]) + good[201:])
    return good


def test_a_damaged_copy_is_mended_from_the_nodes_own_archive_or_told(pair: Pair) -> None:
    """Whatever of a copy is damaged or gone; where both are, nothing is written, and doctor and the daemon say so."""
    file = pair.shared.parent / "ann" / "random"
    file.write_bytes(os.urandom(60_000))
    name = pair.a.json("state", "snapshot", "--workspace", "ann")["id"]
    there, here = pair.shared / "pair" / pair.a.id, pair.a.home / "snapshots"
    newest = max((there / "packs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    before = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert pair.a.json("state", "verify", "--copies") | {"objects": 0, "bytes": 0} == {
        **{"ok": True, "objects": 0, "bytes": 0, "mended": [], "damaged": []}
    }
    for path in (newest, there / "manifests" / name, there / "inventories" / name):
        damaged(path)
        found = pair.a.json("state", "verify", "--copies")
        assert (found["ok"], name in found["mended"], found["damaged"]) == (True, True, []), path
        assert path.read_bytes() == before[path]
    newest.unlink()
    assert name in pair.a.json("state", "verify", "--copies")["mended"]
    assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == before
    damaged(newest)
    own = damaged(here / "packs" / newest.name)
    done = pair.a.run("state", "verify", "--copies")
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["mended"]) == (6, False, [])
    assert {"object": f"packs/{newest.name}", "why": "is not what it was"} in found["damaged"]
    row = next(row for row in doctor(pair.a) if row["check"] == "shared archive")
    assert row["status"] == "failed" and newest.name in row["detail"] and "--copies" in row["remedy"]
    (here / "packs" / newest.name).write_bytes(own)
    assert pair.a.json("state", "verify", "--all")["ok"]
    assert name in pair.a.json("state", "verify", "--copies")["mended"]
    assert next(row for row in doctor(pair.a) if row["check"] == "shared archive")["status"] == "ok"
    trio.run(_scrubbed_at_times, pair, newest)
    done = pair.b.run("state", "verify", "--copies", "--all")
    assert done.returncode == 2 and "one of --all and --copies" in done.stderr


async def _scrubbed_at_times(pair: Pair, pack: Path) -> None:
    """As the daemon does it: what was read within a week is not read again; another node tells, and mends nothing."""
    memory = pair.a.home / "shared" / f"read-{pair.a.id}"
    content = pack.read_bytes()
    async with open_context(config.load(pair.a.env)) as here, open_context(config.load(pair.b.env)) as other:
        done = await scrub(here, pair.a.id)
        assert done is not None and (done.objects, done.broken) == (0, {})
        reading = json.loads(memory.read_text())
        reading["at"] = {name: at - 8 * 86_400 for name, at in reading["at"].items()}
        memory.write_text(json.dumps(reading))
        damaged(pack)
        found = await scrub(other, pair.a.id)
        assert found is not None and list(found.broken) == [f"packs/{pack.name}"] and not found.mended
        assert f"of node {pair.a.id} packs/{pack.name}" in await damage(other, [pair.b.id, pair.a.id])
        done = await scrub(here, pair.a.id)
        assert done is not None and done.objects == len(reading["at"]) and done.mended and not done.broken
        assert pack.read_bytes() == content


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
    (pair.shared.parent / "ann" / "file").write_text("never copied")
    newer = pair.a.json("state", "snapshot", "--workspace", "ann")["id"]
    pair.a.kill()
    for kind in ("manifests", "inventories"):  # as if the host had gone before the copy was there
        (pair.shared / "pair" / pair.a.id / kind / newer).unlink()
    shutil.rmtree(pair.shared.parent / "ann")  # its host is gone
    until(lambda: next(each for each in pair.b.json("node", "list") if each["id"] == pair.a.id)["status"] == "lost")
    refused = pair.b.run("state", "restore", row["id"], "--workspace", "ann")
    assert refused.returncode == 4 and "maestro agent assign ann --from-snapshot newest --node" in refused.stderr
    done = pair.b.run("agent", "assign", "ann", "--from-snapshot", "newest", "--node", pair.b.id)
    assert done.returncode == 0, done.stderr
    assert row["id"] in done.stderr and f"not in the shared archive: {newer}" in done.stderr
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
            four = [await stack.enter_async_context(open_context(config.load(home))) for home in homes]
            found: list[Standing] = []

            async def look(context: Context) -> None:
                found.append(await standing(context))

            async with trio.open_nursery() as nursery:
                for context in four:
                    nursery.start_soon(look, context)
            assert {(each.state, each.archive) for each in found} == {("reached", found[0].archive)}
            assert await is_empty(four[0]), "a log with nothing but a name in it can be loaded from a snapshot"
            floor = NewEvent("restore:r-1", RestoreDone("r-1", 0, "test"))
            await four[0].append([floor], "test", "test:restore")
            assert (await standing(four[1])).archive == found[0].archive
            log = await four[1].call(four[1].store.log.read, 0, 100)
            assert [event.type for event in log].count("archive.named") == 1
            await four[0].append([NewEvent("setting:archive", ArchiveNamed(""))], "test", "test:loaded without one")
            assert (await standing(four[2])).archive == found[0].archive, "one may come later"
            await _listed_as_found_last(four[0], tmp_path)
            await _without_url(env | {"MAESTRO_HOME": str(tmp_path / "h9")}, found[0].archive)

    trio.run(name)


async def _listed_as_found_last(context: Context, folder: Path) -> None:
    """`node list` tells how a node has found the archive last, not at the start of its daemon."""
    joined = NodeJoined(context.node, "host", "i-0", 1, 4, "1.3.0", archive=context.archive_reached or "")
    await context.append([NewEvent(f"node:{context.node}", joined)], "test", "test:joined")

    async def listed() -> str:
        await standing(context)
        sight = NodeSight(context)
        await sight.look()
        await context.call(context.store.work.samples_put, {f"node:{context.node}:seen": sight.value}, 60_000)
        return next(str(row["archive"]) for row in await nodes.told_all(context) if row["id"] == context.node)

    assert await listed() == "shared"
    (folder / "shared").rename(folder / "aside")
    (folder / "shared").mkdir()
    assert await listed() == "unreached", "an empty folder is no archive"
    (folder / "shared").rmdir()
    (folder / "aside").rename(folder / "shared")
    assert await listed() == "shared"
    await context.append([NewEvent(f"node:{context.node}", NodeForgotten(context.node))], "test", "test:forgotten")


async def _without_url(env: dict[str, str], archive: str) -> None:
    """A node without the URL is not to keep for itself what others look for in the shared archive."""
    async with open_context(config.load({name: text for name, text in env.items() if "ARCHIVE" not in name})) as alone:
        assert (await standing(alone)).state == "unset"

        async def tell(fact: NodeJoined | NodeForgotten) -> None:
            await alone.append([NewEvent("node:n-1", fact)], "test", f"test:{type(fact).__name__}")

        await tell(NodeJoined("n-1", "host", "i-1", 1, 4, "1.3.0", archive=archive))
        found = await standing(alone)
        assert (found.state, found.bad, "node n-1" in found.trouble) == ("lacking", True, True)
        with pytest.raises(Refused, match="MAESTRO_ARCHIVE_URL is not set here"):
            await check_reach(alone)
        assert await reach_of(alone) == ""
        await tell(NodeForgotten("n-1"))
        assert (await standing(alone)).state == "unset"
        await check_reach(alone)
