"""Guarded workspaces and whatever else becomes of them meanwhile: retention, restores, moves, resets, steps, people."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from maestro import config
from maestro.runtime.daemon.bootstrap import open_context
from maestro.runtime.snapshots import retention
from tests.runtime.acting import Node, ended, until
from tests.runtime.restores.test_failsafe import ROOT, RUIN, Place, answers, look

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("guarded"), MAESTRO_FAILSAFE_MODE="true") as node:
        yield node.up()


def kill(node: Node) -> None:
    pid = node.pid
    node.kill()
    until(lambda: ended(pid))


class Busy:
    """A place whose run has ruined it, and goes on until it is let go: then it fails."""

    def __init__(self, node: Node, agent: str, *words: str) -> None:
        self.place = Place(node, agent)
        self._go = node.folder / f"go-{agent}"
        prompt = f"{RUIN}; touch on; while ! test -e {self._go}; do sleep 0.05; done; exit 5"
        self.task = str(node.dispatch(prompt, "--to", agent, *words)["id"])
        until((self.place.tree / "on").exists)

    def ends(self) -> dict[str, Any]:
        self._go.touch()
        return self.row()

    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = until(lambda: (row := self.place.node.task(self.task))["finished_at"] and row)
        return row


def test_retention_never_deletes_what_a_workspace_may_yet_go_back_to(node: Node) -> None:
    busy = Busy(node, "old")

    async def much_later() -> None:
        async with open_context(config.load(node.env, node.folder)) as context:
            await retention.expire(context, await context.now() + 100 * DAY_MS)

    trio.run(much_later)
    (guard,) = busy.place.facts("failsafe.guarded")
    assert [row["id"] for row in node.json("state", "snapshots", "--all") if row["automatic"]] == [guard.snapshot]
    assert busy.ends()["outcome"] == "exit" and look(busy.place.tree) == busy.place.before


def test_a_full_restore_during_a_guarded_run_counts_and_nothing_goes_back_over_it(node: Node) -> None:
    early = Place(node, "early")
    early.work("echo later > later")
    snapshot = node.json("state", "snapshot")["id"]
    (early.tree / "later").write_text("still later")
    busy = Busy(node, "restored")
    node.json("state", "restore", snapshot, "--workspace", str(early.tree))
    assert not busy.place.facts("failsafe.returned") and (busy.place.tree / "on").exists()
    node.json("state", "restore", snapshot)
    assert (early.tree / "later").read_text() == "later\n"
    assert not busy.place.facts("failsafe.returned") and not busy.place.facts("failsafe.kept")
    early.work("rm -r sub; exit 1", code=1)
    assert early.facts("failsafe.returned")[-1].in_a_row == 1 and (early.tree / "sub").is_dir()


def test_a_restore_to_the_middle_of_a_guarded_run_leaves_no_guard_that_nobody_ends(node: Node) -> None:
    place = Place(node, "amid")
    place.work(f"{RUIN}; exit 1", code=1)
    position = next(event.seq for event in node.events("failsafe.guarded") if event.subject == "agent:amid")
    node.json("state", "restore", "--at", str(position), "--skip-failed")
    if place.row["state"] == "stopped":
        node.json("agent", "restart", "amid")
    before = look(place.tree)
    place.work(f"{RUIN}; exit 1", code=1)
    assert look(place.tree) == before and place.row["state"] == "idle"


@pytest.mark.parametrize("way", ["reset", "move", "clean"])
def test_whoever_resets_moves_or_cleans_an_agent_in_the_middle_has_what_was_asked_for(node: Node, way: str) -> None:
    busy = Busy(node, f"mid-{way}")
    agent, tree = busy.place.agent, busy.place.tree
    if way == "move":
        words = ("agent", "assign", "shell", "--name", agent, "--to-workspace", f"{tree}-2")
        assert "or --force stops it" in node.run(*words).stderr
        node.json(*words, "--force")
        assert (tree / "on").exists(), "whoever moves an agent leaves the other workspace as it is"
    else:
        node.json(*(("workspace", "clean") if way == "clean" else ("agent", "reset")), agent)
        assert not list(tree.iterdir())
    assert busy.row()["runs"][0]["outcome"] == "cancelled"
    if busy.place.row["state"] == "stopped":
        node.json("agent", "restart", agent)
    busy.place.work("true")
    assert not busy.place.facts("failsafe.returned") and not busy.place.facts("failsafe.kept")


def test_the_type_of_whose_workspace_it_is_counts_for_a_step_of_another_agent(node: Node) -> None:
    safe, bare = Place(node, "safe", "safe", failsafe=True), Place(node, "unsafe", "unsafe", failsafe=False)
    for worker, owner in (("unsafe", "safe"), ("safe", "unsafe")):
        file = node.folder / f"in-{owner}.yaml"
        file.write_text(
            f"name: in-{owner}\nsteps: [{{id: a, agent: {worker}, in: {owner}, prompt: 'rm -r sub; exit 3'}}]\n"
        )
        node.json("workflow", "create", f"in-{owner}", "--definition", str(file))
        done = node.run("workflow", "run", f"in-{owner}")
        assert done.returncode == 3, done.stderr
    assert look(safe.tree) == safe.before and len(safe.facts("failsafe.returned")) == 1
    assert not (bare.tree / "sub").exists() and not bare.facts("failsafe.guarded")


def test_without_a_workspace_of_its_own_each_attempt_begins_with_a_fresh_copy(node: Node) -> None:
    template = node.folder / "template"
    template.mkdir()
    (template / "book").write_text("as it was")
    node.agent_type("fresh", adapter="shell", workspace_template=str(template))
    node.json("agent", "assign", "fresh", "--name", "fresh")
    done = node.dispatch("ls; rm book; touch half; exit 1", "--to", "fresh", "--sync", "--retries", "1", code=1)
    assert [run["result"].split() for run in done["runs"]] == [["book"], ["book"]]
    folder = node.root / "fresh" / done["id"]
    assert [path.name for path in (folder / "attempts/2/earlier").iterdir()] == ["half"], "what it left is kept"
    assert node.run("task", "retry", done["id"], "--sync").returncode == 1
    assert node.task(done["id"])["runs"][-1]["result"].split() == ["book"]


def test_a_run_that_uses_more_disk_than_it_may_leaves_what_there_was(node: Node) -> None:
    place = Place(node, "wide", "wide", resource_limits={"disk": "1M"})
    done = node.run("task", "dispatch", "head -c 5000000 /dev/zero > big; sleep 60", "--to", "wide", "--sync")
    assert done.returncode and look(place.tree) == place.before
    assert [fact.why for fact in place.facts("failsafe.returned")] == ["budget"]


def test_what_a_person_changes_while_a_return_is_broken_off_stays(node: Node) -> None:
    place = Place(node, "between")
    kill(node)
    argv = [sys.executable, "-m", "tests.runtime.dying", "worker"]
    die = "maestro.workspaces.archive.library:Archive.restore:1"
    with (node.home / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen(argv, env={**node.env, "DIE": die}, cwd=ROOT, stderr=log)
    until(lambda: answers(node, daemon.pid))
    task = node.dispatch(RUIN + "; exit 5", "--to", "between")["id"]
    assert daemon.wait(60) == -signal.SIGKILL
    Path(place.tree / "a file").write_text("BAD\n")  # as many bytes
    node.up()
    (kept,) = until(lambda: place.facts("failsafe.kept"))
    assert "somebody has changed it since" in kept.why and (place.tree / "a file").read_text() == "BAD\n"
    until(lambda: f"run:{task}-0.1" in node.ends())
    row = until(lambda: (found := node.task(task))["finished_at"] and found)
    assert row["outcome"] == "exit" and "stays as the run left it" in row["reason"] and place.is_clean()


def test_what_took_the_place_of_a_workspace_is_followed_nowhere_and_the_way_out_leads_out(node: Node) -> None:
    place = Place(node, "linked")
    place.work("cd ..; rm -rf work; ln -s /etc work; exit 3", code=3)
    (kept,) = place.facts("failsafe.kept")
    way = f"mv {place.tree} {place.tree}.left"
    assert way in place.row["reason"] and place.tree.is_symlink()
    back = ("state", "restore", kept.snapshot, "--workspace", str(place.tree))
    assert node.run(*back).returncode == 4
    subprocess.run(way.split(), check=True)
    node.json(*back)
    assert look(place.tree) == place.before
    node.json("agent", "restart", "linked")
    place.work("true")
