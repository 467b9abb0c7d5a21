"""A node dies whole, with its wardens and agents, and does not come back for long: what belongs to it is not stuck."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import StoreServer
from tests.runtime.acting import Node, marked, processes_of, until


class Pair(NamedTuple):
    """a stays; b dies. tasks: by the agent of b that ran it then."""

    a: Node
    b: Node
    tasks: dict[str, str]


WORKERS = ("cancelled", "stopped", "moved", "forced")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    server = StoreServer("valkey", "--appendfsync", "everysec")
    folder = tmp_path_factory.mktemp("lost")
    env = {"MAESTRO_REDIS_URL": server.url, "MAESTRO_NAMESPACE": f"t-{os.urandom(4).hex()}"}
    env["MAESTRO_MAX_CONCURRENT"] = "5"
    mark = f"lost-{os.urandom(4).hex()}"
    try:
        with Node(folder / "a", **env) as a, Node(folder / "b", **env) as b:
            for node in (a, b):
                node.agent_type("worker")
                node.up()
                node.agent_type("guarded", failsafe=True)
            b.json("agent", "assign", "guarded", "--name", "guarded", "--to-workspace", f"{b.folder}/guarded")
            until(Path(f"{b.folder}/guarded").is_dir)
            Path(f"{b.folder}/guarded/kept").touch()
            for name in (*WORKERS, "idle"):
                b.json("agent", "assign", "worker", "--name", name, "--to-workspace", f"{b.folder}/{name}")
            tasks = {}
            for name in WORKERS:
                prompt = f"run: test {name} = moved -a -e {a.folder}/go && exit 0; export MARK={mark}; sleep 600 & wait"
                tasks[name] = str(b.dispatch(prompt, "--to", name, "--async")["id"])
            prompt = f"run: test -e {a.folder}/go && exec ls; rm kept; touch half; export MARK={mark}; sleep 600 & wait"
            tasks["guarded"] = str(b.dispatch(prompt, "--to", "guarded", "--async")["id"])
            until(lambda: len(marked(mark)) == len(tasks))
            Path(f"{a.folder}/go").touch()
            for pid in processes_of(b):
                os.kill(pid, signal.SIGKILL)
            until(lambda: status_of(a, b) == "lost")
            yield Pair(a, b, tasks)
    finally:
        server.close()


def status_of(asked: Node, node: Node) -> str:
    return next(str(row["status"]) for row in asked.json("node", "list") if row["id"] == node.id)


def agents(node: Node) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in node.json("agent", "list")}


def runs(node: Node, task: str) -> list[tuple[str, str]]:
    return [(run["node"], run["outcome"]) for run in node.task(task)["runs"]]


def test_its_agents_are_unhealthy_in_the_append_that_loses_it(pair: Pair) -> None:
    found = agents(pair.a)
    assert {name: found[name]["healthy"] for name in (*WORKERS, "idle")} == dict.fromkeys((*WORKERS, "idle"), False)
    assert found["idle"]["state"] == "failed"
    assert found["idle"]["reason"] == f"node {pair.b.id} is lost"
    (lost,) = pair.a.events("node.lost")
    after = [event.subject for event in pair.a.events("agent.health_changed") if event.cause == lost.cause]
    assert sorted(after) == sorted(f"agent:{name}" for name in (*WORKERS, "guarded", "idle"))


def test_nothing_is_dispatched_to_it_and_the_refusal_says_why(pair: Pair) -> None:
    done = pair.a.run("task", "dispatch", "true", "--to", "idle", "--async")
    assert done.returncode == 4
    assert f"node {pair.b.id} is lost" in done.stderr
    assert "maestro agent assign idle --from-snapshot newest --node <node>" in done.stderr
    health = pair.a.run("agent", "health", "idle")
    assert (health.returncode, health.stdout.splitlines()[0]) == (1, "status: unhealthy")
    assert f"node {pair.b.id} is lost" in health.stdout


def test_no_restart_and_no_other_role_makes_it_healthy(pair: Pair) -> None:
    assert pair.a.json("agent", "restart", "idle")["healthy"] is False
    assert pair.a.json("agent", "assign", "worker", "--name", "idle", "--role", "other")["healthy"] is False
    assert agents(pair.a)["idle"]["healthy"] is False


def test_nobody_is_assigned_to_it(pair: Pair) -> None:
    words = ("--name", "new", "--to-workspace", f"{pair.b.folder}/new", "--node", pair.b.id)
    done = pair.a.run("agent", "assign", "worker", *words)
    assert (done.returncode, f"node {pair.b.id} is lost" in done.stderr) == (4, True)


def test_a_cancel_ends_what_ran_there(pair: Pair) -> None:
    row = pair.a.json("task", "cancel", pair.tasks["cancelled"])
    assert (row["status"], row["runs"][0]["outcome"]) == ("cancelled", "cancelled")
    assert f"node {pair.b.id} was lost" in row["runs"][0]["evidence"]


def test_a_stop_ends_what_ran_there(pair: Pair) -> None:
    row = pair.a.json("agent", "stop", "stopped")
    assert (row["state"], row["run"]) == ("stopped", None)
    assert runs(pair.a, pair.tasks["stopped"]) == [(pair.b.id, "cancelled")]


@pytest.mark.parametrize(("agent", "force"), [("moved", ()), ("forced", ("--force",))])
def test_its_work_goes_on_where_its_user_moves_it(pair: Pair, agent: str, force: tuple[str, ...]) -> None:
    workspace = f"{pair.a.folder}/{agent}"
    words = ("--name", agent, "--to-workspace", workspace, "--node", pair.a.id, *force)
    row = pair.a.json("agent", "assign", "worker", *words)
    assert (row["node"], row["healthy"], row["reason"]) == (pair.a.id, True, None)
    until(lambda: len(runs(pair.a, pair.tasks[agent])) == 2)
    assert runs(pair.a, pair.tasks[agent])[0] == (pair.b.id, "lost")
    if agent == "moved":
        assert pair.a.run("task", "wait", pair.tasks[agent]).returncode == 0
        assert runs(pair.a, pair.tasks[agent])[1] == (pair.a.id, "ok")
    else:
        assert pair.a.json("task", "cancel", pair.tasks[agent])["status"] == "cancelled"


def test_a_node_that_is_back_has_its_agents_healthy_and_no_run_has_ended_twice(pair: Pair) -> None:
    pair.b.up()
    until(lambda: agents(pair.a)["idle"]["healthy"])
    until(lambda: pair.a.run("agent", "health", "idle").returncode == 0)
    assert pair.a.dispatch("run: pwd", "--to", "idle", "--sync")["runs"][0]["node"] == pair.b.id
    assert set(pair.a.ends().values()) == {1}
    assert pair.a.json("replay", "verify")["ok"] is True


def test_a_workspace_there_goes_back_before_the_next_attempt_when_its_node_is_back(pair: Pair) -> None:
    assert pair.a.run("task", "wait", pair.tasks["guarded"]).returncode == 0
    first, second = pair.a.task(pair.tasks["guarded"])["runs"]
    assert (first["outcome"], second["outcome"], second["node"]) == ("lost", "ok", pair.b.id)
    assert second["result"].split()[-1] == "kept", "it finds what the first attempt found, and no `half`"
    seqs = {
        event.type: event.seq for event in pair.a.events() if event.subject in (f"run:{second['id']}", "agent:guarded")
    }
    assert seqs["failsafe.returned"] < seqs["run.started"]


def test_a_node_that_stood_still_and_goes_on_late_is_refused_and_never_writes_beside_another(
    pair: Pair, tmp_path: Path
) -> None:
    a, b = pair.a, pair.b
    workspace, order, go = tmp_path / "ws", tmp_path / "order", tmp_path / "go"
    b.json("agent", "assign", "worker", "--name", "late", "--to-workspace", str(workspace))
    alone = f"exec 9>{tmp_path}/guard; flock -n 9 || echo overlap >> {order}; echo $MAESTRO_RUN_ID >> {order}"
    task = str(b.dispatch(f"run: {alone}; test -e {go} || sleep 600", "--to", "late")["id"])
    until(order.exists)
    go.touch()
    still = processes_of(b)
    for pid in still:
        os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: status_of(a, b) == "lost")
        words = ("--name", "late", "--to-workspace", str(workspace), "--node", a.id)
        assert a.json("agent", "assign", "worker", *words)["node"] == a.id
        until(lambda: any("is busy" in (run["evidence"] or "") for run in a.task(task)["runs"][1:]))
        assert len(order.read_text().splitlines()) == 1, "nobody may write beside what stands still"
    finally:
        for pid in still:
            os.kill(pid, signal.SIGCONT)
    until(lambda: a.task(task)["status"] == "completed" or (a.task(task)["status"] == "failed" and retry(a, task)))
    until(lambda: status_of(a, b) == "up")
    lines = order.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 2 and "overlap" not in lines
    assert runs(a, task)[0] == (b.id, "lost") and runs(a, task)[-1] == (a.id, "ok")
    assert set(a.ends().values()) == {1}
    late = [event for event in a.events() if event.actor.endswith(b.id) and event.subject == "agent:late"]
    moved = max(event.seq for event in a.events("agent.assigned") if event.subject == "agent:late")
    assert all(event.seq < moved for event in late)


def retry(node: Node, task: str) -> bool:
    """Again, should the folder have been busy for so long that it was parked. False: it goes on."""
    node.run("task", "retry", task)
    return False
