"""Failsafe mode by a real daemon: workspaces go back after bad ends, exactly, and never over the work of others."""

from __future__ import annotations

import hashlib
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

from maestro.workspaces.exchanges.exchange import STAGE_PREFIX
from tests.runtime.acting import Node, ended, until

ROOT = Path(__file__).parents[3]
RUIN = "rm -rf ./* .hidden; mkdir new; echo bad > new/file; echo bad > 'a file'"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("failsafe"), MAESTRO_FAILSAFE_MODE="true") as node:
        yield node.up()


def look(tree: Path) -> dict[str, tuple[Any, ...]]:
    """Everything that a return has to bring back: names, kinds, modes, times, contents, attributes, links."""
    found: dict[str, tuple[Any, ...]] = {}
    names: dict[int, list[str]] = {}
    for path in [tree, *sorted(tree.rglob("*"))]:
        name, status = str(path.relative_to(tree)), path.lstat()
        content = ""
        if path.is_symlink():
            content = str(path.readlink())
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            names.setdefault(status.st_ino, []).append(name)
        attributes = [] if path.is_symlink() else [(one, os.getxattr(path, one)) for one in os.listxattr(path)]
        found[name] = (status.st_mode, status.st_mtime_ns, content, attributes)
    found["links"] = tuple(sorted(tuple(group) for group in names.values() if len(group) > 1))
    return found


class Place:
    """An agent with a workspace full of odd things."""

    def __init__(self, node: Node, agent: str, kind: str = "shell", **keys: Any) -> None:
        self.node, self.agent = node, agent
        self.tree = node.folder / f"at-{agent}" / "work"
        if keys:
            node.agent_type(kind, adapter="shell", **keys)
        node.json("agent", "assign", kind, "--name", agent, "--to-workspace", str(self.tree))
        until(self.tree.is_dir)
        (self.tree / "sub/deep").mkdir(parents=True)
        (self.tree / "sub/deep/kept").write_text("kept")
        (self.tree / "a file").write_text("before")
        (self.tree / "a file").chmod(0o741)
        os.link(self.tree / "a file", self.tree / "sub/other name")
        (self.tree / ".hidden").symlink_to("sub/nowhere")
        os.setxattr(self.tree / "sub/deep/kept", "user.mine", b"\0\1")
        os.utime(self.tree / "sub/deep/kept", ns=(5, 1_000_000_007))
        os.utime(self.tree / "sub/deep", ns=(5, 2_000_000_009))
        self.before = look(self.tree)

    def work(self, prompt: str, *words: str, code: int = 0, **env: str) -> dict[str, Any]:
        return self.node.dispatch(prompt, "--to", self.agent, "--sync", *words, code=code, **env)

    def facts(self, kind: str) -> list[Any]:
        return [event.fact for event in self.node.events(kind) if event.subject == f"agent:{self.agent}"]

    @property
    def row(self) -> dict[str, Any]:
        rows: list[dict[str, Any]] = self.node.json("agent", "list")
        return next(row for row in rows if row["id"] == self.agent)

    def is_clean(self) -> bool:
        return not list(self.tree.parent.glob(f"{STAGE_PREFIX}*"))


@pytest.fixture(scope="module", autouse=True)
def frozen(node: Node) -> tuple[Place, str]:
    """An agent that stops itself, begun before all tests: it takes two heartbeats to be seen."""
    place = Place(node, "frozen")
    return place, str(node.dispatch(RUIN + "; kill -STOP $$; sleep 60", "--to", "frozen")["id"])


def test_an_agent_that_deletes_everything_and_fails_leaves_what_there_was(node: Node) -> None:
    place = Place(node, "ruiner")
    done = place.work(RUIN + "; exit 7", code=7)
    assert look(place.tree) == place.before and place.is_clean()
    (fact,) = place.facts("failsafe.returned")
    assert (fact.why, fact.in_a_row, fact.run) == ("exit", 1, done["runs"][0]["id"])
    assert node.json("state", "verify", fact.failed)["ok"] and node.json("state", "verify", fact.snapshot)["ok"]
    seqs = {event.type: event.seq for event in node.events() if event.subject in ("agent:ruiner", f"run:{fact.run}")}
    assert seqs["failsafe.returned"] < seqs["run.ended"], "the task ends only after the return"
    way = f"maestro state restore {fact.failed} --workspace {place.tree}"
    said = f"went back to what it was before the run (snapshot {fact.snapshot}); what the run left is in"
    assert f"{said} {fact.failed}: {way}" in done["reason"] and way in done["runs"][0]["evidence"]
    assert way in node.run("task", "status", done["id"], "--format", "table").stdout.replace("\n", "")
    told = [row for row in node.json("audit", "agent:ruiner") if row["type"].startswith("failsafe.")]
    assert {row["because"] for row in told} == {f"run.released run:{fact.run}"}
    table = node.run("audit", "agent:ruiner", "--type", "failsafe", "--format", "table").stdout
    assert f"snapshot={fact.snapshot} failed={fact.failed} why=exit" in table
    node.json(*way.split()[1:])
    assert (place.tree / "new/file").read_text() == "bad\n" and not (place.tree / "sub").exists()


