"""Sealed history: whoever reads the log sees one log, whatever part of it lies in files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import redis

from maestro.model import events as e
from maestro.model.errors import LineageBroken, VerificationFailed
from maestro.model.events import NewEvent
from maestro.model.node import Node
from maestro.store.codec import event_of
from maestro.store.contract import Entry, Store
from maestro.store.keys import Keys
from maestro.store.memory.memory_store import MemoryStore
from projections.lineage import find_cuts
from projections.projector import Projector
from replayers import (
    audit,
    blobs,
    checkpoint,
    export,
    positions,
    ranges,
    rewind,
    sealed as sealed_module,
    sealer,
    segments,
)
from replayers.groups import Group
from replayers.rebuild import rebuild
from replayers.sealed import Segments
from replayers.verify import verify
from tests.projections.histories import commit, everything, grow

GONE = sealer.GONE_MS


def seal(store: Store, sealed: Segments, events_max: int = 0) -> int:
    """Do what the daemon that leads does; how many ranges were sealed."""
    spans = sealer.due(store, events_max)
    for span in spans:
        fact = sealer.seal(store, sealed, span)
        if not sealer.recorded(store, fact):
            commit(store, NewEvent(sealer.SUBJECT, fact, store.log.version(sealer.SUBJECT)))
        store.log.trim(fact.last + 1)
    return len(spans)


@pytest.fixture
def whole(past: Store) -> list[Entry]:
    """The log before anything of it was sealed."""
    return past.log.entries(0, past.log.head().seq)


@pytest.fixture
def trimmed(past: Store, whole: list[Entry], sealed: Segments) -> Store:
    """The same log, of which the store holds the end only."""
    past.attach(sealed)
    assert seal(past, sealed) == len(whole) // ranges.LARGE
    assert past.log.first() == len(whole) // ranges.LARGE * ranges.LARGE + 1
    Projector(past).catch_up()
    return past


def test_every_reader_sees_what_it_saw_before(
    trimmed: Store, whole: list[Entry], opened: Callable[[], Store], sealed: Segments
) -> None:
    other = opened()
    other.attach(Segments(sealed.folder.parent, sealed.namespace))
    end = len(whole)
    assert [entry for entry in other.log.entries(0, 10_000) if entry.seq <= end] == whole
    events = [event_of(entry) for entry in whole]
    assert everything(other)[:end] == events
    random = Random(3)
    for _ in range(40):
        after, count = random.randrange(end), random.randrange(1, 90)
        assert other.log.entries(after, count)[: end - after] == whole[after : after + count]
        assert other.log.read(after, count)[: end - after] == events[after : after + count]
        assert other.log.event(after + 1) == events[after]
        assert other.log.follow(after, 3, 10)[: end - after] == events[after : after + 3]


def test_looking_back_exporting_and_telling_give_the_same(past: Store, whole: list[Entry], sealed: Segments) -> None:
    end = len(whole)

    def seen() -> list[Any]:
        task = next(event.fact.task for event in everything(past) if isinstance(event.fact, e.TaskDispatched))
        story: list[Any] = []
        for query in (audit.Query(f"task:{task}"), audit.Query("agent:tester"), audit.Query()):
            after = 0
            while after < end:
                lines, after = audit.page(past, audit.further(query, after))
                story += [line for line in lines if line.event.seq <= end]
        times = [positions.position_at(past.log, entry.at) >= entry.seq for entry in whole[::17]]
        views = [rewind.folded(past, position).digests() for position in (1, 39, 40, 41, 100, end)]
        changes = list(rewind.diff(past, 30, end - 3))
        cuts = [cut for cut in find_cuts(past.log, past.log.head().floor) if cut.at <= end]
        return [list(export.export(past, 1, end)), story, times, views, changes, cuts]

    before = seen()
    past.attach(sealed)
    assert seal(past, sealed)
    assert seen() == before


def test_a_rebuild_from_segments_gives_identical_digests(trimmed: Store) -> None:
    before = rewind.folded(trimmed, trimmed.log.head().seq).digests()
    assert rebuild(trimmed).digests == before
    assert verify(trimmed).ok


def test_the_views_of_any_sealed_position_come_from_the_files_alone(
    trimmed: Store, whole: list[Entry], sealed: Segments
) -> None:
    first = trimmed.log.entries(trimmed.log.first() - 1, 1)[0]
    entries = [entry for path, _ in sealed.segments_before(first) for some in segments.read(path) for entry in some]
    assert entries == whole[: first.seq - 1]
    other = MemoryStore("other")
    other.log.load([entries])
    assert rebuild(other).digests == rewind.folded(trimmed, first.seq - 1).digests()


def test_what_was_trimmed_but_never_sealed_is_not_read_over(trimmed: Store) -> None:
    trimmed.log.trim(trimmed.log.head().seq)
    with pytest.raises(LineageBroken, match=r"are gone, and were not sealed; .*--accept-loss"):
        trimmed.log.read(0, 1)
    with pytest.raises(LineageBroken):
        rebuild(trimmed)


def test_a_group_that_has_fallen_behind_reads_segments_too(trimmed: Store, whole: list[Entry]) -> None:
    group = Group(trimmed, "slow", 5)
    found = []
    while events := group.read(7):
        found += events
        group.taken(events[-1].seq)
    assert [event.seq for event in found] == list(range(6, trimmed.log.head().seq + 1))
    assert found[: len(whole) - 5] == [event_of(entry) for entry in whole[5:]]


def test_sealing_goes_on_where_it_stopped_and_restores_do_not_disturb_it(trimmed: Store, sealed: Segments) -> None:
    for _ in grow(trimmed, Random(5), 60, restores=True):
        pass
    before = rewind.folded(trimmed, trimmed.log.head().seq).digests()
    head = trimmed.log.head().seq
    Projector(trimmed).catch_up()
    assert seal(trimmed, sealed) > 0
    assert rewind.folded(trimmed, head).digests() == before
    Projector(trimmed).catch_up()
    assert verify(trimmed).ok


def test_nothing_is_due_before_the_store_holds_too_much_and_then_half_is_left(past: Store, sealed: Segments) -> None:
    past.attach(sealed)
    head = past.log.head().seq
    assert sealer.due(past, head) == []
    spans = sealer.due(past, head - 1)
    assert spans and spans[0][0] == 1
    assert head - spans[-1][1] >= (head - 1) // 2 > head - spans[-1][1] - ranges.LARGE


def test_nothing_is_sealed_that_the_views_have_still_to_be_folded_from(store: Store, short_ranges: None) -> None:
    for number in range(45):
        commit(store, NewEvent("state:a", e.StateSet("a", str(number))))
    assert sealer.due(store, 1) == []
    Projector(store).catch_up()
    for number in range(60):
        commit(store, NewEvent("state:b", e.StateSet("b", str(number))))
    assert sealer.due(store, 1) == [(1, 40)]


def test_the_memory_of_the_store_stays_bounded_however_long_the_log_grows(
    server_kind: str,
    namespace: str,
    shared_server: Callable[[str], Any],
    open_at: Callable[..., Store],
    sealed: Segments,
    short_ranges: None,
) -> None:
    url = shared_server(server_kind).url
    store = open_at(url)
    store.attach(sealed)
    client = redis.Redis.from_url(url)
    used: list[int] = []
    for number in range(24):
        for some in range(50):
            commit(store, NewEvent(f"state:k{some}", e.StateSet(f"k{some}", f"{number} {some}" * 8)))
        Projector(store).catch_up()
        seal(store, sealed, 200)
        used.append(int(client.memory_usage(Keys(namespace).log, samples=0)))
        assert store.log.head().seq - store.log.first() < 200 + ranges.LARGE
    assert max(used[12:]) <= 1.5 * max(used[:12])
    assert len(everything(store)) == store.log.head().seq > 1200
    client.close()
    store.erase()


def test_the_folder_is_listed_once_for_a_history_of_any_number_of_segments(
    trimmed: Store, whole: list[Entry], sealed: Segments, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was looked through for each of them, so that the first question of a daemon took the square of them."""
    looks: list[Path] = []
    look = sealed_module.listed
    monkeypatch.setattr(sealed_module, "listed", lambda folder: [looks.append(folder), look(folder)][1])
    number = len(list(sealed.folder.glob(f"*{segments.SUFFIX}")))
    fresh = Segments(sealed.folder.parent, sealed.namespace)
    following = trimmed.log.entries(trimmed.log.first() - 1, 1)[0]
    assert fresh.before(following, 0, 1) == whole[:1]
    assert len(looks) == 1 < number
    assert len(fresh.segments_before(following)) == number and len(looks) == 1


