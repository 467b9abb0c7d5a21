"""What a node does where the run of a workflow wishes that a workspace be archived, or go back: by a real daemon, which
is told of the wishes through the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from maestro.model import events as e
from maestro.model.events import NewEvent
from maestro.workspaces.exchanges.exchange import STAGE_PREFIX
from tests.runtime.acting import Node, until
from tests.runtime.restores.step_wishing import Flow, append, killed, place, tree, work


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("wishes")) as node:
        for name in ("ann", "ben"):
            (node.folder / f"at-{name}").mkdir()
            node.json("agent", "assign", "shell", "--name", name, "--to-workspace", str(place(node, name)))
        yield node.up()


def test_a_workspace_goes_back_to_what_it_was_before_the_step(node: Node) -> None:
    here = place(node, "ann")
    (here / "sub").mkdir()
    (here / "sub/kept").write_text("kept")
    (here / "changed").write_text("before")
    flow = Flow(node)
    flow.wish_archive("ann")
    archived = flow.archived()
    assert archived.snapshot and not archived.error and archived.size
    work(node, "echo after > changed; rm -r sub; echo x > new", workflow=flow.run, step="fix")
    flow.wish_back(archived.snapshot, "ann")
    returned = flow.returned()
    assert (returned.error, returned.changed) == ("", 3)
    assert tree(here) == {"changed": "before", "sub/kept": "kept"}
    assert not list(here.parent.glob(f"{STAGE_PREFIX}*"))
    rows = node.json("state", "snapshots", "--all")
    first, second = [row for row in reversed(rows) if flow.run in row["reason"]]
    assert first["id"] == archived.snapshot and first["reason"] == f"before step fix of run {flow.run}"
    node.json("state", "restore", second["id"], "--workspace", str(here))
    assert tree(here) == {"changed": "after\n", "new": "x\n"}
    assert {row["state"] for row in node.json("agent", "list")} == {"idle"}
    flow.end()


def test_a_run_folder_is_made_archived_and_goes_back_though_it_is_no_agents(node: Node) -> None:
    flow = Flow(node)
    flow.wish_archive()
    empty = flow.archived().snapshot
    here = Path(flow.at(""))
    assert here.is_dir() and oct(here.parent.stat().st_mode)[-3:] == "700"
    (here / "file").write_text("1")
    flow.wish_archive(instance="next")
    full = flow.archived(2)
    (here / "file").write_text("2")
    flow.wish_back(full.snapshot, instance="next")
    assert flow.returned().changed == 1 and tree(here) == {"file": "1"}
    flow.wish_back(empty)
    assert flow.returned(2).changed == 1 and tree(here) == {}
    assert node.json("state", "verify", empty)["ok"]
    flow.end()


def test_a_run_folder_is_filled_from_the_template_of_who_works_there_once(node: Node) -> None:
    (node.folder / "template").mkdir()
    (node.folder / "template/page").write_text("blank")
    node.agent_type("writer", workspace_template=str(node.folder / "template"))
    node.json("agent", "assign", "writer", "--name", "wil")
    flow = Flow(node)
    flow.wish_archive(target="wil")
    snapshot, here = flow.archived().snapshot, Path(flow.at(""))
    (here / "page").unlink()
    flow.wish_archive(instance="next", target="wil")
    flow.archived(2)
    assert tree(here) == {}
    flow.wish_back(snapshot, target="wil")
    assert flow.returned().changed == 1 and tree(here) == {"page": "blank"}
    flow.end()


def test_who_holds_a_workspace_first_has_it_archived_first_and_others_see_what_it_left(node: Node) -> None:
    """A second step that wishes for the same workspace is archived when the first one has ended, with its work."""
    first, second = Flow(node), Flow(node)
    first.wish_archive("ben")
    snapshot, here = first.archived().snapshot, place(node, "ben")
    second.wish_archive("ben")
    (here / "half").write_text("of the first attempt")
    first.wish_back(snapshot, "ben")
    assert first.returned().changed == 1 and not second.answers("workspace.archived")
    (here / "work").write_text("of the second attempt")
    first.end_step("fix")
    archived = second.archived()
    (here / "more").write_text("x")
    second.wish_back(archived.snapshot, "ben")
    assert second.returned().changed == 1 and tree(here) == {"work": "of the second attempt"}
    (here / "work").unlink()
    first.end()
    second.end()


def test_what_is_there_already_is_not_exchanged(node: Node) -> None:
    flow = Flow(node)
    flow.wish_archive("ben")
    snapshot = flow.archived().snapshot
    inode, taken = place(node, "ben").stat().st_ino, len(node.events("snapshot.started"))
    flow.wish_back(snapshot, "ben")
    assert flow.returned() == e.WorkspaceReturned(flow.run, "fix", snapshot)
    assert place(node, "ben").stat().st_ino == inode and len(node.events("snapshot.started")) == taken
    flow.end()


def test_a_wish_that_is_told_twice_at_once_is_done_once(node: Node) -> None:
    flow, here = Flow(node), place(node, "ben")
    flow.wish_archive("ben")
    flow.wish_archive("ben")
    snapshot = flow.archived().snapshot
    (here / "x").write_text("x")
    for _ in range(3):
        flow.wish_back(snapshot, "ben")
    assert flow.returned().changed == 1
    (here / "y").write_text("of the next attempt")
    flow.wish_archive("ben", "other")
    flow.archived(2)
    assert len(flow.answers("workspace.archived")) == 2 and len(flow.answers("workspace.returned")) == 1
    assert tree(here) == {"y": "of the next attempt"}
    (here / "y").unlink()
    flow.end()


def test_wishes_of_two_workspaces_at_once_are_all_fulfilled(node: Node) -> None:
    flows = [Flow(node) for _ in range(4)]
    for number, flow in enumerate(flows):
        flow.wish_archive(("ann", "ben", "", "")[number])
    snapshots = [flow.archived().snapshot for flow in flows]
    assert len(set(snapshots)) == 4
    for number, flow in enumerate(flows):
        (Path(flow.at(("ann", "ben", "", "")[number])) / "z").write_text("z")
    for number, (flow, snapshot) in enumerate(zip(flows, snapshots, strict=True)):
        flow.wish_back(snapshot, ("ann", "ben", "", "")[number])
    assert [flow.returned().changed for flow in flows] == [1, 1, 1, 1]
    for flow in flows:
        flow.end()


def test_it_waits_for_the_run_that_is_on_there(node: Node) -> None:
    flow, here = Flow(node), place(node, "ann")
    fact = e.TaskDispatched("long", "p", "p", ("ann",), verify="test -e go")
    script = "touch on; until [ -e go ]; do sleep 0.05; done; echo 1 > last"
    append(node, NewEvent("task:long", e.TaskDispatched("long", script, "p", ("ann",), verify=fact.verify), None))
    until((here / "on").exists)
    flow.wish_archive("ann")
    node.json("state", "set", "beat", "1")
    assert not flow.answers("workspace.archived")
    (here / "go").write_text("")
    snapshot = flow.archived().snapshot
    assert node.task("long")["status"] == "completed"
    (here / "last").unlink()
    flow.wish_back(snapshot, "ann")
    flow.returned()
    assert tree(here)["last"] == "1\n"
    flow.end()


def test_a_run_of_somebody_else_there_since_is_named_and_nothing_is_lost_but_by_force(node: Node) -> None:
    here = place(node, "ben")
    old = Flow(node)
    old.wish_archive("ben")
    snapshot = old.archived().snapshot
    work(node, "echo failed > mine", "ben", workflow=old.run, step="fix")
    old.end()
    new = Flow(node, resumed_from=old.run, folder=old.folder)
    new.wish_back(snapshot, "ben")
    assert new.returned().changed == 1 and not (here / "mine").exists()
    work(node, "echo theirs > theirs", "ben")
    new.wish_back(snapshot, "ben", "fix#2")
    refused = new.returned(2)
    assert "has ended in" in refused.error and "--force" in refused.error and (here / "theirs").exists()
    new.wish_back(snapshot, "ben", "fix#3", force=True)
    assert new.returned(3).changed == 1 and not (here / "theirs").exists()
    new.end()


def test_what_the_resumed_run_reuses_is_not_lost(node: Node) -> None:
    old = Flow(node)
    old.wish_archive("ben")
    snapshot = old.archived().snapshot
    old.turn_to("ben", "good")
    work(node, "echo 1 > result", "ben", workflow=old.run, step="good")
    old.end()
    ended = e.StepEnded(old.run, "good", "completed")
    new = Flow(node, resumed_from=old.run, folder=old.folder, reused={"good": ended})
    new.wish_back(snapshot, "ben")
    assert "has ended in" in new.returned().error and (place(node, "ben") / "result").exists()
    (place(node, "ben") / "result").unlink()
    new.end()


def test_what_cannot_be_is_answered_with_the_reason_and_changes_nothing(node: Node) -> None:
    flow, here = Flow(node), place(node, "ann")
    before = tree(here)
    flow.wish_back("s-nowhere", "ann", "1")
    assert "s-nowhere" in flow.returned().error
    flow.tell(e.WorkspaceArchiveWanted(flow.run, "2", node.id, "/elsewhere", "ann"))
    assert "does not work in" in flow.archived().error
    flow.tell(e.WorkspaceArchiveWanted(flow.run, "3", node.id, "/etc"))
    assert "not in the folder" in flow.archived(2).error
    flow.wish_archive("ann", "4")
    snapshot = flow.archived(3).snapshot
    flow.tell(e.WorkspaceRestoreWanted(flow.run, "5", node.id, flow.at("ben"), snapshot, "ben"))
    assert "does not hold" in flow.returned(2).error
    aside = here.rename(here.with_name("aside"))
    here.symlink_to(aside)
    flow.wish_archive("ann", "6")
    assert "is now a link" in flow.archived(4).error
    flow.wish_back(snapshot, "ann", "7")
    assert "is no folder" in flow.returned(3).error
    here.unlink()
    aside.rename(here)
    assert tree(here) == before
    flow.end()


def test_nothing_is_done_for_a_run_that_has_ended_or_is_being_stopped(node: Node) -> None:
    flow, here = Flow(node), place(node, "ben")
    flow.wish_archive("ben")
    snapshot = flow.archived().snapshot
    (here / "new").write_text("stays")
    back = e.WorkspaceRestoreWanted(flow.run, "fix", node.id, flow.at("ben"), snapshot, "ben")
    flow.tell(back, e.WorkflowRunEnding(flow.run, "cancelled", stops=True))
    until(lambda: flow.answers("workflow_run.finished"))
    flow.tell(back)
    other = Flow(node)
    other.wish_archive("ben")
    other.archived()
    assert not [fact for fact in flow.answers("workspace.returned") if not fact.error]
    assert (here / "new").exists()
    other.end()


@pytest.mark.parametrize(
    "die",
    [
        "maestro.workspaces.archive.library:Archive.restore:1",
        "maestro.runtime.restores.journal:Journal.write:2",
        "maestro.workspaces.exchanges.exchange:put:1",
        "maestro.workspaces.exchanges.exchange:Exchange.commit:1",
    ],
)
def test_a_daemon_that_is_killed_as_it_puts_back_answers_once_when_it_is_there_again(node: Node, die: str) -> None:
    flow, here = Flow(node), place(node, "ann")
    flow.wish_archive("ann")
    snapshot, before = flow.archived().snapshot, tree(here)
    (here / "half").write_text("of the attempt")
    killed(node, die, lambda: flow.wish_back(snapshot, "ann"))
    assert tree(here) in (before, before | {"half": "of the attempt"})
    node.up()
    assert (flow.returned().error, flow.returned().changed) == ("", 1)
    assert tree(here) == before and not list(here.parent.glob(f"{STAGE_PREFIX}*"))
    (here / "next").write_text("of the next attempt")
    flow.wish_back(snapshot, "ann")
    flow.returned(2)
    flow.wish_archive("ann", "later")
    flow.archived(2)
    assert len(flow.answers("workspace.returned")) == 2
    assert {row["state"] for row in node.json("agent", "list")} == {"idle"}
    flow.end()


def test_a_daemon_that_is_killed_as_it_archives_answers_once_when_it_is_there_again(node: Node) -> None:
    flow = Flow(node)
    killed(node, "maestro.workspaces.archive.library:Archive.save:1", flow.wish_archive)
    node.up()
    flow.wish_archive()  # as the leader asks again
    assert flow.archived().snapshot
    other = Flow(node)
    other.wish_archive()
    other.archived()
    assert len(flow.answers("workspace.archived")) == 1
    assert json.loads(node.run("doctor", "--format", "json").stdout)
    flow.end()
    other.end()