def test_even_the_folder_itself_comes_back(node: Node) -> None:
    place = Place(node, "vandal")
    place.work('cd /; rm -rf "$MAESTRO_WORKSPACE"; exit 1', code=1)
    assert look(place.tree) == place.before and place.facts("failsafe.returned")[0].failed == ""


def test_a_change_that_only_times_tell_goes_back_and_none_is_told_as_none(node: Node) -> None:
    place = Place(node, "toucher")
    place.work("touch sub/deep/x; rm sub/deep/x; exit 1", code=1)
    assert look(place.tree) == place.before
    inode = place.tree.stat().st_ino
    place.work("ls; exit 1", code=1)
    first, second = place.facts("failsafe.returned")
    assert first.failed != first.snapshot and second.failed == second.snapshot
    assert place.tree.stat().st_ino == inode and look(place.tree) == place.before


@pytest.mark.parametrize(
    ("agent", "prompt", "words", "code", "why", "keys"),
    [
        ("late", RUIN + "; sleep 60", ("--timeout", "0.5"), 124, "timeout", {}),
        ("silent", RUIN + "; sleep 60", (), 1, "stalled", {"limits": {"silent_s": 0.5}}),
        ("unproved", RUIN, ("--verify", "test -e sub/deep/kept"), 1, "agent_error", {}),
        ("mute", RUIN, (), 1, "no_output", {"success": {"output_required": True}}),
    ],
)
def test_it_goes_back_after_each_bad_end(
    node: Node, agent: str, prompt: str, words: tuple[str, ...], code: int, why: str, keys: dict[str, Any]
) -> None:
    place = Place(node, agent, agent if keys else "shell", **keys)
    done = node.run("task", "dispatch", prompt, "--to", agent, "--sync", *words)
    assert done.returncode == code, done.stdout
    assert [fact.why for fact in place.facts("failsafe.returned")] == [why]
    assert look(place.tree) == place.before and place.row["state"] == "idle"


def test_what_is_cancelled_or_ends_well_stays(node: Node) -> None:
    place = Place(node, "calm")
    place.work("echo good > good")
    task = node.dispatch("echo half > half; touch on; sleep 60", "--to", "calm")["id"]
    until((place.tree / "on").exists)
    node.json("task", "cancel", task)
    until(lambda: node.task(task)["finished_at"])
    assert (place.tree / "half").exists() and (place.tree / "good").exists()
    assert [fact.good for fact in place.facts("failsafe.dropped")] == [True, False]
    assert not place.facts("failsafe.returned") and place.row["state"] == "idle"


def test_a_restore_in_the_middle_of_a_run_lets_the_agent_work_again(node: Node) -> None:
    place = Place(node, "restored")
    archive = node.json("state", "snapshot", "--workspace", str(place.tree))["id"]
    node.dispatch("touch on; sleep 60", "--to", "restored")
    until((place.tree / "on").exists)
    node.json("state", "restore", archive, "--workspace", str(place.tree))
    assert look(place.tree) == place.before and place.row["state"] == "idle"


def test_each_attempt_finds_what_the_first_found(node: Node) -> None:
    place = Place(node, "again")
    count = node.folder / "attempts"
    prompt = f"ls -A | sort > /dev/null; test ! -e half || echo half >> {count}; echo x >> {count}; touch half; exit 1"
    place.work(prompt, "--retries", "1", code=1)
    assert count.read_text() == "x\nx\n" and look(place.tree) == place.before
    assert [fact.in_a_row for fact in place.facts("failsafe.returned")] == [1, 2]


