"""A checkpoint brings the whole log and every view back, or says what is wrong with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from maestro.model import events as e
from maestro.model.errors import Invalid, MaestroError, NotFound, Refused, VerificationFailed
from maestro.model.events import NewEvent
from maestro.store.contract import Store
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import VIEWS
from replayers import checkpoint, rewind
from replayers.rebuild import rebuild
from replayers.sealed import Segments
from replayers.verify import verify
from tests.projections.histories import commit, everything, grow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "taken"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_was_taken_is_proved(past: Store, folder: Path) -> None:
    head = past.log.head()
    taken = checkpoint.write(past, folder, head.seq)
    assert checkpoint.verify(folder) == taken == checkpoint.look(folder)
    assert (taken.position, taken.chain, taken.at, taken.events) == (head.seq, head.chain, head.at, head.seq)
    assert taken.digests == rewind.folded(past, head.seq).digests()
    assert (taken.blobs, taken.missing) == (3, ["ab" * 32])
    assert [event for some in checkpoint.events(folder) for event in some] == everything(past)


def test_a_checkpoint_of_an_earlier_position_has_the_views_of_then(past: Store, folder: Path) -> None:
    position = past.log.head().seq // 2
    taken = checkpoint.write(past, folder, position)
    assert checkpoint.verify(folder).digests == taken.digests == rewind.folded(past, position).digests()
    assert [event.seq for some in checkpoint.events(folder, 30, 75) for event in some] == list(range(31, 76))


def test_it_fills_an_empty_namespace_with_the_same_log_and_views(
    past: Store, folder: Path, kind: str, open_empty: Callable[[], Store]
) -> None:
    head = past.log.head()
    taken = checkpoint.write(past, folder, head.seq)
    empty = open_empty()
    assert checkpoint.same_history(empty, taken.position, taken.chain) == "empty"
    assert checkpoint.load(empty, folder) == taken
    assert empty.log.head() == head
    assert empty.log.entries(0, head.seq) == past.log.entries(0, head.seq)
    assert rebuild(empty).digests == taken.digests
    assert verify(empty).ok
    assert empty.blobs.get(past.blobs.put(b"a long text 1" * 100)) == b"a long text 1" * 100
    subjects = {event.subject for event in everything(past)}
    assert {name: empty.log.version(name) for name in subjects} == {name: past.log.version(name) for name in subjects}
    assert checkpoint.same_history(empty, taken.position, taken.chain) == "same"
    assert checkpoint.load(empty, folder) == taken  # done already


def test_another_log_is_neither_touched_nor_taken_for_the_same(
    past: Store, folder: Path, open_empty: Callable[[], Store]
) -> None:
    taken = checkpoint.write(past, folder, past.log.head().seq)
    other = open_empty()
    for _ in grow(other, Random(12), 200):
        pass
    assert checkpoint.same_history(other, taken.position, taken.chain) == "other"
    before = other.log.head()
    with pytest.raises(Refused):
        checkpoint.load(other, folder)
    assert other.log.head() == before


def test_a_log_that_has_gone_on_is_the_same_history(past: Store, folder: Path) -> None:
    taken = checkpoint.write(past, folder, past.log.head().seq - 5)
    assert checkpoint.same_history(past, taken.position, taken.chain) == "same"
    assert checkpoint.same_history(past, taken.position, "0" * 40) == "other"
    assert checkpoint.same_history(past, 10**6, taken.chain) == "other"


def test_the_next_one_shares_all_files_but_the_last(past: Store, tmp_path: Path, sealed: Segments) -> None:
    past.attach(sealed)
    head = past.log.head().seq
    first = checkpoint.write(past, tmp_path / "a", head)
    commit(past, NewEvent("state:new", e.StateSet("new", "1")))
    second = checkpoint.write(past, tmp_path / "b", head + 1)
    a, b = files(tmp_path / "a" / "log"), files(tmp_path / "b" / "log")
    assert first.pieces[:-1] == second.pieces[: len(first.pieces) - 1]
    assert len(a.keys() - b.keys()) <= 1
    assert all(b[name] == a[name] for name in a.keys() & b.keys())
    assert checkpoint.verify(tmp_path / "b") == second


def test_it_is_the_same_bytes_wherever_it_is_taken(past: Store, tmp_path: Path, sealed: Segments) -> None:
    head = past.log.head().seq
    checkpoint.write(past, tmp_path / "c", head)
    past.attach(sealed)
    checkpoint.write(past, tmp_path / "a", head)
    checkpoint.write(past, tmp_path / "b", head)
    assert files(tmp_path / "a") == files(tmp_path / "b") == files(tmp_path / "c")


def test_a_damaged_file_among_the_kept_ones_is_not_taken(past: Store, tmp_path: Path, sealed: Segments) -> None:
    head = past.log.head().seq
    past.attach(sealed)
    checkpoint.write(past, tmp_path / "a", head)
    kept = sorted(sealed.folder.glob("*.seg"))[0]
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(whole[:-30] + bytes(30))
    taken = checkpoint.write(past, tmp_path / "b", head)
    assert checkpoint.verify(tmp_path / "b") == taken
    assert kept.read_bytes() == whole


def test_the_registry_says_which_types_and_agents_there_were(store: Store, folder: Path) -> None:
    odd = {
        "mode": "yes",
        "n": 1,
        "f": 1e-9,
        "t": "1e3",
        "none": None,
        "on": True,
        "text": "a\n b: 'ü' \x07",
        "l": [[], {}],
    }
    commit(store, NewEvent("type:shell", e.AgentRegistered("shell", odd, "/etc/x.yaml")))
    assigned = e.AgentAssigned("a", "shell", {}, "/w", "/w/a", role="no", priority=1, node="north")
    commit(store, NewEvent("agent:a", assigned))
    commit(store, NewEvent("agent:b", e.AgentAssigned("b", "shell", {}, "/w", None)))
    checkpoint.write(store, folder, 3)
    registry = checkpoint.registry(folder)
    assert [(one.slug, one.definition, one.source) for one in registry.types] == [("shell", odd, "/etc/x.yaml")]
    [a, b] = registry.agents
    assert (a.id, a.type, a.role, a.priority, a.workspace, a.node) == ("a", "shell", "no", 1, "/w/a", "north")
    assert (b.id, b.workspace, b.node) == ("b", None, None)
    assert checkpoint.verify(folder).position == 3


def test_a_position_that_is_none_is_refused(past: Store, folder: Path) -> None:
    for position in (0, -1, past.log.head().seq + 1):
        with pytest.raises(Invalid):
            checkpoint.write(past, folder, position)


def test_a_folder_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        checkpoint.verify(tmp_path)


@pytest.fixture
def taken(tmp_path: Path, short_ranges: None) -> Path:
    """A small checkpoint with a blob in it."""
    store = MemoryStore("taken")
    for _ in grow(store, Random(3), 25, restores=True):
        pass
    blob = e.BlobRef(store.blobs.put(b"a long text " * 9), 108)
    commit(store, NewEvent("state:long", e.StateSet("long", blob)))
    checkpoint.write(store, tmp_path / "whole", store.log.head().seq)
    return tmp_path / "whole"


def damages(folder: Path) -> Iterator[tuple[Path, bytes | None]]:
    """One way after the other to damage a file: gone, cut, longer, a flipped bit at many places."""
    random = Random(7)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        yield path, None
        yield path, b""
        yield path, whole[:-1]
        yield path, whole[: len(whole) // 2]
        yield path, whole + b"\0"
        for place in sorted({0, len(whole) - 1, *random.sample(range(len(whole)), min(40, len(whole)))}):
            yield path, whole[:place] + bytes([whole[place] ^ (1 << random.randrange(8))]) + whole[place + 1 :]


def test_whatever_is_damaged_is_found_and_nothing_of_it_is_loaded(taken: Path, tmp_path: Path) -> None:
    missed: list[str] = []
    for path, content in damages(taken):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        shutil.copytree(taken, tmp_path / "other")
        other = tmp_path / "other" / path.relative_to(taken)
        if content is None:
            other.unlink()
        else:
            other.write_bytes(content)
        try:
            checkpoint.verify(tmp_path / "other")
        except MaestroError:
            continue
        missed.append(f"{path}: {content!r}")
    assert missed == []


def test_a_checkpoint_whose_views_are_not_those_of_its_events_is_found(taken: Path) -> None:
    found = checkpoint.look(taken)
    for view in VIEWS:
        wrong = msgspec.structs.replace(found, digests={**found.digests, view: "0" * 64})
        (taken / checkpoint.JSON).write_bytes(checkpoint.encoded(wrong))
        with pytest.raises(VerificationFailed, match=view):
            checkpoint.verify(taken)
