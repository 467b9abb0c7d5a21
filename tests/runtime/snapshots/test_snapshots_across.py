"""Snapshots over several nodes: three real daemons on one store, which die, stand still and leave at each step.

Whatever happens, the snapshot is complete or failed and says why, no agent stays frozen and no node held, and the next
one is complete. STEPS=all hurts them behind each step, and waits until a daemon that was killed is taken for lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from maestro.model import events as e
from maestro.runtime.supervision.processes import state
from tests.conftest import StoreServer
from tests.runtime.acting import Node, marked, until

MAESTRO = (sys.executable, "-m", "maestro")
STEPS = ("snapshot.opened", "snapshot.part_ready", "snapshot.started", "snapshot.part_taken")
ALL = os.environ.get("STEPS") == "all"


class Three:
    """Three nodes with an agent each. The first one asks and leads."""

    def __init__(self, folder: Path, server: StoreServer, stack: ExitStack) -> None:
        self.server = server
        self.nodes: list[Node] = []
        for name in ("a", "b", "c"):
            (folder / name).mkdir()
            node = stack.enter_context(Node(folder / name, MAESTRO_REDIS_URL=server.url, MAESTRO_NAMESPACE="three"))
            self.nodes.append(node)
            node.json("agent", "assign", "shell", "--name", f"at-{name}", "--to-workspace", str(folder / name / "ws"))
            (folder / name / "ws" / "file").write_text(name)
        self.ids = [node.id for node in self.nodes]
        self.asker = self.nodes[0]

    def up(self) -> None:
        for node in self.nodes:
            node.up()
        until(lambda: all(row["state"] == "up" for row in self.asker.json("node", "list")))

    def ask(self, *words: str, node: Node | None = None) -> subprocess.Popen[str]:
        env = {**(node or self.asker).env, "MAESTRO_AUTOSTART": "false"}
        return subprocess.Popen([*MAESTRO, "state", "snapshot", *words], env=env, stdout=-1, stderr=-1, text=True)

    def since(self, seq: int, kind: str = "") -> list[e.Event]:
        store = self.asker.store()
        try:
            return [event for event in store.log.read(seq, 10_000) if event.type.startswith(kind)]
        finally:
            store.close()

    def head(self) -> int:
        store = self.asker.store()
        try:
            return store.log.head().seq
        finally:
            store.close()

    def ended(self, seq: int) -> e.Event:
        """The end of the snapshot that was asked for behind a position."""
        ends = ("snapshot.taken", "snapshot.failed")
        event: e.Event = until(lambda: [each for each in self.since(seq, "snapshot.") if each.type in ends])[0]
        return event

    def works_again(self) -> None:
        """Nothing is held, and the next one is complete, with a part of each node."""
        row = self.asker.json("state", "snapshot")
        assert (row["state"], sorted(row["nodes"])) == ("complete", sorted(self.ids))
        for node in self.nodes:
            assert node.json("state", "verify", row["id"])["ok"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    server = StoreServer("valkey", "--appendfsync", "always")
    with ExitStack() as stack:
        stack.callback(server.close)
        yield Three(tmp_path_factory.mktemp("across"), server, stack)


def test_one_snapshot_holds_all_nodes_as_of_one_position_and_each_part_is_proved(three: Three) -> None:
    three.up()
    mark = f"across-{os.urandom(4).hex()}"
    task = three.asker.dispatch(f"exec env MARK={mark} sh -c 'while :; do date > now; done'", "--to", "at-b")["id"]
    until(lambda: marked(mark))
    added = three.asker.run("schedule", "add", "all", "--cron", "0 0 1 1 *", "--", "state", "snapshot")
    assert added.returncode == 0 and not added.stderr, "other nodes read what this one cannot"
    row = three.asker.json("state", "snapshot")
    assert row["state"] == "complete" and row["latest"] and not row["torn"]
    assert [held["node"] for held in row["workspaces"]] == row["nodes"] == three.ids
    assert {held["position"] for held in row["workspaces"]} == {row["position"]}
    assert [part["state"] for part in row["parts"]] == ["taken"] * 3
    proofs = [node.json("state", "verify", row["id"]) for node in three.nodes]
    assert [proof["position"] for proof in proofs] == [row["position"]] * 3
    assert all(proof["views"] == proofs[0]["views"] for proof in proofs), "one log, up to one cut"
    assert [row["id"] for node in three.nodes for row in node.json("state", "snapshots")[:1]] == [row["id"]] * 3
    assert not [pid for pid in marked(mark) if state(pid) == "T"]
    three.asker.json("task", "cancel", task)


def test_two_at_once_from_two_nodes_come_one_after_the_other(three: Three) -> None:
    three.up()
    before = three.head()
    asking = [three.ask(node=node) for node in three.nodes[1:]]
    answers = [json.loads(each.communicate(timeout=60)[0]) for each in asking]
    assert [row["state"] for row in answers] == ["complete"] * 2
    on: set[str] = set()
    for event in three.since(before, "snapshot."):
        if event.type == "snapshot.opened":
            assert not on
            on.add(event.subject)
        elif event.type in ("snapshot.taken", "snapshot.failed"):
            on.discard(event.subject)


def hurt(three: Three, step: str, act: Callable[[], Any], asker: Node | None = None) -> tuple[e.Event, int, str]:
    """Ask, do something behind the first event of a kind; the end, exit code of the asker, what it said."""
    before = three.head()
    store = three.asker.store()
    asking = three.ask("--allow-torn", node=asker)
    try:
        at = before
        while True:
            events = store.log.follow(at, 1, 20_000)
            assert events, asking.communicate(timeout=60)
            at = events[-1].seq
            if events[-1].type == step:
                break
        act()
        told = asking.communicate(timeout=90)[1]
        return three.ended(before), asking.returncode, told
    finally:
        store.close()


def killed(node: Node) -> None:
    """Kill its daemon; the next one comes at once, or when the others have taken it for lost."""
    node.kill()
    if not ALL:
        node.up()


@pytest.mark.parametrize("step", STEPS if ALL else STEPS[1:3])
def test_a_node_that_is_killed_at_any_step_fails_it_by_name_or_has_done_its_part(three: Three, step: str) -> None:
    three.up()
    victim = three.nodes[2]
    end, code, told = hurt(three, step, lambda: killed(victim))
    if isinstance(end.fact, e.SnapshotFailed):
        assert victim.id in end.fact.reason and code == 4 and victim.id in told
    else:
        assert code == 0, told
    victim.up()
    three.works_again()


@pytest.mark.parametrize("step", STEPS if ALL else STEPS[::3])
def test_an_asker_that_leads_and_is_killed_leaves_nothing_held(three: Three, step: str) -> None:
    three.up()
    end, code, told = hurt(three, step, lambda: killed(three.asker))
    assert code and told
    if isinstance(end.fact, e.SnapshotFailed):
        assert end.fact.reason
    three.up()
    three.works_again()


@pytest.mark.parametrize("step", STEPS if ALL else STEPS[2:3])
def test_a_store_that_is_killed_comes_back_to_a_snapshot_that_ends(three: Three, step: str) -> None:
    three.up()

    def kill() -> None:
        three.server.kill()
        three.server.start()

    end, _, _ = hurt(three, step, kill)
    assert isinstance(end.fact, e.SnapshotTaken) or (isinstance(end.fact, e.SnapshotFailed) and end.fact.reason)
    three.up()
    three.works_again()


def test_a_node_that_leaves_in_order_meanwhile_is_named(three: Three) -> None:
    three.up()
    leaver = three.nodes[1]
    end, _, _ = hurt(three, "snapshot.opened", lambda: leaver.json("shutdown"))
    if isinstance(end.fact, e.SnapshotFailed):
        assert leaver.id in end.fact.reason
    three.up()
    three.works_again()


def test_a_leader_that_was_stopped_for_too_long_has_no_part_and_the_next_one_says_so(three: Three) -> None:
    three.up()
    before = three.head()
    three.works_again()
    leader = three.since(before, "snapshot.opened")[0].actor.split(":")[1]
    late = three.nodes[three.ids.index(leader)]
    pid = late.pid
    asker = next(node for node in three.nodes if node is not late)
    end, code, told = hurt(three, "snapshot.part_ready", lambda: os.kill(pid, signal.SIGSTOP), asker)
    os.kill(pid, signal.SIGCONT)
    assert isinstance(end.fact, e.SnapshotFailed) and late.id in end.fact.reason, end
    assert code == 4 and late.id in told
    three.up()
    three.works_again()
    name = end.fact.snapshot
    assert not (late.home / "snapshots" / "manifests" / name).exists()
    row = next(row for row in asker.json("state", "snapshots", "--all") if row["id"] == name)
    assert row["state"] == "failed" and late.id in row["why"]


def test_a_node_that_is_down_is_refused_by_name_or_left_out_where_that_is_allowed(three: Three) -> None:
    three.up()
    three.nodes[2].json("shutdown")
    refused = three.asker.run("state", "snapshot")
    assert refused.returncode == 4 and three.ids[2] in refused.stderr and "--allow-missing" in refused.stderr
    added = three.asker.run("schedule", "add", "more", "--cron", "0 0 1 1 *", "--", "state", "snapshot")
    assert f"now it would fail: {refused.stderr.removeprefix('maestro: ')}" in added.stderr
    row = three.asker.json("state", "snapshot", "--allow-missing")
    assert row["nodes"] == three.ids[:2] and [each["agent"] for each in row["missing"]] == ["at-c"]
    for words in (("--rolling",), ("--output", str(three.asker.folder / "x.tar.gz"))):
        done = three.asker.run("state", "snapshot", "--workspace", "at-a", "--workspace", "at-b", *words)
        assert done.returncode == 4 and words[0] in done.stderr
    assert three.asker.json("state", "snapshot", "--workspace", "at-a")["nodes"] == three.ids[:1]
    three.up()
