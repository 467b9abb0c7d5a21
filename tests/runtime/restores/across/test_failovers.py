"""The store fails over, as a Cluster or by Sentinel, in the middle of a snapshot and of a restore over two nodes.

Either is complete, or has failed and says why; the workspaces are as the log says, nothing stays held, and the next one
is complete. One node stands still meanwhile, so that it is in the middle, and the replica has all of the log by then.
With STEPS=all by Sentinel, too, which takes long; `tests/crash/test_chaos_nodes.py` has Sentinels in any case.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from maestro.model.events import Event
from maestro.store.keys import Keys
from maestro.store.redis.dialler import Dialler
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until
from tests.store.redis.test_failovers import opens
from tests.store.redis.test_topologies import free_port, told

IN_STEP = "--repl-diskless-sync-delay", "0"
CLUSTER = "--cluster-enabled", "yes", "--cluster-node-timeout", "2000"
KINDS = ("cluster", "sentinel") if os.environ.get("STEPS") == "all" else ("cluster",)
HELD = {"snapshot": "snapshot.part_ready", "restore": "restore.part_staged"}
"""What the node that goes on says, when all waits for the one that stands still."""


class Pair:
    """A primary and its replica, where nodes look for the store, and two nodes on it."""

    def __init__(self, primary: StoreServer, replica: StoreServer, url: str, nodes: list[Node]) -> None:
        self.primary, self.replica, self.url = primary, replica, url
        self.a, self.b = nodes

    def fail_over(self) -> None:
        """The primary dies; the replica, which has all of the log, takes its place."""
        log = Keys(self.a.namespace).log
        of_primary, of_replica = (Dialler(each.url, 5)() for each in (self.primary, self.replica))
        if self.is_cluster:
            of_replica.call("READONLY")
        until(lambda: of_primary.call("XLEN", log) == of_replica.call("XLEN", log))
        self.primary.kill()
        if self.is_cluster:
            of_replica.call("CLUSTER", "FAILOVER", "TAKEOVER")
        until(lambda: b"role:master" in told(Dialler(self.replica.url, 5)(), "replication"))
        until(lambda: opens(self.url))
        self.primary, self.replica = self.replica, self.primary

    def come_back(self) -> None:
        """The server that died comes back, as the replica."""
        self.replica.start()
        if not self.is_cluster:
            Dialler(self.replica.url, 5)().call("REPLICAOF", "127.0.0.1", self.primary.port)
        until(lambda: b"state=online" in told(Dialler(self.primary.url, 5)(), "replication"))

    @property
    def is_cluster(self) -> bool:
        return self.url.startswith("redis://")

    def events(self, seq: int = 0) -> list[Event]:
        self.a.url = self.url
        return [event for event in self.a.events() if event.seq > seq]

    @property
    def content(self) -> list[str]:
        return [(node.folder / "work" / "file").read_text() for node in (self.a, self.b)]

    def write(self, text: str) -> None:
        for node in (self.a, self.b):
            (node.folder / "work" / "file").write_text(text)


def cluster(stack: ExitStack, folder: Path) -> tuple[StoreServer, StoreServer, str]:
    """Of one primary, which has all slots, and its replica."""
    primary, replica = (StoreServer("valkey", *IN_STEP, *CLUSTER, port=free_port(55000)) for _ in range(2))
    for each in (primary, replica):
        stack.callback(each.close)
    on_primary, on_replica = Dialler(primary.url, 5)(), Dialler(replica.url, 5)()
    on_primary.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    on_primary.call("CLUSTER", "MEET", "127.0.0.1", replica.port)
    until(lambda: b"cluster_state:ok" in on_replica.call("CLUSTER", "INFO"))
    on_replica.call("CLUSTER", "REPLICATE", on_primary.call("CLUSTER", "MYID"))
    return primary, replica, f"redis://127.0.0.1:{primary.port},127.0.0.1:{replica.port}"


def sentinel(stack: ExitStack, folder: Path) -> tuple[StoreServer, StoreServer, str]:
    """One that watches a primary and its replica."""
    primary, replica = (StoreServer("valkey", *IN_STEP, port=free_port()) for _ in range(2))
    for each in (primary, replica):
        stack.callback(each.close)
    Dialler(replica.url, 5)().call("REPLICAOF", "127.0.0.1", primary.port)
    config, port = folder / "sentinel.conf", free_port()
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
    )
    log = stack.enter_context((folder / "log").open("ab"))
    process = subprocess.Popen([primary.binary, str(config), "--sentinel"], stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return primary, replica, f"redis+sentinel://127.0.0.1:{port}/main"


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    tmp_path = tmp_path_factory.mktemp("failovers")
    with ExitStack() as stack:
        make = cluster if request.param == "cluster" else sentinel
        primary, replica, url = make(stack, tmp_path)
        until(lambda: b"state=online" in told(Dialler(primary.url, 5)(), "replication"))
        until(lambda: opens(url))
        env = {"MAESTRO_REDIS_URL": url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
        nodes = [Node(tmp_path / name, **env) for name in "ab"]
        for name, node in zip("ab", nodes, strict=True):
            stack.enter_context(node)
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", str(node.folder / "work"))
            node.up()
        yield Pair(primary, replica, url, nodes)


@pytest.mark.parametrize("what", HELD)
def test_a_failover_in_the_middle_leaves_all_old_or_all_new_and_nothing_held(pair: Pair, what: str) -> None:
    if pair.replica.is_dead:
        pair.come_back()
    pair.write("then")
    kept = pair.a.json("state", "snapshot")["id"]
    pair.write("now")
    before, pid = len(pair.events()), pair.b.pid
    words = ("state", "snapshot") if what == "snapshot" else ("state", "restore", kept)
    with ThreadPoolExecutor(1) as pool:
        os.kill(pid, signal.SIGSTOP)
        try:
            asked = pool.submit(pair.a.run, *words)
            until(lambda: [event for event in pair.events(before) if event.type == HELD[what]])
            pair.fail_over()
        finally:
            os.kill(pid, signal.SIGCONT)
        done = asked.result()
    kinds = [event.type for event in until(lambda: ended(pair, before, what))]
    is_done = f"{what}.failed" not in kinds
    assert done.returncode == 0 if is_done else done.returncode == 4 and pair.b.id in done.stderr, done.stderr
    assert pair.content == ["then" if what == "restore" and is_done else "now"] * 2
    row = pair.b.json("state", "snapshot")
    assert row["state"] == "complete" and len(row["nodes"]) == 2
    assert {each["state"] for each in pair.a.json("agent", "list")} == {"idle"}
    assert pair.b.run("replay", "verify").returncode == 0


def ended(pair: Pair, before: int, what: str) -> list[Event]:
    """The end of what was asked for: of a restore that is decided when both nodes have exchanged."""
    found = pair.events(before)
    over = [event for event in found if event.type in (f"{what}.failed", "restore.part_placed")]
    over += [event for event in found if event.type == "snapshot.taken" and what == "snapshot"]
    is_over = len(over) == 2 or any(event.type != "restore.part_placed" for event in over)
    return over if is_over else []
