"""Every refusal that names a way out leads out: the remedies of the code, each with the walk that was tried.

`WALKS` has an entry for each remedy that `tests/house/remedies.py` finds in the source, so that a new one fails here
until its walk is written. A walk brings an installation into the situation, has a command refused with that text, runs
the command that it names, and sees the refused one work. `ELSEWHERE` names the tests that walk a remedy already;
`UNTRIED` says why one is not walked; `RUN_WALKS` has the walks of runs of workflows.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from maestro.model.events import NewEvent, SnapshotFailed, SnapshotStarted
from maestro.store.contract import Append
from tests.cli.conftest import CommandLine
from tests.conftest import StoreServer
from tests.house.remedies import BARE, remedies
from tests.house.untried_remedies import UNTRIED
from tests.house.walked_remedies import ELSEWHERE
from tests.runtime.acting import Node, marked, until
from tests.runtime.handlers.run_walks import RUN_WALKS, RunWalk
from tests.runtime.workflow_place import WorkflowPlace

TOP = Path(__file__).parents[3]
Walk = Callable[[Node], None]


def refused(node: Node, text: str, *words: str, code: int = 3, **env: str) -> str:
    """Run a command that must be refused with this remedy; its line."""
    done = node.run(*words, **env)
    pattern = ".+".join(re.escape(part) for part in text.split("{}"))
    assert done.returncode == code, (words, done)
    assert re.search(pattern.strip("+."), done.stderr), (pattern, done.stderr)
    return done.stderr


def listed(text: str, refused_words: str, lists: str, works: str, code: int = 3) -> Walk:
    """A name that is not there; the list that the remedy names has one with which it works. `{}`: the name."""

    def walk(node: Node) -> None:
        refused(node, text, *refused_words.format(f"nothing-{os.urandom(2).hex()}").split(), code=code)
        row = node.json(*lists.split())[0]
        name = row.get("id") or row.get("key") or row.get("workspace")
        node.json(*works.format(name).split())

    return walk


def an_agent_that_is_not_there(node: Node) -> None:
    text = "maestro agent list shows all, maestro agent assign makes one"
    refused(node, text, "task", "dispatch", "true", "--to", "role:none")
    assert node.json("agent", "list")
    node.json("agent", "assign", "worker", "--name", "of-role", "--role", "none", "--to-workspace", f"{node.folder}/r")
    node.dispatch("true", "--to", "role:none")


def a_stopped_agent(node: Node) -> None:
    node.json("agent", "stop", "w1")
    line = refused(node, "maestro agent restart {}", "task", "dispatch", "true", "--to", "w1", code=4)
    node.json(*line.rpartition("; ")[2].split()[1:])
    node.dispatch("true", "--to", "w1", "--sync")


def a_task_that_runs(node: Node) -> None:
    task = node.dispatch("run:sleep 600", "--to", "w1")["id"]
    line = refused(node, "maestro task cancel {} ends it", "task", "retry", task, code=4)
    node.json(*line.rpartition("; ")[2].split()[1:4])
    node.run("task", "wait", task)
    node.json("task", "retry", task)
    node.json("task", "cancel", task)
    node.run("task", "wait", task)


def a_session_that_was_never_told(node: Node) -> None:
    task = node.dispatch("true", "--to", "w1", "--sync")["id"]
    line = refused(node, "maestro task retry {} starts anew", "task", "retry", task, "--continue", code=4)
    node.json(*line.rpartition("; ")[2].split()[1:4])


def no_task_yet(node: Node) -> None:
    node.json("agent", "assign", "worker", "--name", "fresh", "--to-workspace", f"{node.folder}/fresh")
    refused(node, "maestro task dispatch makes one", "task", "status", "--last", "fresh")
    node.dispatch("true", "--to", "fresh", "--sync")
    node.json("task", "status", "--last", "fresh")


def no_run_yet(node: Node) -> None:
    node.json("agent", "assign", "worker", "--name", "new", "--to-workspace", f"{node.folder}/new")
    refused(node, "maestro task dispatch <prompt> --to {}", "agent", "logs", "new")
    node.dispatch("echo said", "--to", "new", "--sync")
    assert "said" in node.run("agent", "logs", "new").stdout


def an_argument_that_is_missing(node: Node) -> None:
    refused(node, "see `maestro agent assign --help`", "agent", "assign", code=2)
    assert "--to-workspace" in node.run("agent", "assign", "--help").stdout


def a_snapshot_that_failed(node: Node) -> None:
    text = "maestro state snapshots lists those that are complete"
    store = node.store()
    events = (
        NewEvent("snapshot:s-failed", SnapshotStarted("s-failed", "asked", False), store.log.head().floor),
        NewEvent("snapshot:s-failed", SnapshotFailed("s-failed", "the disk was full")),
    )
    store.log.commit([Append(events, "test", "cmd:failed")], None)
    store.close()
    kept = node.json("state", "snapshot")["id"]
    for words in (("pin",), ("verify",), ("restore",)):
        refused(node, text, "state", *words, "s-failed", code=4)
    names = [row["id"] for row in node.json("state", "snapshots")]
    assert kept in names
    assert "s-failed" not in names
    node.json("state", "verify", kept)


def no_snapshot_yet(node: Node) -> None:
    with beside(node) as fresh:
        refused(fresh, "take one with `maestro state snapshot`", "state", "verify", "latest")
        refused(fresh, "take one with `maestro state snapshot`", "state", "restore", "latest")
        fresh.json("state", "snapshot")
        fresh.json("state", "verify", "latest")
        fresh.json("state", "restore", "latest")


def a_snapshot_of_another_history(node: Node) -> None:
    text = "restore it with a MAESTRO_NAMESPACE of its own, or after `maestro redis flush`"
    export = node.folder / "export.tar.gz"
    node.json("state", "snapshot", "--output", str(export))
    with beside(node) as other:
        other.json("state", "set", "a", "1")
        restore = ("state", "restore", str(export), "--skip-failed", "--dry-run")
        refused(other, text, *restore, code=4)
        done = other.run(*restore, MAESTRO_NAMESPACE=f"{other.namespace}-own")
        assert done.returncode in (0, 6), done
        assert "another history" not in done.stderr
        other.json("redis", "flush", "--confirm", other.namespace, "--no-backup")
        done = other.run(*restore)
        assert "another history" not in done.stderr


def no_daemon(node: Node) -> None:
    with beside(node, MAESTRO_AUTOSTART="false") as fresh:
        refused(fresh, "start it with `maestro up`", "task", "dispatch", "true", "--to", "shell", code=4)
        fresh.json("up")
        fresh.dispatch("true", "--to", "shell", "--sync")


def no_nodes(node: Node) -> None:
    with beside(node) as fresh:
        assert "no nodes; start one with `maestro up`" in fresh.run("node", "list", "--format", "table").stderr
        assert "no agents; see `maestro agent assign --help`" in fresh.run("agent", "list", "--format", "table").stderr
        fresh.json("up")
        assert len(fresh.json("node", "list")) == 1


def a_flush_while_runs_are_on(node: Node) -> None:
    with beside(node) as fresh:
        mark = os.urandom(4).hex()
        fresh.dispatch(f"export MARK={mark}; exec sleep 600", "--to", "shell")
        until(lambda: marked(mark))
        flush = ("redis", "flush", "--confirm", fresh.namespace, "--no-backup")
        refused(fresh, "maestro shutdown first", *flush, code=4)
        fresh.json("shutdown", "--grace-period", "1")
        fresh.json(*flush)


def an_event_that_was_altered(node: Node) -> None:
    with beside(node) as fresh:
        for value in "123":
            fresh.json("state", "set", "a", value)
        with redis.Redis(unix_socket_path=node.url.removeprefix("unix://")) as raw:
            log = f"maestro:{{{fresh.namespace}}}:log"
            entries = raw.xrange(log)
            raw.delete(log)
            for identity, fields in entries:
                fields[b"actor"] = b"another" if identity == b"2-0" else fields[b"actor"]
                raw.xadd(log, fields, identity)
        for words in (("audit",), ("events", "export"), ("events", "tail")):
            line = refused(fresh, "log: {}; what is shown is what the store holds, {}", *words, code=6)
            assert "event 2, or the chain before it, was altered" in line
            assert "`maestro replay verify` tells all that is wrong" in line
        assert fresh.run("replay", "verify").returncode == 6
        (row,) = [row for row in json.loads(fresh.run("doctor").stdout) if row["check"] == "log"]
        assert row["status"] == "failed"
        assert row["remedy"].startswith("`maestro replay verify` tells all; ")
        assert "maestro doctor --accept-loss" in row["remedy"]
        assert fresh.run("doctor", "--accept-loss").returncode == 0
        for words in (("audit",), ("events", "export"), ("replay", "verify")):
            assert fresh.run(*words).returncode == 0
        (row,) = [row for row in json.loads(fresh.run("doctor").stdout) if row["check"] == "log"]
        assert "was checked; `maestro replay verify` checks all" in row["detail"]


def a_view_that_is_damaged(node: Node) -> None:
    with beside(node) as fresh:
        fresh.json("state", "set", "a", "1")
        with redis.Redis(unix_socket_path=node.url.removeprefix("unix://")) as raw:
            (key,) = raw.scan_iter(f"maestro:{{{fresh.namespace}}}:view:*:index:state:name")
            raw.delete(key)
            found = fresh.run("replay", "verify")
            assert found.returncode == 6
            assert "index:state:name holds 0 entries, not 1" in found.stdout
            assert fresh.run("replay", "rebuild").returncode == 0
            assert fresh.run("replay", "verify").returncode == 0
            raw.delete(*raw.scan_iter(f"maestro:{{{fresh.namespace}}}:view:*:rows:state"))
        assert [row["key"] for row in fresh.json("state", "list")] == ["a"], "who meets it builds it anew"


def beside(node: Node, **env: str) -> Node:
    """Another installation on the same store, in a namespace of its own."""
    folder = node.folder / os.urandom(4).hex()
    return Node(folder, MAESTRO_REDIS_URL=node.url, **env)


WALKS: dict[str, Walk] = {
    "maestro agent list shows all": listed(
        "maestro agent list shows all", "task list --agent {}", "agent list", "task list --agent {}"
    ),
    "maestro task list shows all": listed(
        "maestro task list shows all", "task status {}", "task list", "task status {}"
    ),
    "maestro state list shows all": listed(
        "maestro state list shows all", "state get {}", "state list", "state get {}"
    ),
    "maestro state snapshots lists all": listed(
        "maestro state snapshots lists all", "state pin {}", "state snapshots", "state pin {}"
    ),
    "maestro agent list shows all, maestro agent assign makes one": an_agent_that_is_not_there,
    "maestro agent restart {}": a_stopped_agent,
    "maestro task cancel {} ends it": a_task_that_runs,
    "maestro task retry {} starts anew": a_session_that_was_never_told,
    "maestro task dispatch makes one": no_task_yet,
    "maestro task dispatch <prompt> --to {}": no_run_yet,
    "see `maestro agent assign --help`": an_argument_that_is_missing,
    "maestro state snapshots lists those that are complete": a_snapshot_that_failed,
    "take one with `maestro state snapshot`, or name one that `maestro state snapshots` lists": no_snapshot_yet,
    "restore it with a MAESTRO_NAMESPACE of its own, or after `maestro redis flush`": a_snapshot_of_another_history,
    "start it with `maestro up`": no_daemon,
    "no nodes; start one with `maestro up`": no_nodes,
    "no agents; see `maestro agent assign --help`": no_nodes,
    "maestro shutdown first": a_flush_while_runs_are_on,
    "log: {}; what is shown is what the store holds, `maestro replay verify` tells all that is wrong": (
        an_event_that_was_altered
    ),
    "`maestro replay verify` tells all; ": an_event_that_was_altered,
    "the chain of the last {} was checked; `maestro replay verify` checks all": an_event_that_was_altered,
    "`maestro replay rebuild` builds them anew from the log": a_view_that_is_damaged,
}


def test_each_remedy_has_its_walk() -> None:
    found = remedies(TOP)
    told = {*WALKS, *RUN_WALKS, *ELSEWHERE, *UNTRIED}
    assert not {text: where for text, where in found.items() if text not in told}, "give each a walk"
    assert not told - found.keys(), "these are no longer said"
    for test in ELSEWHERE.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (TOP / path).read_text(), test


def test_each_remedy_can_be_pasted_as_it_stands() -> None:
    bare = {text: where for text, where in remedies(TOP).items() if BARE.search(text)}
    assert not bare, "write `maestro` before each command that a person may paste"


@pytest.fixture(scope="module")
def lived(place: Node) -> Node:
    """The installation that most walks begin in: a task, a key, a snapshot."""
    place.dispatch("true", "--to", "w2", "--sync")
    place.json("state", "set", "a", "1", "--ttl", "0")
    place.json("state", "snapshot")
    return place


@pytest.mark.parametrize("walk", list({id(walk): walk for walk in WALKS.values()}.values()))
def test_the_way_out_leads_out(lived: Node, server: StoreServer, walk: Walk) -> None:
    lived.url = server.url
    walk(lived)


@pytest.mark.parametrize("walk", list(dict.fromkeys(RUN_WALKS.values())))
def test_the_way_out_of_a_run_leads_out(
    lived: Node, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, walk: RunWalk
) -> None:
    walk(WorkflowPlace(lived, CommandLine(lived.env, capfdbinary, monkeypatch)))
