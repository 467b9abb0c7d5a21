"""Commands that another node carries out: from any node, each once, with every end of either node said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from maestro import config
from maestro.model.events import ForwardAnswered, ForwardAsked
from maestro.runtime.client import client
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.node.forwards import large_text
from maestro.runtime.protocol import messages as p
from tests.conftest import StoreServer
from tests.runtime.acting import Node, until


class Pair(NamedTuple):
    """a asks; b has the workspace of `far`, whose template says `new`."""

    a: Node
    b: Node
    folder: Path
    server: StoreServer


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    folder = tmp_path_factory.mktemp("forwards")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    (folder / "template").mkdir()
    (folder / "template/new").touch()
    try:
        with Node(folder / "a", **env, MAESTRO_SECRET="a-secret") as a, Node(folder / "b", **env) as b:
            b.agent_type("worker", workspace_template=str(folder / "template"))
            for node in (a, b):
                node.up()
            b.json("agent", "assign", "worker", "--name", "far", "--to-workspace", f"{b.folder}/far")
            yield Pair(a, b, folder, server)
    finally:
        server.close()


def start(node: Node, *words: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "maestro", *words]
    return subprocess.Popen(argv, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_reset_and_clean_are_carried_out_where_the_workspace_is(pair: Pair) -> None:
    workspace = pair.b.folder / "far"
    (workspace / "work").write_text("kept")
    done = pair.a.run("agent", "reset", "far")
    assert done.returncode == 0 and "state restore s-" in done.stderr
    assert os.listdir(workspace) == ["new"]
    done = pair.a.run("workspace", "clean", "far")
    assert "maestro agent restart far" in done.stderr
    cleaned = json.loads(done.stdout)
    assert (cleaned["workspace"], cleaned["files_removed"], os.listdir(workspace)) == (str(workspace), 1, [])
    snapshot = cleaned["snapshot"]
    assert pair.a.json("state", "verify", snapshot)["ok"] is True
    reset = next(event for event in pair.a.events("agent.reset"))
    assert reset.actor.startswith("cli:")
    pair.a.json("agent", "restart", "far")


def test_what_the_other_node_raises_is_raised_here(pair: Pair) -> None:
    task = str(pair.b.dispatch("run: sleep 600", "--to", "far", "--async")["id"])
    until(lambda: pair.a.task(task)["status"] == "running")
    done = pair.a.run(
        "agent", "assign", "worker", "--name", "far", "--to-workspace", f"{pair.folder}/x", "--node", pair.b.id
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert f"node {pair.b.id}" in done.stderr and f"runs task {task}" in done.stderr and "--force" in done.stderr
    pair.a.json("task", "cancel", task)


def test_an_assignment_is_checked_bound_and_made_on_its_node(pair: Pair) -> None:
    words = ("--name", "other", "--to-workspace", f"{pair.b.folder}/other", "--node", pair.b.id)
    assert pair.a.json("agent", "assign", "worker", *words)["node"] == pair.b.id
    assert os.listdir(pair.b.folder / "other") == ["new"]
    assigned = [event.fact for event in pair.a.events("agent.assigned") if event.subject == "agent:other"]
    assert assigned[-1].workspace_root == str(pair.b.root)  # type: ignore[union-attr]
    again = ("agent", "assign", "worker", "--name", "other", "--to-workspace", f"{pair.b.folder}/other")
    assert pair.a.json(*again, "--role", "second")["node"] == pair.b.id
    done = pair.a.run("agent", "assign", "other", "--to-workspace", f"{pair.b.folder}/other")
    assert done.returncode == 2 and "other is an agent, of type worker" in done.stderr
    assert "maestro agent assign worker --name other" in done.stderr
    assert "did you mean 'far'" in pair.a.run("task", "dispatch", "true", "--to", "fur").stderr


def test_who_comes_to_a_drained_node_is_told_so(pair: Pair) -> None:
    """The daemon of that node stays while it is held busy, and whoever is assigned to it waits."""
    task = str(pair.b.dispatch("run: sleep 600", "--to", "far", "--async")["id"])
    until(lambda: pair.a.task(task)["status"] == "running")
    assert "finishes 1 run" in pair.a.run("node", "drain", pair.b.id).stderr
    words = ("--name", "late", "--to-workspace", f"{pair.b.folder}/late", "--node", pair.b.id)
    done = pair.a.run("agent", "assign", "worker", *words)
    assert done.returncode == 0 and f"takes nothing until `maestro node drain {pair.b.id} --undo`" in done.stderr
    pair.a.json("node", "drain", pair.b.id, "--undo")
    pair.a.json("task", "cancel", task)


def test_logs_of_runs_come_from_any_node_and_as_they_grow(pair: Pair) -> None:
    script = f"run: printf 'one é\\n'; until test -e {pair.folder}/go; do sleep 0.1; done; echo two"
    task = str(pair.b.dispatch(script, "--to", "far", "--async")["id"])
    until(lambda: "one é" in pair.a.run("task", "logs", task).stdout)
    following = start(pair.a, "agent", "logs", "far", "--follow")
    assert following.stdout is not None
    until(lambda: b"one" in os.read(following.stdout.fileno(), 1000))  # type: ignore[union-attr]
    (pair.folder / "go").touch()
    rest, _ = following.communicate(timeout=60)
    assert (following.returncode, b"two" in rest) == (0, True)
    assert pair.a.run("agent", "logs", "far", "--lines", "1").stdout == "two\n"
    told: list[str] = []

    def show(frame: p.Note | p.Item | p.Output) -> None:
        told.append(frame.text if isinstance(frame, p.Output) else "")

    asked = p.RunLog(f"{task}-0.1", end=5)  # as the board asks
    assert client.ask_running(asked, config.load(pair.a.env), show) == p.Done() and "".join(told) == "\ntwo\n"


def test_what_a_command_prints_or_answers_at_length_is_in_the_store_for_a_while_only(pair: Pair) -> None:
    """A log of some MB: one command in the log, and nothing of its text there or in the blobs."""
    script = f"run: printf go; until test -e {pair.folder}/large; do sleep 0.1; done; seq 400000"
    task = str(pair.b.dispatch(script, "--to", "far", "--async")["id"])
    until(lambda: pair.a.task(task)["status"] == "running")
    before = len(pair.a.events("forward.asked"))
    following = start(pair.a, "task", "logs", task, "--follow")
    assert following.stdout is not None
    until(lambda: b"go" in os.read(following.stdout.fileno(), 1000))  # type: ignore[union-attr]
    (pair.folder / "large").touch()
    text, _ = following.communicate(timeout=60)
    assert text.decode().splitlines() == [str(number) for number in range(1, 400_001)]
    asked = pair.a.events("forward.asked")[before:]
    answered = [event for event in pair.a.events("forward.answered") if event.subject in {one.subject for one in asked}]
    assert (len(asked), [one.fact.answer for one in answered]) == (1, ["{}"])  # type: ignore[union-attr]
    store = pair.a.store()
    try:
        taken = f"{asked[0].subject}:taken"
        until(lambda: (store.work.samples([taken])[0] or {"n": "-1"})["n"] == "-1")
    finally:
        store.close()


def test_a_large_answer_lies_beside_the_log_for_minutes(pair: Pair, tmp_path: Path) -> None:
    async def put() -> None:
        env = pair.a.env | {"MAESTRO_HOME": str(tmp_path), "MAESTRO_NAMESPACE": "beside"}
        async with open_context(config.load(env)) as context:
            assert await large_text.put(context, "forward:1:answer", "small") == ("small", False)
            text, apart = await large_text.put(context, "forward:1:answer", "é" * 10_000)
            assert (text, apart) == ("", True)
            assert await large_text.found(context, "forward:1:answer", text, apart) == "é" * 10_000
            assert await large_text.found(context, "forward:2:answer", text, apart) is None
            assert context.store.blobs.collect(frozenset(), 0) == 0

    trio.run(put)


def test_nothing_of_the_caller_is_in_the_log_but_who_and_where(pair: Pair) -> None:
    asked = [event.fact for event in pair.a.events("forward.asked")]
    assert asked
    for fact in asked:
        assert isinstance(fact, ForwardAsked)
        assert "a-secret" not in repr(fact) and "MAESTRO" not in repr(fact)
        assert fact.actor.startswith("cli:")


def test_the_list_of_workspaces_has_those_of_all_nodes(pair: Pair) -> None:
    (pair.b.folder / "far/file").write_text("12345")
    rows = {row["agent"]: row for row in pair.a.json("workspace", "list")}
    assert (rows["far"]["exists"], rows["far"]["bytes"] >= 5, rows["far"]["why"]) == (True, True, None)


def test_ctrl_c_says_what_goes_on_and_it_does_once(pair: Pair) -> None:
    b, a = pair.b, pair.a
    b.signal(signal.SIGSTOP)
    try:
        asking = start(a, "workspace", "clean", "far")
        until(lambda: len(a.events("forward.asked")) > len(a.events("forward.answered")))
        asking.send_signal(signal.SIGINT)
        _, said = asking.communicate(timeout=60)
        assert (asking.returncode, b"had not begun it, and does not" in said) == (130, True)
    finally:
        b.signal(signal.SIGCONT)
    assert (b.folder / "far/file").exists()
    until(lambda: {row["id"]: row for row in a.json("node", "list")}[b.id]["status"] == "up")
    task = str(a.dispatch("run: trap 'sleep 2; exit' TERM; sleep 600 & wait", "--to", "far", "--async")["id"])
    until(lambda: a.task(task)["status"] == "running")
    begun = len(a.events("forward.begun"))
    asking = start(a, "workspace", "clean", "far")
    until(lambda: len(a.events("forward.begun")) > begun)
    asking.send_signal(signal.SIGINT)
    _, said = asking.communicate(timeout=60)
    assert (asking.returncode, b"goes on with it" in said) == (130, True)
    until(lambda: len(a.events("forward.asked")) == len(a.events("forward.answered")))
    assert os.listdir(b.folder / "far") == []
    assert len(a.events("forward.begun")) == begun + 1
    a.json("agent", "restart", "far")


def test_an_outage_of_the_store_in_the_middle_is_waited_out(pair: Pair) -> None:
    a, b = pair.a, pair.b
    (b.folder / "far/file").touch()
    task = str(a.dispatch("run: trap 'sleep 2; exit' TERM; sleep 600 & wait", "--to", "far", "--async")["id"])
    until(lambda: a.task(task)["status"] == "running")
    begun = len(a.events("forward.begun"))
    asking = start(a, "workspace", "clean", "far")
    until(lambda: len(a.events("forward.begun")) > begun)
    pair.server.kill()
    time.sleep(0.8)  # long enough that what has begun there asks the store while it is away
    pair.server.start()
    _, said = asking.communicate(timeout=60)
    assert asking.returncode == 0, said
    assert os.listdir(b.folder / "far") == []
    assert len(a.events("forward.begun")) == begun + 1
    a.json("agent", "restart", "far")


def test_it_ends_there_where_the_asker_is_killed(pair: Pair) -> None:
    a, b = pair.a, pair.b
    (b.folder / "far/file").touch()
    task = str(a.dispatch("run: trap 'sleep 2; exit' TERM; sleep 600 & wait", "--to", "far", "--async")["id"])
    until(lambda: a.task(task)["status"] == "running")
    begun = len(a.events("forward.begun"))
    asking = start(a, "workspace", "clean", "far")
    until(lambda: len(a.events("forward.begun")) > begun)
    a.kill()
    assert asking.wait(60) != 0
    until(lambda: len(b.events("forward.asked")) == len(b.events("forward.answered")))
    assert os.listdir(b.folder / "far") == []
    a.up()
    a.json("agent", "restart", "far")


def test_a_daemon_that_is_killed_in_the_middle_is_told_of_within_seconds(pair: Pair) -> None:
    a, b = pair.a, pair.b
    task = str(a.dispatch("run: trap '' TERM; sleep 600", "--to", "far", "--async")["id"])
    until(lambda: a.task(task)["status"] == "running")
    begun = len(a.events("forward.begun"))
    asking = start(a, "agent", "reset", "far")
    until(lambda: len(a.events("forward.begun")) > begun)
    b.kill()
    _, said = asking.communicate(timeout=60)
    assert asking.returncode == 5 and b"it was begun" in said and said.count(b"\n") == 1, said
    done = a.run("agent", "reset", "far")
    assert (done.returncode, "nothing was begun" in done.stderr, "maestro up" in done.stderr) == (4, True, True)
    rows = {row["agent"]: row for row in a.json("workspace", "list")}
    assert rows["far"]["exists"] is None and rows["far"]["why"] in (f"node {b.id} is away", f"node {b.id} is lost")
    b.up()
    assert len(a.events("forward.begun")) == begun + 1
    answered = [event.fact for event in a.events("forward.answered")]
    assert all(isinstance(fact, ForwardAnswered) for fact in answered)
    assert a.json("replay", "verify")["ok"] is True
