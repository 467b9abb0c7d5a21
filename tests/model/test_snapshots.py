"""Snapshots as the log tells of them: their rows, what may be decided about one, and which retention deletes."""

from __future__ import annotations

import pytest

from maestro.model import events as e
from maestro.model.coordination.missing_workspaces import decide_missing
from maestro.model.errors import Conflict, NotFound, Refused
from maestro.model.events import AnyFact, Event
from maestro.model.snapshot import (
    Snapshot,
    covered,
    decide_end,
    decide_expired,
    decide_pin,
    decide_start,
    evolve,
    kept_mounts,
    latest,
    outlived,
    retained,
    unfinished,
)

DAY = 86_400_000


def told(*facts: AnyFact, seq: int = 10) -> Snapshot | None:
    """The row after these facts, one a day."""
    row: Snapshot | None = None
    for number, fact in enumerate(facts):
        row = evolve(row, Event(seq + number, "snapshot:s", (seq + number) * DAY, "cli:x", "cmd:1", 0, fact))
    return row


def started(name: str = "s", reason: str = "asked") -> e.SnapshotStarted:
    return e.SnapshotStarted(name, reason, reason != "asked", ("a",), "north")


def taken(name: str = "s", path: str = "") -> e.SnapshotTaken:
    held = (e.SnapshotWorkspace("a", "/w/a", "workspaces/a", 10),)
    return e.SnapshotTaken(name, 10, path=path, manifest="ab", workspaces=held, bytes=5, torn=("x",))


def complete(seq: int, name: str, reason: str = "asked", path: str = "", pinned: bool = False) -> Snapshot:
    pin: tuple[AnyFact, ...] = (e.SnapshotPinned(name),) if pinned else ()
    row = told(started(name, reason), taken(name, path), *pin, seq=seq)
    assert row is not None
    return row


def test_a_snapshot_is_of_its_cut_and_complete_when_it_is_taken() -> None:
    row = told(started())
    assert row is not None and (row.state, row.position, row.agents) == ("taking", 10, ("a",))
    row = told(started(), taken())
    assert row is not None
    assert (row.state, row.position, row.version, row.taken_at) == ("complete", 10, 11, 10 * DAY)
    assert (row.node, row.manifest, row.bytes, row.torn) == ("north", "ab", 5, ("x",))


def test_one_of_a_build_that_did_not_tell_of_its_start_is_complete_too() -> None:
    row = told(e.SnapshotTaken("s", 7, True))
    assert row is not None and (row.complete, row.position, row.automatic) == (True, 7, True)


def test_what_failed_or_expired_stays_on_record() -> None:
    failed, expired = (
        told(started(), e.SnapshotFailed("s", "disk full")),
        told(started(), taken(), e.SnapshotExpired("s")),
    )
    assert failed is not None and (failed.state, failed.why) == ("failed", "disk full")
    assert expired is not None and expired.state == "expired"
    assert told(e.SnapshotExpired("s")) is None


def test_an_id_is_used_once_and_an_end_is_told_once() -> None:
    row = told(started())
    assert decide_start(started(), None, 3)[0].expected == 3
    with pytest.raises(Conflict):
        decide_start(started(), row, 0)
    assert decide_end(taken(), row, 0)[0].expected == 10
    assert decide_end(taken(), row, 99)[0].expected == 99, "a restore has cut the line meanwhile"
    assert decide_end(taken(), complete(1, "s"), 0) == []
    assert decide_end(taken(), None, 0) == []


def test_only_a_complete_one_can_be_pinned_and_only_once() -> None:
    row = complete(1, "s")
    assert decide_pin("s", row, True, 0)[0].fact == e.SnapshotPinned("s")
    assert decide_pin("s", row, False, 0) == []
    assert decide_pin("s", complete(1, "s", pinned=True), False, 0)[0].fact == e.SnapshotUnpinned("s")
    with pytest.raises(NotFound):
        decide_pin("s", None, True, 0)
    with pytest.raises(Refused):
        decide_pin("s", told(started()), True, 0)


def test_retention_deletes_automatic_ones_and_those_that_only_became_a_file() -> None:
    asked, pinned = complete(1, "asked"), complete(1, "pinned", "reset", pinned=True)
    automatic, exported = complete(1, "automatic", "reset"), complete(1, "exported", path="/x.tar.gz")
    young, failed = complete(9, "young", "clean"), told(started("f", "reset"), e.SnapshotFailed("f"), seq=1)
    assert failed is not None
    rows = [asked, pinned, automatic, exported, young, failed]
    assert [row.id for row in outlived(rows, 10 * DAY, 7 * DAY)] == ["automatic", "exported"]
    assert outlived(rows, 8 * DAY, 7 * DAY) == []
    assert decide_expired(automatic, 0)[0].expected == automatic.version


