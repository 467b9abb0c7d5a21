"""A damaged log is refused by who reads it next, and made one whole log again of what is left by an operator's word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from maestro.model.errors import Conflict, LineageBroken, VerificationFailed
from maestro.model.events import LogForked, NewEvent, StateSet
from maestro.store.contract import Append, Committed, Entry
from maestro.store.keys import Keys
from maestro.store.redis import healing
from maestro.store.redis.connection import Connection
from maestro.store.redis.redis_store import RedisStore
from projections.projector import Projector
from replayers import checkpoint, ranges
from replayers.sealed import Segments
from replayers.verify import verify
from tests.conftest import StoreServer
from tests.projections.histories import grow
from tests.replayers.test_sealing import seal

Hand = Callable[[Connection, Keys, int], object]


def put_by_another_hand(hand: Connection, keys: Keys, _: int) -> object:
    return hand.call("XADD", keys.log, "*", "hello", "there")


def put_in_our_own_layout(hand: Connection, keys: Keys, end: int) -> object:
    ((_, fields),) = hand.call("XRANGE", keys.log, f"{end}-0", f"{end}-0")
    return hand.call("XADD", keys.log, "*", *fields)


def put_at_the_next_position(hand: Connection, keys: Keys, end: int) -> object:
    ((_, fields),) = hand.call("XRANGE", keys.log, f"{end}-0", f"{end}-0")
    return hand.call("XADD", keys.log, f"{end + 1}-0", *fields)


def put_and_removed(hand: Connection, keys: Keys, _: int) -> object:
    return hand.call("XDEL", keys.log, hand.call("XADD", keys.log, "*", "hello", "there"))


def without_its_last(hand: Connection, keys: Keys, end: int) -> object:
    return hand.call("XDEL", keys.log, f"{end}-0")


def without_some(hand: Connection, keys: Keys, end: int) -> object:
    return hand.call("XDEL", keys.log, f"{end - 20}-0", f"{end - 19}-0", f"{end - 7}-0")


def without_some_and_with_others(hand: Connection, keys: Keys, end: int) -> object:
    without_some(hand, keys, end)
    return put_by_another_hand(hand, keys, end)


def without_its_beginning(hand: Connection, keys: Keys, end: int) -> object:
    ((first, _),) = hand.call("XRANGE", keys.log, "-", "+", "COUNT", 1)
    return hand.call("XTRIM", keys.log, "MINID", f"{int(first[:-2]) + 3}-0")


def with_a_flipped_bit(hand: Connection, keys: Keys, end: int) -> object:
    entries = hand.call("XRANGE", keys.log, "-", "+")
    hand.call("DEL", keys.log)
    entries[-9][1][7] = b"another actor"
    return [hand.call("XADD", keys.log, identity, *fields) for identity, fields in entries]


def without_a_version(hand: Connection, keys: Keys, _: int) -> object:
    subjects = [subject for subject in hand.call("HKEYS", keys.versions) if subject]
    return hand.call("HDEL", keys.versions, sorted(subjects)[0])


def with_another_version(hand: Connection, keys: Keys, _: int) -> object:
    subjects = [subject for subject in hand.call("HKEYS", keys.versions) if subject]
    return hand.call("HSET", keys.versions, sorted(subjects)[0], "garbage")


def without_versions(hand: Connection, keys: Keys, _: int) -> object:
    return hand.call("DEL", keys.versions)


def with_a_list_for_versions(hand: Connection, keys: Keys, _: int) -> object:
    hand.call("DEL", keys.versions)
    return hand.call("RPUSH", keys.versions, "x")


HANDS: tuple[Hand, ...] = (
    *(put_by_another_hand, put_in_our_own_layout, put_at_the_next_position, put_and_removed, without_its_last),
    *(without_some, without_some_and_with_others, without_its_beginning, with_a_flipped_bit),
    *(without_a_version, with_another_version, without_versions, with_a_list_for_versions),
)


class Place:
    """A namespace on a server, opened as by processes that know nothing of what was, and another hand."""

    def __init__(self, open_one: Callable[[], RedisStore], namespace: str, folder: Path) -> None:
        self.keys = Keys(namespace)
        self.sealed = Segments(folder / "sealed", namespace)
        self.folder = folder / "checkpoint"
        self._open_one = open_one
        self.hand = open_one()._pool.fresh()

    def opened(self) -> RedisStore:
        store = self._open_one()
        store.attach(Segments(self.sealed.folder.parent, store.namespace))
        return store

    def lived(self, appends: int, restores: bool = False) -> RedisStore:
        store = self.opened()
        for _ in grow(store, Random(4), appends, restores):
            pass
        Projector(store).catch_up()
        return store


@pytest.fixture
def place(
    shared_server: Callable[[str], StoreServer],
    server_kind: str,
    open_at: Callable[..., RedisStore],
    namespace: str,
    tmp_path: Path,
) -> Place:
    url = shared_server(server_kind).url
    return Place(lambda: open_at(url), namespace, tmp_path)


def works(store: RedisStore, folder: Path) -> None:
    """The log is one that proves itself, takes events, can be sealed and be kept in a checkpoint."""
    Projector(store).rebuild()
    found = verify(store)
    assert found.ok, found.differences
    version = store.log.version("state:new")
    event = NewEvent("state:new", StateSet("new", "1"), version)
    (result,) = store.log.commit([Append((event,), "tester", "cmd:new")], None)
    assert isinstance(result, Committed)
    for _ in grow(store, Random(8), 5, restores=True):
        pass
    store.log.look()
    assert verify(store).ok
    checkpoint.write(store, folder, store.log.head().seq)
    assert checkpoint.verify(folder).position == store.log.head().seq
    assert store.log.mend() == ""


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize("damage", HANDS)
def test_what_is_left_of_a_damaged_log_is_made_one_whole_log(
    place: Place, damage: Hand, is_sealed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "LARGE", 40)
    monkeypatch.setattr(ranges, "SMALL", 10)
    store = place.lived(60, restores=True)
    if is_sealed:
        assert seal(store, place.sealed) > 0
        Projector(store).catch_up()
    end = store.log.head().seq
    was = store.log.entries(0, end)

    damage(place.hand, place.keys, end)
    other = place.opened()
    with pytest.raises((LineageBroken, VerificationFailed)):
        shown(other)
    assert not verify(other).ok or damage is put_and_removed
    said = other.log.mend()
    assert said != ""
    left = other.log.entries(0, 10 * end)
    assert [entry.seq for entry in left] == list(range(1, len(left) + 1))
    gone = kept(was, left)
    assert bool(gone) == damage.__name__.startswith(("without_some", "without_its")), said
    works(other, place.folder)


def shown(store: RedisStore) -> None:
    """All that `doctor` looks at, and then the proof."""
    store.log.look()
    Projector(store).catch_up()
    store.log.entries(0, 5)
    (first,) = verify(store).differences[:1] or [None]
    if first is not None:
        raise VerificationFailed(first.what)


def kept(was: list[Entry], left: list[Entry]) -> list[int]:
    """The positions of events that are gone, having made sure that all others still say what they said."""
    gone = []
    for before, now in zip(was, left, strict=False):
        if (before.type, before.subject, before.data, before.at) != (now.type, now.subject, now.data, now.at):
            assert now.type == b"log.forked"
            assert b"was lost" in now.data
            gone.append(now.seq)
    return gone + [entry.seq for entry in was[len(left) :]]


@pytest.mark.parametrize("kind", ["list", "nothing"])
def test_a_log_that_is_gone_begins_anew(place: Place, kind: str) -> None:
    place.lived(20)
    place.hand.call("DEL", place.keys.log)
    if kind == "list":
        place.hand.call("RPUSH", place.keys.log, "x")
    other = place.opened()
    with pytest.raises(LineageBroken, match="--accept-loss"):
        other.log.head()
    assert other.log.mend() != ""
    assert other.log.head().seq == 0
    works(other, place.folder)


def test_a_sealed_file_that_is_missing_is_to_be_put_back_and_nothing_is_made_up_for_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "LARGE", 40)
    assert seal(place.lived(60), place.sealed) > 0
    newest = max(place.sealed.folder.glob("*.seg"))
    aside = newest.with_suffix(".aside")
    newest.rename(aside)
    with pytest.raises(VerificationFailed, match="put it back"):
        place.opened().log.mend()
    aside.rename(newest)
    assert place.opened().log.mend() == ""


def test_a_log_that_grows_meanwhile_is_not_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    without_some(place.hand, place.keys, place.lived(20).log.head().seq)
    copy = healing._copy

    def grows(*args: Any) -> None:
        copy(*args)
        place.hand.call("XADD", place.keys.log, "*", "x", "y")

    monkeypatch.setattr(healing, "_copy", grows)
    with pytest.raises(Conflict, match="try again"):
        place.opened().log.mend()
    monkeypatch.undo()
    assert place.opened().log.mend() != ""


def test_the_place_of_a_lost_event_says_so(place: Place) -> None:
    end = place.lived(30).log.head().seq
    place.hand.call("XDEL", place.keys.log, f"{end - 5}-0")
    other = place.opened()
    assert other.log.mend().startswith(f"1 events are gone: {end - 5}")
    event = other.log.event(end - 5)
    assert event is not None
    assert isinstance(event.fact, LogForked)
    assert event.fact.reason == f"event {end - 5} was lost"