def test_after_three_returns_in_a_row_the_agent_is_held_and_its_remedy_leads_out(node: Node) -> None:
    place = Place(node, "hopeless")
    place.work("touch x; exit 1", code=1)
    place.work("true")
    for _ in range(3):
        place.work("touch x; exit 1", code=1)
    assert [fact.in_a_row for fact in place.facts("failsafe.returned")] == [1, 1, 2, 3]
    assert place.row["state"] == "stopped" and place.row["reason"].startswith("failsafe: 3 runs in a row ended badly")
    refused = node.run("task", "dispatch", "true", "--to", "hopeless")
    assert refused.returncode == 4 and "maestro agent restart hopeless" in refused.stderr
    node.json("agent", "restart", "hopeless")
    place.work("touch x; exit 1", code=1)
    assert place.facts("failsafe.returned")[-1].in_a_row == 1 and look(place.tree) == place.before


def test_a_type_says_for_itself_whether_it_is_guarded(node: Node) -> None:
    bare = Place(node, "bare", "bare", failsafe=False)
    bare.work("echo x > x; exit 1", code=1)
    assert (bare.tree / "x").exists() and not bare.facts("failsafe.guarded")
    assert node.json("agent", "types", "--show", "bare")["keys"]["failsafe"] is False


def test_a_workspace_that_looks_as_it_did_is_not_archived_again(node: Node) -> None:
    place = Place(node, "reader")
    time.sleep(0.1)  # what was changed just now is not believed to be unchanged
    place.work("ls")
    until(lambda: len(_snapshots(node, "reader")) == 1)
    for _ in range(2):
        place.work("ls")
    assert len(_snapshots(node, "reader")) == 1
    assert len({fact.snapshot for fact in place.facts("failsafe.guarded")}) == 1
    (place.tree / "a file").write_text("BEFORE")  # as many bytes
    before = look(place.tree)
    place.work("echo z > 'a file'; exit 1", code=1)
    assert look(place.tree) == before


def _snapshots(node: Node, agent: str) -> list[str]:
    return [event.subject for event in node.events("snapshot.taken") if _holds(event.fact, agent)]


def _holds(fact: Any, agent: str) -> bool:
    return any(held.agent == agent for held in fact.workspaces)


def test_a_run_does_not_start_where_its_workspace_could_not_go_back(node: Node) -> None:
    place = Place(node, "queer")
    aside = shutil.move(place.tree, place.tree.with_name("aside"))
    place.tree.symlink_to(aside)
    done = node.run("task", "dispatch", "touch ran", "--to", "queer", "--sync", "--force")
    assert done.returncode == 1 and not (place.tree / "ran").exists()


def test_a_workflow_that_wants_to_keep_what_goes_back_is_refused_where_it_says_so(node: Node) -> None:
    Place(node, "wary", "wary", failsafe=True)
    file = node.folder / "flow.yaml"
    file.write_text(
        "name: x\nsteps:\n"
        "  - {id: a, agent: wary, prompt: x, retries: {max: 1, workspace: keep}}\n"
        "  - {id: b, agent: wary, prompt: x, retries: {max: 1, continue: true}}\n"
        "  - {id: c, agent: wary, prompt: x, retries: {max: 1}}\n"
        "  - {id: d, in: run, run: x, retries: {max: 1, workspace: keep}}\n"
        "  - {id: e, in: wary, run: x, retries: {max: 1, workspace: keep}}\n"
    )
    done = node.run("workflow", "create", "flow", "--definition", str(file))
    assert done.returncode == 2
    told = [line.removeprefix(f"{file}:").split(" ")[0] for line in done.stderr.splitlines()]
    assert [told[0], told[-1]] == ["3:55:", "7:49:"] and "4:55:" in told and len({one[0] for one in told}) == 3
    assert "type `wary` is in failsafe mode" in done.stderr and "or `failsafe: false` in the type" in done.stderr


def test_an_unhealthy_agent_is_stopped_and_its_workspace_goes_back(frozen: tuple[Place, str]) -> None:
    place, task = frozen
    done = until(lambda: (row := place.node.task(task))["finished_at"] and row)
    assert "unhealthy" in done["runs"][0]["evidence"] and done["outcome"] == "agent_error"
    assert look(place.tree) == place.before


def test_nothing_is_lost_where_the_daemon_is_killed_while_the_agent_works(node: Node) -> None:
    place = Place(node, "lost")
    flag = node.folder / "second"
    prompt = f"test ! -e {flag} || exec ls; touch {flag}; {RUIN}; touch on; sleep 60"
    task = node.dispatch(prompt, "--to", "lost")["id"]
    until((place.tree / "on").exists)
    _kill(node)
    node.up()
    row = until(lambda: (found := node.task(task))["finished_at"] and found)
    assert row["status"] == "completed" and "sub" in row["runs"][1]["result"], "the next attempt finds what there was"
    assert look(place.tree) == place.before and [fact.why for fact in place.facts("failsafe.returned")] == ["lost"]


