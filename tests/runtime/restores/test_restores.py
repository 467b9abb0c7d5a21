"""Going back, as its users do it: real daemon, real processes, real archives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from maestro.model.events import RestoreDone
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX, Exchange
from tests.runtime.acting import Node, marked, until
from tests.workspaces.archive.trees import told


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path) as node:
        for agent in ("ann", "ben"):
            node.json("agent", "assign", "shell", "--name", agent, "--to-workspace", str(tmp_path / agent))
            (tmp_path / agent / "mine").write_text(f"of {agent}")
        node.up()
        yield node
        assert not list(tmp_path.glob(f"{STAGE_PREFIX}*"))


def did(node: Node, agent: str, script: str) -> str:
    """A task that was carried out."""
    return str(node.dispatch(script, "--to", agent, "--sync")["id"])


def busy(node: Node, agent: str) -> tuple[str, str]:
    """A run that is on: its task and its mark."""
    mark = f"{agent}-{os.urandom(4).hex()}"
    task = str(node.dispatch(f"exec env MARK={mark} sh -c 'sleep 300'", "--to", agent)["id"])
    until(lambda: marked(mark))
    until(lambda: node.task(task)["status"] == "running")
    return task, mark


def restore(node: Node, *words: str, **named: Any) -> dict[str, Any]:
    row: dict[str, Any] = node.json("state", "restore", *words, **named)
    return row


def rows(node: Node, position: int | str, view: str) -> dict[str, Any]:
    return {row.pop("row"): row for row in node.json("replay", "at", str(position), view)}


def head(node: Node) -> int:
    return int(node.json("replay", "verify")["position"])


def test_workspaces_and_views_are_as_they_were_and_the_log_has_all_of_it(node: Node) -> None:
    first = did(node, "ann", "echo first > made; mkdir deep; echo x > deep/er")
    taken = node.json("state", "snapshot")
    was = {agent: told(node.folder / agent) for agent in ("ann", "ben")}
    second = did(node, "ann", "echo second > made; rm -r deep; echo new > more")
    shutil.rmtree(node.folder / "ben")
    node.json("agent", "assign", "shell", "--name", "cy", "--to-workspace", str(node.folder / "cy"))
    before = head(node)

    row = restore(node, "latest")
    assert row["position"] == taken["position"]
    assert {agent: told(node.folder / agent) for agent in ("ann", "ben")} == was
    assert [each["id"] for each in node.json("task", "list")] == [first]
    assert [each["id"] for each in node.json("agent", "list")] == ["ann", "ben"]
    after = head(node)
    for view in ("agents", "tasks", "queue"):
        assert rows(node, after, view) == rows(node, taken["position"], view)
    assert node.json("replay", "verify")["ok"]
    (done,) = node.events("restore.done")
    assert done.seq > before and isinstance(done.fact, RestoreDone)
    assert (done.fact.to, done.fact.before) == (taken["position"], row["before"])
    assert len(node.json("audit", second)) > 3
    assert (node.folder / "cy").is_dir()


def test_a_restore_is_undone_by_the_command_that_it_prints_and_that_one_too(node: Node) -> None:
    did(node, "ann", "echo one > made")
    node.json("state", "snapshot")
    second = did(node, "ann", "echo two > made")
    done = node.run("state", "restore", "latest")
    undo = json.loads(done.stdout)["undo"]
    assert done.returncode == 0 and undo in done.stderr
    assert (node.folder / "ann/made").read_text() == "one\n"
    again = json.loads(node.run(*undo.split()[1:]).stdout)["undo"]
    assert (node.folder / "ann/made").read_text() == "two\n"
    assert node.task(second)["status"] == "completed"
    third = did(node, "ann", "echo three > made")
    node.json(*again.split()[1:])
    assert (node.folder / "ann/made").read_text() == "one\n"
    assert node.run("task", "status", second).returncode == node.run("task", "status", third).returncode == 3
    assert node.json("replay", "verify")["ok"]
    assert len(node.events("restore.done")) == 3


def test_running_tasks_are_stopped_and_what_was_open_then_ends_cancelled_with_its_dependants(node: Node) -> None:
    task, mark = busy(node, "ann")
    waiting = str(node.dispatch("true", "--to", "ben", "--depends-on", task)["id"])
    node.json("state", "snapshot")
    later, other = busy(node, "ben")
    planned = node.json("state", "restore", "latest", "--dry-run")
    assert sorted(planned["open_tasks"]) == sorted([task, waiting])
    assert {agent["agent"]: agent["running_task"] for agent in planned["agents"]} == {"ann": task, "ben": later}
    assert marked(mark) and marked(other)

    row = restore(node, "latest")
    assert not marked(mark) and not marked(other)
    assert sorted(row["cancelled"]) == sorted([task, waiting])
    for name in (task, waiting):
        found = node.task(name)
        assert (found["status"], found["reason"]) == ("cancelled", "restored")
    assert node.run("task", "status", later).returncode == 3
    assert [agent["state"] for agent in node.json("agent", "list")] == ["idle", "idle"]
    assert set(node.ends().values()) == {1, 2}  # ann's run ended when it was stopped, and again on the restored line
    assert did(node, "ann", "true")


def test_what_was_queued_or_running_goes_on_where_that_is_asked_for(node: Node) -> None:
    task = str(node.dispatch("echo again >> times; test -e go || exec sleep 300", "--to", "ann")["id"])
    until(lambda: (node.folder / "ann/times").exists())
    waiting = str(node.dispatch("true", "--to", "ben", "--depends-on", task)["id"])
    node.json("state", "snapshot")
    node.json("task", "cancel", task)
    row = restore(node, "latest", "--resume-queued")
    assert sorted(row["resumed"]) == sorted([task, waiting])
    until(lambda: (node.folder / "ann/times").read_text() == "again\nagain\n")
    assert [node.task(name)["status"] for name in (task, waiting)] == ["running", "queued"]
    node.json("task", "cancel", task)


def test_keys_have_the_time_to_live_that_they_had_left(node: Node) -> None:
    node.json("state", "set", "short", "a", "--ttl", "1h")
    node.json("state", "set", "kept", "b", "--ttl", "0")
    node.json("state", "set", "gone", "c", "--ttl", "1s")
    time.sleep(1.1)
    node.json("state", "snapshot")
    node.json("state", "delete", "short")
    node.json("state", "set", "kept", "other")
    time.sleep(1.0)
    before = time.time()
    restore(node, "latest")
    keys = {row["key"]: row for row in node.json("state", "list")}
    assert sorted(keys) == ["kept", "short"]
    assert (keys["kept"]["value"], keys["kept"]["expires_at"]) == ("b", None)
    (set_again,) = [event for event in node.events("state.set") if event.seq > node.events("restore.done")[0].seq]
    left = set_again.fact.ttl_ms / 1000  # type: ignore[union-attr]
    assert 3590 < left < 3599 and set_again.at / 1000 >= before - 1


def test_the_dry_run_says_what_would_change_and_changes_nothing(node: Node) -> None:
    workspace = node.folder / "ann"
    did(
        node,
        "ann",
        "git init -q .; printf '%s\\n' '*.log' > .gitignore; echo one > kept; echo two > changed; git add .",
    )
    node.json("state", "snapshot")
    second = did(
        node, "ann", "rm kept; echo other > changed; echo 12345 > new; echo x > out.log; mkdir d; echo y > d/f"
    )
    was, position = told(workspace), head(node)

    planned = node.json("state", "restore", "latest", "--dry-run")
    ann = next(agent for agent in planned["agents"] if agent["agent"] == "ann")
    assert (ann["added"]["paths"], ann["changed"]["paths"]) == (["kept"], ["changed"])
    assert ann["deleted"]["paths"] == ["d/f", "new", "out.log"]
    assert (ann["deleted"]["files"], ann["deleted"]["bytes"]) == (3, 10)
    assert ann["unchanged"]["files"] > 3
    assert (ann["lost"]["untracked"]["paths"], ann["lost"]["ignored"]["paths"]) == (["d/f", "new"], ["out.log"])
    assert (planned["stopped"], planned["restarted"]) == (["ann", "ben"], ["ann", "ben"])
    assert planned["undone"]["tasks"] == [second]
    assert planned["undone"]["types"] == {
        **dict.fromkeys(["task.dispatched", "run.released", "run.started", "run.ended", "task.finished"], 1),
        "state.set": 1,
    }
    assert 0 < planned["disk_needed_bytes"] < planned["disk_free_bytes"]
    shown = node.run("state", "restore", "latest", "--dry-run", "--format", "table")
    assert "ann: ignored, would be lost: out.log" in shown.stdout
    assert (told(workspace), head(node)) == (was, position)


def test_one_workspace_is_put_back_and_the_state_stays(node: Node) -> None:
    did(node, "ann", "echo one > made")
    did(node, "ben", "echo one > made")
    node.json("state", "snapshot")
    task = did(node, "ann", "echo two > made")
    did(node, "ben", "echo two > made")
    running, mark = busy(node, "ben")
    row = restore(node, "latest", "--workspace", str(node.folder / "ann"))
    assert ((node.folder / "ann/made").read_text(), (node.folder / "ben/made").read_text()) == ("one\n", "two\n")
    assert node.task(task)["status"] == "completed" and node.task(running)["status"] == "running" and marked(mark)
    assert not node.events("restore.done") and len(node.events("restore.placed")) == 1
    assert did(node, "ann", "true")
    node.json(*row["undo"].split()[1:])
    assert (node.folder / "ann/made").read_text() == "two\n"
    assert node.run("state", "restore", "latest", "--workspace", "/nowhere").returncode == 3
    node.json("task", "cancel", running)


def test_any_position_can_be_gone_back_to_with_the_newest_archives_before_it(node: Node) -> None:
    did(node, "ann", "echo one > made")
    first = node.json("state", "snapshot")
    between = did(node, "ann", "echo two > made")
    position = head(node)
    second = node.json("state", "snapshot", "--workspace", "ben")
    did(node, "ann", "echo three > made")
    third = node.json("state", "snapshot", "--output", str(node.folder / "third.tar.gz"))
    did(node, "ann", "echo four > made")

    planned = node.json("state", "restore", "--at", str(head(node)), "--dry-run")
    assert {agent["snapshot"] for agent in planned["agents"]} == {third["id"]}
    planned = node.json("state", "restore", "--at", str(position), "--dry-run")
    apart = {agent["agent"]: (agent["snapshot"], agent["events_apart"]) for agent in planned["agents"]}
    assert set(apart.values()) == {(first["id"], position - first["position"])}
    row = restore(node, "--at", str(second["position"]))
    assert {each["agent"]: each["snapshot"] for each in row["workspaces"]} == {"ann": first["id"], "ben": second["id"]}
    assert (node.folder / "ann/made").read_text() == "one\n"
    assert node.json("task", "list", "--last")["id"] == between
    assert node.run("state", "restore", "--at", "3").returncode == 4  # nothing had been archived by then
    assert node.run("state", "restore", "--at", "9999").returncode == 2


def test_a_snapshot_of_one_workspace_does_not_pass_for_all(node: Node) -> None:
    taken = node.json("state", "snapshot", "--workspace", "ann")
    refused = node.run("state", "restore", taken["id"])
    assert refused.returncode == 4 and "ben" in refused.stderr and "--skip-failed" in refused.stderr
    (node.folder / "ann/mine").write_text("changed")
    (node.folder / "ben/mine").write_text("changed")
    row = restore(node, taken["id"], "--skip-failed")
    assert [each["agent"] for each in row["skipped"]] == ["ben"]
    assert ((node.folder / "ann/mine").read_text(), (node.folder / "ben/mine").read_text()) == ("of ann", "changed")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_flipped_byte_is_found_before_anything_is_done(node: Node, tmp_path: Path) -> None:
    (node.folder / "ann/large").write_bytes(os.urandom(200_000))
    node.json("state", "snapshot", "--output", str(tmp_path / "x.tar.gz"))
    taken = node.json("state", "snapshot")
    pack = max((node.home / "snapshots/packs").glob("*.pack"), key=lambda path: path.stat().st_size)
    flip(pack, pack.stat().st_size // 2)
    flip(tmp_path / "x.tar.gz", (tmp_path / "x.tar.gz").stat().st_size - 20_000)
    (node.folder / "ann/mine").write_text("changed")
    position = head(node)
    for source in (taken["id"], str(tmp_path / "x.tar.gz")):
        for words in ((), ("--dry-run",)):
            refused = node.run("state", "restore", source, *words)
            assert refused.returncode == 6, refused.stderr
    assert head(node) == position and (node.folder / "ann/mine").read_text() == "changed"
    # Unverified, it is found as it is written: nothing is put back, and the agents go on.
    (node.folder / "ann/large").unlink()
    for source in (taken["id"], str(tmp_path / "x.tar.gz")):
        refused = node.run("state", "rollback", source, "--skip-verify")
        assert refused.returncode == 6, refused.stderr
    assert (node.folder / "ann/mine").read_text() == "changed"
    assert len(node.events("restore.failed")) == len(node.events("restore.started")) > 0
    assert not node.events("restore.done") and did(node, "ann", "true")
    done = node.run("state", "restore", taken["id"], "--skip-failed")
    row = json.loads(done.stdout)
    assert done.returncode == 6 and row["skipped"] == []
    assert [(each["agent"], each["path"]) for each in row["damaged"]] == [("ann", "large")]
    assert (node.folder / "ann/mine").read_text() == "of ann" and not (node.folder / "ann/large").exists()


def test_a_second_restore_is_refused_while_one_is_under_way(node: Node) -> None:
    node.json("state", "snapshot")
    with Exchange(node.home / "restore" / "exchange"):
        refused = node.run("state", "restore", "latest")
    assert refused.returncode == 4 and "another restore is under way" in refused.stderr
    argv = [sys.executable, "-m", "maestro", "state", "restore", "latest"]
    both = [subprocess.Popen(argv, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    codes = sorted(each.wait(60) for each in both)
    assert codes in ([0, 4], [0, 0])  # the second may have come when the first was done
    assert node.json("replay", "verify")["ok"]
    for each in both:
        each.communicate()


def test_a_place_that_cannot_be_taken_is_named_beforehand(node: Node) -> None:
    node.json("state", "snapshot")
    shutil.rmtree(node.folder / "ben")
    (node.folder / "ben").write_text("a file")
    planned = node.run("state", "restore", "latest", "--dry-run")
    assert planned.returncode == 6
    assert [each["agent"] for each in json.loads(planned.stdout)["failing"]] == ["ben"]
    refused = node.run("state", "restore", "latest")
    assert refused.returncode == 4 and "ben" in refused.stderr
    assert [each["agent"] for each in restore(node, "latest", "--skip-failed")["skipped"]] == ["ben"]
    assert (node.folder / "ben").read_text() == "a file"


def test_a_workspace_in_whose_place_is_a_link_is_named_beforehand_and_nobody_is_stopped(node: Node) -> None:
    did(node, "ann", "echo one > made")
    taken = node.json("state", "snapshot")
    did(node, "ann", "echo two > made")
    elsewhere = node.folder / "elsewhere"
    elsewhere.mkdir()
    (node.folder / "ben").rename(node.folder / "ben-away")
    (node.folder / "ben").symlink_to(elsewhere)
    running, _ = busy(node, "ann")
    planned = node.run("state", "restore", taken["id"], "--dry-run", "--format", "json")
    why = {agent["agent"]: agent["why_not"] for agent in json.loads(planned.stdout)["agents"]}
    assert planned.returncode == 6 and why["ann"] is None and "is no folder" in why["ben"]
    assert node.run("state", "restore", taken["id"]).returncode == 4
    assert node.task(running)["status"] == "running"
    row = restore(node, taken["id"], "--skip-failed")
    assert [each["agent"] for each in row["skipped"]] == ["ben"]
    assert (node.folder / "ann/made").read_text() == "one\n" and (node.folder / "ben").is_symlink()


def test_ctrl_c_before_the_exchange_leaves_all_as_it_was(node: Node) -> None:
    (node.folder / "ann/large").write_bytes(os.urandom(60 << 20))
    node.json("state", "snapshot")
    (node.folder / "ann/large").unlink()
    argv = [sys.executable, "-m", "maestro", "state", "rollback", "latest", "--skip-verify"]
    client = subprocess.Popen(argv, env=node.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: node.events("restore.started"))
    client.send_signal(signal.SIGINT)
    out, err = client.communicate(timeout=60)
    if client.returncode == 130 and "nothing was changed" in err:
        assert not (node.folder / "ann/large").exists()
        until(lambda: node.events("restore.failed"))
    else:
        assert (node.folder / "ann/large").exists(), (out, err)
    assert not list(node.folder.glob(f"{STAGE_PREFIX}*"))
    assert did(node, "ann", "true")