def test_sealing_again_gives_the_same_file_and_tells_it_once(past: Store, sealed: Segments) -> None:
    past.attach(sealed)
    fact = sealer.seal(past, sealed, (1, 40))
    assert not sealer.recorded(past, fact)
    commit(past, NewEvent(sealer.SUBJECT, fact))
    again = sealer.seal(past, Segments(sealed.folder.parent, sealed.namespace), (1, 40))
    assert again == fact and sealer.recorded(past, again)
    second = sealer.seal(past, sealed, (41, 80))
    assert not sealer.recorded(past, second)


def test_a_damaged_log_is_not_sealed(past: Store, sealed: Segments) -> None:
    entries = past.log.entries(0, 40)
    entries[7] = msgspec.structs.replace(entries[7], data=entries[7].data + b" ")
    with pytest.raises(VerificationFailed, match="event 8"):
        sealed.put(entries, "")
    with pytest.raises(VerificationFailed, match="events 5 to 5"):
        sealed.put([*past.log.entries(0, 4), *past.log.entries(5, 4)], "")
    assert list(sealed.folder.glob("*")) == []


# ---- proving it ----


def first(result: Any) -> tuple[int, str]:
    assert result.first is not None
    return result.first.position, result.first.what


def files(sealed: Segments) -> list[Path]:
    return sorted(sealed.folder.glob("*.seg"))