def test_an_orderly_stop_leaves_what_the_run_has_done(node: Node) -> None:
    place = Place(node, "paused")
    prompt = "test ! -e half || exec touch saw; touch half; sleep 60"
    task = node.dispatch(prompt, "--to", "paused")["id"]
    until((place.tree / "half").exists)
    pid = node.pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: ended(pid))
    assert not place.facts("failsafe.returned")
    node.up()
    until(lambda: node.task(task)["finished_at"])
    assert (place.tree / "saw").exists() and not place.facts("failsafe.returned")


def test_what_a_person_has_changed_since_stays_and_the_agent_is_held(node: Node) -> None:
    place = Place(node, "touched")
    task = node.dispatch("echo half > half; touch on; sleep 60", "--to", "touched", "--retries", "2")["id"]
    until((place.tree / "on").exists)
    pid = _kill(node)
    attempt = node.root / "touched" / task / "attempts/1/exit.json"
    until(attempt.exists)
    assert ended(pid)
    (place.tree / "mine").write_text("of a person")
    node.up()
    (kept,) = until(lambda: place.facts("failsafe.kept"))
    assert "somebody has changed it since" in kept.why and (place.tree / "mine").exists()
    assert (place.tree / "half").exists() and not place.facts("failsafe.returned")
    row = until(lambda: (found := place.row)["state"] == "stopped" and found)
    assert row["reason"].startswith("failsafe: ") and not node.task(task)["finished_at"]
    evidence = until(lambda: node.task(task)["runs"][0]["evidence"])
    assert "stays as the run left it, and agent touched is held" in evidence and "has changed it since" in evidence
    command = f"maestro state restore {kept.snapshot} --workspace {place.tree}"
    assert command in row["reason"]
    node.json("state", "restore", kept.snapshot, "--workspace", str(place.tree))
    assert look(place.tree) == place.before
    node.json("task", "cancel", task)
    node.json("agent", "restart", "touched")
    place.work("true")


@pytest.mark.parametrize(
    "die",
    [
        "maestro.workspaces.archive.library:Archive.save:2",
        "maestro.runtime.restores.failsafe.left_trees:note:1",
        "maestro.workspaces.archive.library:Archive.restore:1",
        "maestro.workspaces.exchanges.exchange:put:1",
        "maestro.workspaces.exchanges.exchange:Exchange.commit:1",
        "maestro.runtime.snapshots.guard_archive:tell:1",
        "maestro.runtime.snapshots.guard_archive:tell:2",
    ],
)
def test_a_daemon_that_is_killed_as_it_puts_back_leaves_all_old_or_all_as_it_was_left(node: Node, die: str) -> None:
    agent = f"seam-{hashlib.sha256(die.encode()).hexdigest()[:6]}"
    place = Place(node, agent)
    _kill(node)
    argv = [sys.executable, "-m", "tests.runtime.dying", "worker"]
    with (node.home / "daemon.log").open("ab") as log:
        daemon = subprocess.Popen(argv, env={**node.env, "DIE": die}, cwd=ROOT, stderr=log)
    until(lambda: answers(node, daemon.pid))
    task = node.dispatch(RUIN + "; exit 5", "--to", agent)["id"]
    assert daemon.wait(60) == -signal.SIGKILL
    now = look(place.tree)
    assert now == place.before or set(now) == {".", "new", "new/file", "a file", "links"}, "never mixed"
    node.up()
    until(lambda: f"run:{task}-0.1" in node.ends())  # by the log: each command costs more than all the rest
    row = until(lambda: (found := node.task(task))["finished_at"] and found)
    assert (row["outcome"], row["exit_code"]) == ("exit", 5)
    assert "what the run left is in" in row["reason"], "told, whoever put it back"
    assert look(place.tree) == place.before and place.is_clean()
    assert [fact.why for fact in place.facts("failsafe.returned")] == ["exit"]
    assert not place.facts("failsafe.kept") and not place.facts("failsafe.dropped")
    place.work("true")


def answers(node: Node, pid: int) -> bool:
    """Whether that process is the daemon now: the socket of one that was killed lies there still."""
    try:
        return node.pid == pid
    except OSError:
        return False


def _kill(node: Node) -> int:
    pid = node.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: ended(pid))
    return pid
