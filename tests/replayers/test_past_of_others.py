"""What is no row any more beside tasks: alerts, snapshots and restores that are over, and commands for other nodes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from maestro.model import events as e
from maestro.model.errors import NotFound
from maestro.model.events import AnyFact, NewEvent
from maestro.store.contract import Append, Rejected, Store
from maestro.store.memory.memory_store import MemoryStore
from projections.bounding import bounds
from projections.fold import encode
from projections.projector import Projector
from projections.view_reader import Views
from replayers import audit
from replayers.past.forgetting import forget
from replayers.rebuild import rebuild
from replayers.sealed import Segments
from replayers.verify import verify
from tests.projections.histories import commit, restore
from tests.replayers.test_sealing import seal

KEEP = 5
COUNT = 20
VIEWS = ("alerts", "snapshots", "restores")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, short_ranges: None) -> None:
    monkeypatch.setattr(bounds, "EVERY", 20)
    monkeypatch.setattr(bounds, "MOST", 20)
    monkeypatch.setattr("maestro.model.settings.namespace_setting.DEFAULTS", {"views.keep": KEEP})


def told(store: Store, subject: str, *facts: AnyFact) -> None:
    commit(store, *(NewEvent(subject, fact) for fact in facts))


def raised(alert: str) -> e.AlertRaised:
    return e.AlertRaised(alert, "task_failed", alert, "warning", "it failed", momentary=True)


def over(store: Store, number: int) -> None:
    """One of each kind that begins and ends."""
    alert, snapshot, one = f"task_failed:T{number:02d}", f"s{number:02d}", f"r{number:02d}"
    told(store, f"alert:{alert}", raised(alert), e.AlertResolved(alert, "acknowledged", "seen"))
    end = e.SnapshotFailed(snapshot, "no room") if number % 2 else e.SnapshotTaken(snapshot, 1, True, node="north")
    told(store, f"snapshot:{snapshot}", e.SnapshotStarted(snapshot, "failsafe", True, ("a",), "north"), end)
    if number % 2 == 0:
        told(store, f"snapshot:{snapshot}", e.SnapshotExpired(snapshot))
    asked = e.RestoreAsked(f"a{one}", "north", (e.RestorePartWanted("north"), e.RestorePartWanted("south")))
    told(store, f"restore:a{one}", asked, e.RestoreFailed(f"a{one}", "south is away"))
    told(store, f"restore:{one}", e.RestoreStarted(one, 1), e.RestorePlaced(one, "s"))
    forwarded = (
        e.ForwardAsked(f"f{number:02d}", "south", "{}", "me"),
        e.ForwardAnswered(f"f{number:02d}", "south", "{}"),
    )
    told(store, f"forward:f{number:02d}", *forwarded)
    queued = e.DeliveryQueued(f"d{number:02d}", "hook", alert, "raised"), e.DeliveryDone(f"d{number:02d}", 204)
    told(store, f"delivery:d{number:02d}", *queued)


@pytest.fixture
def before() -> dict[str, dict[str, bytes]]:
    """The rows of the views, as they were before any was evicted."""
    return {}


@pytest.fixture
def store(namespace: str) -> Iterator[Store]:
    store = MemoryStore(namespace)
    yield store
    store.close()


@pytest.fixture
def bounded(store: Store, sealed: Segments, before: dict[str, dict[str, bytes]]) -> Store:
    """A store in which all of that is long ago, but for what is still on."""
    store.attach(sealed)
    told(store, "alert:open", raised("open"))
    told(store, "alert:snoozed", raised("snoozed"), e.AlertResolved("snoozed", "gone"), e.AlertSnoozed("snoozed", 9))
    told(store, "snapshot:whole", e.SnapshotTaken("whole", 1, False, node="north"))
    told(store, "snapshot:taking", e.SnapshotStarted("taking", "asked", False, ("a",), "north"))
    told(store, "restore:begun", e.RestoreStarted("begun", 1))
    told(store, "restore:wanted", e.RestoreAsked("wanted", "north", (e.RestorePartWanted("south"),)))
    told(store, "forward:begun", e.ForwardAsked("begun", "south", "{}", "me"), e.ForwardBegun("begun", "south", "i1"))
    told(store, "delivery:failed", e.DeliveryQueued("failed", "hook", "open", "raised"))
    for number in range(COUNT):
        over(store, number)
    before |= {view: dict(dump(store, view)) for view in VIEWS}
    assert seal(store, sealed, 60)
    for number in range(80):
        told(store, "state:a", e.StateSet("a", str(number)))
    assert forget(store) > 60
    return store


def dump(store: Store, view: str) -> list[tuple[str, bytes]]:
    live = Projector(store)
    live.catch_up()
    return list(store.views.dump(live.generation, view))


def subjects(store: Store, kind: str) -> set[str]:
    return {name.partition(":")[2] for name in store.log.versions() if name.startswith(f"{kind}:")}


def test_few_rows_are_left_and_all_are_told_as_they_were(bounded: Store, before: dict[str, dict[str, bytes]]) -> None:
    kept = {view: {row for row, _ in dump(bounded, view)} for view in VIEWS}
    assert {"open", "snoozed"} < kept["alerts"] and len(kept["alerts"]) < 10
    assert {"whole", "taking"} < kept["snapshots"] and len(kept["snapshots"]) < 10
    assert "wanted" in kept["restores"] and len(kept["restores"]) < 10
    views = Views(bounded)
    ask = {"alerts": views.alert, "snapshots": views.snapshot, "restores": views.restore}
    for view, find in ask.items():
        for row_id, data in before[view].items():
            found = find(row_id)
            assert found.sealed == (row_id not in kept[view])
            assert found.row is not None and encode(found.row) == data
    named = [row.id for row in views.snapshots_named(["s00", "never", "whole", "s19"]).rows]
    assert named == ["s00", "whole", "s19"]
    assert verify(bounded).ok
    assert rebuild(bounded).digests == verify(bounded).digests


def test_versions_stay_of_what_is_on_and_go_of_what_is_over(bounded: Store) -> None:
    for kind, of in (("alert", "alerts"), ("snapshot", "snapshots")):
        assert subjects(bounded, kind) == {row for row, _ in dump(bounded, of)}
    assert {"begun", "wanted"} < subjects(bounded, "restore") and len(subjects(bounded, "restore")) < 15
    assert "begun" in subjects(bounded, "forward") and len(subjects(bounded, "forward")) < 10
    assert "failed" in subjects(bounded, "delivery") and len(subjects(bounded, "delivery")) < 10
    answered = NewEvent(
        "forward:begun", e.ForwardAnswered("begun", "south", "{}"), bounded.log.version("forward:begun")
    )
    commit(bounded, answered)
    assert verify(bounded).ok


def test_late_facts_of_what_is_forgotten_are_refused(bounded: Store) -> None:
    row = Views(bounded).snapshot("s01").row
    assert row is not None
    late = NewEvent("snapshot:s01", e.SnapshotPinned("s01"), row.version)
    assert bounded.log.commit([Append((late,), "me", "cmd:1")], None)[0] == Rejected(
        "sealed", "snapshot:s01", row.version, 0
    )


def test_an_alert_that_comes_again_begins_anew(bounded: Store) -> None:
    alert = "task_failed:T00"
    commit(bounded, NewEvent(f"alert:{alert}", raised(alert), bounded.log.version(f"alert:{alert}")))
    found = Views(bounded).alert(alert)
    assert found.row is not None and not found.sealed and (found.row.open, found.row.times) == (True, 1)
    assert verify(bounded).ok


def test_a_restore_undoes_none_of_it(bounded: Store, before: dict[str, dict[str, bytes]]) -> None:
    restore(bounded, 5)
    found = Views(bounded).snapshot("s00")
    assert found.sealed and found.row is not None and encode(found.row) == before["snapshots"]["s00"]
    assert Views(bounded).snapshot("whole").row is not None
    assert verify(bounded).ok


def test_the_audit_of_what_is_no_row_tells_its_story(bounded: Store) -> None:
    lines, _ = audit.page(bounded, audit.Query("alert:task_failed:T00"))
    assert [line.event.type for line in lines] == ["alert.raised", "alert.resolved"]
    told(bounded, "alert:task_failed:T00", raised("task_failed:T00"))  # it comes again, at no version
    lines, upto = audit.page(bounded, audit.Query("alert:task_failed:T00"))
    assert [line.event.type for line in lines] == ["alert.raised", "alert.resolved", "alert.raised"]
    assert upto == bounded.log.head().seq
    for subject, count in {"snapshot:s00": 3, "restore:r00": 2, "restore:ar19": 2, "snapshot:whole": 1}.items():
        lines, upto = audit.page(bounded, audit.Query(subject))
        assert len(lines) == count and upto == bounded.log.head().seq
    for subject in ("forward:f00", "delivery:d00"):
        assert len(audit.page(bounded, audit.Query(subject))[0]) == 2
    with pytest.raises(NotFound):
        audit.page(bounded, audit.Query("snapshot:never"))
