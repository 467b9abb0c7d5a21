"""An append that is sent again is recognised, without a table of command ids."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from maestro.model.events import NewEvent, RestoreDone, RunEnded, StateDeleted, StateSet
from maestro.store.contract import Append, Committed, Rejected, Store

Appending = Callable[..., Append]


def commit(store: Store, *group: Append) -> list[Committed | Rejected]:
    return store.log.commit(group, store.log.known())


def again(append: Append, since: int = 0) -> Append:
    return msgspec.structs.replace(append, resend=True, since=since)


def test_the_same_again_answers_with_the_first_result(store: Store, an_append: Appending) -> None:
    two = an_append("a", "1", 0, more=(NewEvent("state:b", StateSet("b", "1"), 0),))
    [first] = commit(store, two)
    commit(store, an_append("c", "1"))
    for repeated in (two, again(two)):
        assert commit(store, repeated) == [Committed(first.first, first.last, first.at, duplicate=True)]
    assert store.log.head().seq == 3


def test_it_is_found_behind_later_events_of_its_subject(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0), *(an_append("a", str(n)) for n in range(2, 30)))
    assert commit(store, an_append("a", "1", 0))[0] == Committed(1, 1, store.log.read(0, 1)[0].at, duplicate=True)
    assert commit(store, an_append("a", "17", 16))[0].first == 17  # type: ignore[union-attr]


@pytest.mark.parametrize("other", [{"cause": "cmd:other"}, {"actor": "another"}, {"value": "2"}])
def test_another_command_is_a_conflict(store: Store, an_append: Appending, other: dict[str, str]) -> None:
    commit(store, an_append("a", "1", 0, cause="cmd:1"))
    changed = an_append("a", expected=0, **({"value": "1", "cause": "cmd:1"} | other))
    assert commit(store, changed, again(changed)) == [Rejected("version", "state:a", 0, 1)] * 2


def test_what_lies_before_the_expected_version_is_no_repetition(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "on", 0, cause="c"), an_append("a", "off", 1, cause="d"))
    assert commit(store, an_append("a", "on", 2, cause="c"))[0] == Committed(3, 3, store.log.head().at)
    assert commit(store, an_append("a", "on", 9, cause="c"))[0] == Rejected("version", "state:a", 9, 3)


def test_an_event_for_any_version_is_recognised_behind_the_head_that_was_known(
    store: Store, an_append: Appending
) -> None:
    commit(store, an_append("a", "x"), an_append("b", "x"))
    before = store.log.head().seq
    [first] = commit(store, an_append("a", "y"))
    commit(store, an_append("a", "z"))
    assert commit(store, again(an_append("a", "y"), before)) == [Committed(first.first, first.last, first.at, True)]
    assert not commit(store, again(an_append("a", "x"), before))[0].duplicate  # type: ignore[union-attr]


def test_a_first_copy_that_arrives_after_the_second_changes_nothing(store: Store, an_append: Appending) -> None:
    commit(store, an_append("other", "x"))
    known = store.log.head()
    late = [an_append("a", "y"), an_append("b", "y", 0)]
    assert [r.first for r in store.log.commit([again(a, known.seq) for a in late], known)] == [2, 3]  # type: ignore[union-attr]
    results = store.log.commit(late, known)
    assert [r.duplicate for r in results if isinstance(r, Committed)] == [True, True]
    assert store.log.head().seq == 3


def test_equal_appends_of_one_group_are_two(store: Store, an_append: Appending) -> None:
    results = commit(store, an_append("a", "y"), an_append("a", "y"))
    assert [r.duplicate for r in results if isinstance(r, Committed)] == [False, False]
    assert store.log.head().seq == 2


def test_a_later_event_of_an_append_finds_the_whole(store: Store, an_append: Appending) -> None:
    """The first event was for any version; the second one's version tells that it is there."""
    both = an_append("a", "1", None, more=(NewEvent("state:b", StateDeleted("b"), 0),))
    [first] = commit(store, both)
    store.log.head()
    assert commit(store, both) == [Committed(first.first, first.last, first.at, duplicate=True)]


def test_a_restore_is_recognised_though_it_cleared_the_versions(store: Store, an_append: Appending) -> None:
    commit(store, an_append("a", "1", 0))
    ended = NewEvent("state:a", StateDeleted("a"), 1)
    done = NewEvent("restore:x", RestoreDone("x", 0), None)
    restore = Append((ended, done), "tester", "cmd:restore", floors=True)
    [first] = commit(store, restore)
    assert commit(store, again(restore, 1)) == [Committed(first.first, first.last, first.at, duplicate=True)]
    assert commit(store, restore) == [Rejected("version", "state:a", 1, 3)]


def test_an_append_that_a_restore_followed_is_recognised(store: Store, an_append: Appending) -> None:
    commit(store, an_append("x", "1"))
    since = store.log.head().seq
    [versioned, free] = commit(store, an_append("a", "1", 0), an_append("b", "1"))
    commit(store, Append((NewEvent("restore:x", RestoreDone("x", 1), None),), "t", "r", floors=True))
    results = commit(store, again(an_append("a", "1", 0), since), again(an_append("b", "1"), since))
    assert results == [msgspec.structs.replace(result, duplicate=True) for result in (versioned, free)]


def test_a_runs_end_is_one_event(store: Store) -> None:
    ended = NewEvent("run:t-0.1", RunEnded("t-0.1", "t", "a", "ok"), 0)
    first = Append((ended,), "worker:n", "token:5")
    lost = Append((NewEvent("run:t-0.1", RunEnded("t-0.1", "t", "a", "lost"), 0),), "scheduler", "lease")
    results = commit(store, first, lost, first)
    assert [type(r) for r in results] == [Committed, Rejected, Rejected]
    assert commit(store, lost, first)[1].duplicate  # type: ignore[union-attr]
    assert store.log.head().seq == 1