def anew(store: Store, sealed: Segments) -> Store:
    """As a process sees it that has nothing in memory."""
    store.attach(Segments(sealed.folder.parent, sealed.namespace))
    return store


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_missing_segment_is_named(trimmed: Store, sealed: Segments, number: int) -> None:
    path = files(sealed)[number]
    path.unlink()
    result = verify(anew(trimmed, sealed))
    assert not result.ok
    assert any(path.name in one.what and "missing" in one.what for one in result.differences)


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_flipped_bit_anywhere_in_a_segment_is_found(trimmed: Store, sealed: Segments, number: int) -> None:
    path = files(sealed)[number]
    data = path.read_bytes()
    random = Random(1)
    for place in {0, 20, len(data) - 1, *random.sample(range(len(data)), 12)}:
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :])
        _, what = first(verify(anew(trimmed, sealed)))
        assert path.name in what, place
    path.write_bytes(data)
    assert verify(anew(trimmed, sealed)).ok


def test_reading_what_is_missing_or_damaged_says_so_and_never_leaves_it_out(trimmed: Store, sealed: Segments) -> None:
    path = files(sealed)[1]
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    for read in (lambda: trimmed.log.read(30, 30), lambda: list(trimmed.log.scan(0, 90)), lambda: rebuild(trimmed)):
        with pytest.raises(VerificationFailed, match=path.name):
            anew(trimmed, sealed)
            read()
    shutil.rmtree(sealed.folder)
    with pytest.raises(VerificationFailed, match="MAESTRO_SEGMENTS_DIR"):
        anew(trimmed, sealed).log.read(0, 1)
    assert trimmed.log.read(trimmed.log.first() - 1, 1)


def test_segments_of_another_history_of_that_name_are_left_alone(
    trimmed: Store, whole: list[Entry], sealed: Segments, open_empty: Callable[[], Store]
) -> None:
    other = open_empty()
    for _ in grow(other, Random(99), 80):
        pass
    Projector(other).catch_up()
    other.attach(sealed)
    theirs = other.log.entries(0, other.log.head().seq)
    assert seal(other, sealed)
    assert other.log.entries(0, len(theirs)) == theirs
    assert trimmed.log.entries(0, len(whole)) == whole


# ---- blobs ----


def test_blobs_that_only_sealed_events_name_leave_the_store_and_are_read_all_the_same(
    past: Store, sealed: Segments
) -> None:
    texts = {name: past.blobs.get(name) for name in blobs.named(past)}
    for number in range(60):
        commit(past, NewEvent("state:z", e.StateSet("z", str(number))))
    Projector(past).catch_up()
    past.attach(sealed)
    seal(past, sealed)
    held = blobs.named(past, held=True)
    gone = past.blobs.collect(held, 0)
    assert gone == sum(text is not None for text in texts.values()) == 3
    assert {name: past.blobs.get(name) for name in texts} == texts


def test_a_checkpoint_of_a_trimmed_log_is_whole(
    trimmed: Store, tmp_path: Path, open_empty: Callable[[], Store]
) -> None:
    trimmed.blobs.collect(blobs.named(trimmed, held=True), 0)
    taken = checkpoint.write(trimmed, tmp_path / "taken", trimmed.log.head().seq)
    assert checkpoint.verify(tmp_path / "taken") == taken
    empty = open_empty()
    checkpoint.load(empty, tmp_path / "taken")
    assert rebuild(empty).digests == taken.digests
    assert empty.log.entries(0, 10_000) == trimmed.log.entries(0, 10_000)


# ---- who reaches them ----


def a_node(name: str, status: str = "up", incarnation: str = "i1", changed_at: int = 0) -> Node:
    return Node(name, 1, "host", incarnation, 1, 4, "1.2.0", status=status, changed_at=changed_at)


def test_nothing_is_trimmed_while_a_node_has_not_shown_that_it_reaches_the_segments(sealed: Segments) -> None:
    north, south = a_node("north"), a_node("south")
    assert sealer.out_of_reach(sealed, [north, south], 0) == ["north", "south"]
    sealer.note_reach(sealed, "north", "i1")
    assert sealer.out_of_reach(sealed, [north, south], 0) == ["south"]
    sealer.note_reach(sealed, "south", "i0")
    assert sealer.out_of_reach(sealed, [north, south], 0) == ["south"]  # that was before it was started anew
    sealer.note_reach(sealed, "south", "i1")
    assert sealer.out_of_reach(sealed, [north, south], 0) == []


def test_a_node_that_went_away_is_waited_for_a_week_unless_it_reached_them(sealed: Segments) -> None:
    lost, left = a_node("lost", "lost", changed_at=1000), a_node("left", "left", changed_at=1000)
    sealer.note_reach(sealed, "left", "any")
    assert sealer.out_of_reach(sealed, [lost, left], 1000 + GONE - 1) == ["lost"]
    assert sealer.out_of_reach(sealed, [lost, left], 1000 + GONE) == []
