"""One restore over three nodes with real daemons on one store, whatever dies in the middle of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.coordination.restore_parts import Restore
from maestro.store.contract import Append
from projections.view_reader import Views
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until

ROOT = Path(__file__).parents[4]
ACROSS = "maestro.runtime.restores.across"


class Hosts(NamedTuple):
    """Three nodes on one store, each with an agent in a folder of its own; a snapshot of them all."""

    a: Node
    b: Node
    c: Node
    server: StoreServer
    snapshot: list[str]

    @property
    def nodes(self) -> tuple[Node, Node, Node]:
        return self.a, self.b, self.c

    def write(self, text: str) -> None:
        for node in self.nodes:
            (place(node) / "file").write_text(text)

    @property
    def content(self) -> list[str]:
        return [(place(node) / "file").read_text() for node in self.nodes]

    def agents(self) -> set[str]:
        with closing(self.a.store()) as store:
            return {row.state for row in Views(store).agents().rows}

    def key(self) -> str:
        with closing(self.a.store()) as store:
            row = Views(store).state("key", int(time.time() * 1000)).row
            assert row is not None
            return str(row.value)

    def last(self) -> Restore:
        """The restore that was asked for last."""
        with closing(self.a.store()) as store:
            return Views(store).restores().rows[-1]


def place(node: Node) -> Path:
    return node.folder / "work"


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    folder = tmp_path_factory.mktemp("across")
    server = StoreServer("valkey", "--appendfsync", "always")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    try:
        with Node(folder / "a", **env) as a, Node(folder / "b", **env) as b, Node(folder / "c", **env) as c:
            hosts = Hosts(a, b, c, server, [])
            for name, node in zip("abc", hosts.nodes, strict=True):
                node.json("agent", "assign", "shell", "--name", f"of-{name}", "--to-workspace", str(place(node)))
                node.up()
            hosts.write("then")
            (place(b) / "same").write_text("as it was")
            a.json("state", "set", "key", "then", "--ttl", "0")
            hosts.snapshot.append(a.json("state", "snapshot")["id"])
            yield hosts
    finally:
        server.close()


@pytest.fixture
def kept(hosts: Hosts) -> str:
    """The snapshot, behind which all is different."""
    for node in hosts.nodes:
        if not running(node):
            node.up()
    hosts.write("now")
    hosts.a.json("state", "set", "key", "now", "--ttl", "0")
    return hosts.snapshot[0]


def settled(hosts: Hosts, restored: bool) -> None:
    """All of it is new, or all of it old, as the log says, and all agents take work."""
    until(lambda: hosts.content == ["then" if restored else "now"] * 3)
    assert hosts.key() == ("then" if restored else "now")
    until(lambda: hosts.agents() == {"idle"})
    assert hosts.last().is_over and hosts.last().state == ("done" if restored else "failed")


def test_a_restore_takes_all_nodes_back_at_once_and_is_undone_as_it_says(hosts: Hosts, kept: str) -> None:
    told = hosts.c.json("state", "restore", kept, "--dry-run")
    changed = {each["agent"]: each["changed"]["paths"] for each in told["agents"] if each["workspace"]}
    assert changed == {f"of-{name}": ["file"] for name in "abc"} and told["failing"] == []
    assert hosts.content == ["now"] * 3
    row = hosts.b.json("state", "restore", kept)
    assert row["pending"] == [] and {each["agent"] for each in row["workspaces"]} == {"of-a", "of-b", "of-c"}
    settled(hosts, restored=True)
    hosts.c.json(*row["undo"].split()[1:])
    until(lambda: hosts.content == ["now"] * 3 and hosts.key() == "now" and hosts.agents() == {"idle"})


def test_one_workspace_of_another_node_goes_back_alone(hosts: Hosts, kept: str) -> None:
    row = hosts.a.json("state", "restore", kept, "--workspace", "of-b")
    assert hosts.content == ["now", "then", "now"] and not row["state_restored"]
    hosts.c.json(*row["undo"].split()[1:])
    assert hosts.content == ["now"] * 3 and hosts.agents() == {"idle"}


def dying(node: Node, die: str) -> subprocess.Popen[bytes]:
    """A daemon of a node that dies there, in the place of the one that runs."""
    with suppress(OSError):
        node.kill()
    until(lambda: not running(node))
    log = (node.home / "daemon.log").open("ab")
    argv = [sys.executable, "-m", "tests.runtime.dying", "worker"]
    daemon = subprocess.Popen(argv, env={**node.env, "DIE": die}, cwd=ROOT, stderr=log)
    until(lambda: running(node))
    return daemon


def ended(node: Node) -> bool:
    return not running(node)


def running(node: Node) -> bool:
    try:
        return bool(node.pid)
    except OSError:
        return False


POINTS = {
    "when it is staged, before it says so": f"{ACROSS}.outcome:tell:1",
    "while what is there is kept": "maestro.runtime.snapshots.across.node_part:NodePart.cut:1",
    "when it is to exchange": "maestro.runtime.restores.journal:Journal.write:2",
    "when it has exchanged": "maestro.workspaces.exchanges.exchange:Exchange.commit:1",
}
"""Where a node dies: the first two before the decision, the others behind it."""


@pytest.mark.parametrize("point", POINTS)
def test_a_node_that_dies_comes_back_to_what_the_log_says(hosts: Hosts, kept: str, point: str) -> None:
    daemon = dying(hosts.b, POINTS[point])
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hosts.a.run, "state", "restore", kept)
        assert daemon.wait(60) == -9
        is_decided = list(POINTS).index(point) > 1
        if not is_decided:
            assert hosts.content == ["now"] * 3
        assert (place(hosts.b) / "same").stat().st_nlink == 1, "an agent at work would write through a second name"
        hosts.b.up()
        assert asked.result().returncode == (0 if is_decided else 4), asked.result().stderr
    settled(hosts, restored=is_decided)


def test_a_node_that_is_away_behind_the_decision_is_pending_and_takes_nothing_until_it_is_back(
    hosts: Hosts, kept: str
) -> None:
    daemon = dying(hosts.b, f"{ACROSS}.node_part:NodePart.place:1")
    row = hosts.a.json("state", "restore", kept)
    assert daemon.wait(30) == -9 and hosts.content == ["then", "now", "then"]
    (one,) = row["pending"]
    assert one["node"] == hosts.b.id and one["agents"] == ["of-b"] and "maestro up" in one["what"]
    of_b = next(each for each in hosts.c.json("agent", "list") if each["id"] == "of-b")
    assert of_b["state"] == "stopped" and of_b["reason"] == one["what"]
    doctor = hosts.c.run("doctor")
    assert doctor.returncode == 4 and hosts.b.id in doctor.stdout
    for words in (("agent", "restart", "of-b"), ("task", "dispatch", "true", "--to", "of-b")):
        refused = hosts.a.run(*words)
        assert refused.returncode == 4 and one["what"] in refused.stderr and "agent restart" not in refused.stderr
    place = Path(next(each for each in hosts.a.json("agent", "list") if each["id"] == "of-b")["workspace"])
    (place / "precious").write_text("written while the node was away")
    hosts.b.up()
    settled(hosts, restored=True)
    assert not (place / "precious").exists()
    newest = hosts.b.json("state", "snapshots", "--all")[0]
    assert newest["reason"] == "restore" and newest["automatic"]
    undone = hosts.b.run("state", "restore", newest["id"], "--workspace", str(place))
    assert undone.returncode == 0 and (place / "precious").read_text() == "written while the node was away", undone


def test_the_leader_that_is_about_to_decide_may_die_as_the_asker(hosts: Hosts, kept: str) -> None:
    for node in hosts.nodes:
        node.kill()
    daemon = dying(hosts.a, f"{ACROSS}.course:RestoreCourse._outcome:1")
    hosts.b.up()
    hosts.c.up()
    asked = hosts.a.run("state", "restore", kept)
    assert asked.returncode == 5 and daemon.wait(30) == -9
    assert hosts.content == ["now"] * 3
    hosts.a.up()
    until(lambda: hosts.last().state in ("done", "failed"))
    settled(hosts, restored=hosts.last().state == "done")


@pytest.mark.parametrize("kind", ["restore.opened", "snapshot.opened"])
def test_an_outage_of_the_store_is_waited_out_by_asker_leader_and_nodes(hosts: Hosts, kept: str, kind: str) -> None:
    words = ("restore", kept) if kind.startswith("restore") else ("snapshot",)
    before = len(hosts.a.events(kind))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(hosts.a.run, "state", *words)
        while len(hosts.a.events(kind)) == before:
            pass
        hosts.server.kill()
        hosts.server.start()
        done = asked.result()
    assert done.returncode == 0, done.stderr
    if kind.startswith("restore"):
        settled(hosts, restored=True)


def test_a_time_takes_each_workspace_from_its_newest_archive_and_what_was_open_goes_on(hosts: Hosts, kept: str) -> None:
    task = hosts.a.dispatch("sleep 60", "--to", "of-b")["id"]
    until(lambda: hosts.a.task(task)["status"] == "running")
    newer = hosts.c.json("state", "snapshot", "--workspace", "of-b")
    hosts.a.json("task", "cancel", task)
    hosts.write("later")
    at = str(newer["position"])
    row = hosts.c.json("state", "rollback", "--at", at, "--resume-queued", "--skip-verify")
    until(lambda: hosts.content[1] == "now")
    came = {each["agent"]: (each["node"], each["snapshot"]) for each in row["workspaces"]}
    older = {came[agent][1] for agent in ("of-a", "of-c")}
    assert came["of-b"] == (hosts.b.id, newer["id"]) and newer["id"] not in older
    assert [came[agent][0] for agent in ("of-a", "of-c")] == [hosts.a.id, hosts.c.id]
    assert row["resumed"] == [task] and hosts.a.task(task)["status"] != "cancelled" and hosts.key() == "now"
    hosts.a.json("task", "cancel", task)


def test_a_node_that_is_away_is_named_and_what_is_on_the_others_goes_back(
    hosts: Hosts, kept: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "c.tar.gz")
    hosts.c.json("state", "snapshot", "--workspace", "of-c", "--output", out)
    hosts.c.json("shutdown")
    for source in (kept, out):
        done = hosts.a.run("state", "restore", source, "--workspace", "of-c")
        assert done.returncode == 4 and f"is on node {hosts.c.id}, which is away" in done.stderr
        assert done.stderr.rstrip().endswith("mend that, then try again"), "there is nothing else to go on with"
    row = hosts.b.json("state", "restore", kept, "--skip-failed")
    assert [each["agent"] for each in row["skipped"]] == ["of-c"] and hosts.content == ["then", "then", "now"]


def test_a_flush_on_one_node_leads_out_on_the_others_and_a_file_brings_all_back(hosts: Hosts, kept: str) -> None:
    file = str(hosts.a.folder / "all.tar.gz")
    hosts.a.json("state", "snapshot", "--workspace", "of-a", "--output", file)
    flush = ("redis", "flush", "--confirm", hosts.a.namespace, "--no-backup")
    task = str(hosts.a.dispatch("sleep 600", "--to", "of-b", "--async")["id"])
    until(lambda: hosts.a.task(task)["status"] == "running")
    refused = hosts.a.run(*flush)
    assert refused.returncode == 4 and f"at node {hosts.b.id}; maestro shutdown there first" in refused.stderr
    hosts.a.json("task", "cancel", task)
    hosts.a.run("task", "wait", task)
    hosts.a.json(*flush)
    for node in (hosts.b, hosts.c):
        until(partial(ended, node))
        assert node.json("agent", "list") == []
    hosts.b.up()
    for node in (hosts.b, hosts.c):
        node.json("shutdown")
    hosts.a.run("state", "restore", file, "--skip-failed")
    hosts.b.up()
    assert {row["id"] for row in hosts.b.json("agent", "list")} == {"of-a", "of-b", "of-c"}


def test_nodes_that_all_die_when_its_turn_has_come_do_not_wait_for_each_other_at_their_start(
    hosts: Hosts, kept: str
) -> None:
    wishes = [event.fact for event in hosts.a.events("restore.asked") if isinstance(event.fact, e.RestoreAsked)]
    asked = next(fact for fact in wishes if fact.source == kept and len(fact.parts) == 3)
    for node in hosts.nodes:
        node.kill()
    until(lambda: not any(running(node) for node in hosts.nodes))
    fact = msgspec.structs.replace(asked, restore="all-die")
    opened = e.RestoreOpened("all-die", asked_at(hosts) + 3_600_000)
    with closing(hosts.a.store()) as store:
        wish = tuple(e.NewEvent("restore:all-die", each, None) for each in (fact, opened))
        store.log.commit([Append(wish, "cli:test", "cmd:test")], None)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda node: node.up(), hosts.nodes))
    until(lambda: hosts.last().state in ("done", "failed"))
    settled(hosts, restored=hosts.last().state == "done")


def asked_at(hosts: Hosts) -> int:
    with closing(hosts.a.store()) as store:
        return store.now()