def test_retention_leaves_the_last_whole_one_where_only_damaged_ones_would_be_left() -> None:
    old, older = complete(2, "old", "reset"), complete(1, "older", "reset")
    young, other = complete(9, "young", "clean"), complete(9, "other")
    for row in (old, older, young, other):
        agent = "ben" if row is other else "ann"
        row.workspaces = (e.SnapshotWorkspace(agent, f"/w/{agent}", f"workspaces/{agent}", row.position),)
    rows = [older, old, young, other]
    assert [row.id for row in outlived(rows, 10 * DAY, 7 * DAY)] == ["older", "old"]
    assert [row.id for row in outlived(rows, 10 * DAY, 7 * DAY, {"young"})] == ["older"]
    assert [row.id for row in outlived(rows, 10 * DAY, 7 * DAY, {"young", "old"})] == ["old"]
    assert [row.id for row in outlived(rows, 10 * DAY, 7 * DAY, {"other"})] == ["older", "old"], "ben's, not ann's"
    assert [row.id for row in outlived([older, old], 10 * DAY, 7 * DAY, {"old"})] == ["older", "old"]


def test_latest_is_the_newest_complete_one_that_was_asked_for_and_stayed_here() -> None:
    rows = [complete(1, "one"), complete(3, "two"), complete(5, "auto", "reset"), complete(7, "file", path="/x")]
    newest = latest(rows)
    assert newest is not None and newest.id == "two"
    assert latest(rows[2:]) is None


def lost(agent: str, why: str = "is not there") -> e.SnapshotMissing:
    return e.SnapshotMissing(agent, f"/w/{agent}", why)


def test_what_was_asked_for_and_is_not_there_is_refused_by_name_or_named() -> None:
    assert decide_missing([], allowed=False) == ()
    assert decide_missing([lost("a")], allowed=True) == (lost("a"),)
    with pytest.raises(Refused, match="workspace of a is not there: /w/a; the workspace of b is now a link: /w/b"):
        decide_missing([lost("a"), lost("b", "is now a link")], allowed=False)


def test_one_that_neither_holds_nor_names_what_was_asked_for_is_not_complete() -> None:
    row = told(started())
    (end,) = decide_end(e.SnapshotTaken("s", 10), row, 0)
    assert end.fact == e.SnapshotFailed("s", "it does not hold the workspace of a")
    named = e.SnapshotTaken("s", 10, missing=(lost("a"),))
    assert decide_end(named, row, 0)[0].fact == named
    done = told(started(), named)
    assert done is not None and done.complete and done.missing == (lost("a"),)


def held(mounted: bool | None, place: str = "/w/a") -> e.SnapshotWorkspace:
    return e.SnapshotWorkspace("a", place, "workspaces/a", 10, mounted)


def kept(mounted: bool | None, seq: int) -> Snapshot:
    row = told(started(), e.SnapshotTaken("s", seq, workspaces=(held(mounted),)), seq=seq)
    assert row is not None
    return row


def test_a_workspace_that_a_mount_covers_or_uncovers_is_not_the_one_that_was_kept() -> None:
    first, last = kept_mounts([kept(True, 1)]), kept_mounts([kept(True, 1), kept(False, 3), kept(None, 5)])
    untold = kept_mounts([kept(None, 1)])
    assert "is now a mount point, and was none" in covered("a", 0, held(True), last)
    assert "is no mount point any more" in covered("a", 0, held(False), first)
    assert covered("a", 0, held(False), last) == covered("a", 0, held(True), untold) == ""
    assert covered("a", 4 * DAY, held(True), last) == "", "it was assigned anew since"
    assert covered("a", 0, held(True, "/w/b"), last) == covered("b", 0, held(True), last) == ""


def test_a_start_ends_what_its_node_or_one_that_is_gone_was_taking() -> None:
    rows = [Snapshot(name, 1, 1, 0, node=name) for name in ("here", "up", "gone")]
    rows += [Snapshot("old", 1, 1, 0), Snapshot("done", 1, 1, 0, node="here", state="complete")]
    assert [row.id for row in unfinished(rows, "here", {"here", "up"})] == ["here", "gone", "old"]


def test_only_what_this_log_knows_to_be_over_leaves_the_archive() -> None:
    states = ("taking", "complete", "failed", "expired")
    rows = {state: Snapshot(state, 1, 1, 0, state=state) for state in states}
    assert retained([*states, "of-another-log"], rows) == ["taking", "complete", "of-another-log"]


def test_a_snapshot_of_an_early_log_lies_on_every_node() -> None:
    assert Snapshot("s", 1, 1, 0).lies_on("n") and Snapshot("s", 1, 1, 0, node="n").lies_on("n")
    assert not Snapshot("s", 1, 1, 0, node="m").lies_on("n")
