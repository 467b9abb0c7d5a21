"""A segment gives back what was written, byte for byte, or says that it is damaged."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from random import Random

import msgspec
import pytest
import zstandard

from maestro.model import events as e
from maestro.model.errors import VerificationFailed
from maestro.model.events import NewEvent
from maestro.store.codec import event_of
from maestro.store.contract import Entry
from maestro.store.memory.memory_store import MemoryStore
from projections.fold import Fold
from projections.generations import FOLDS
from projections.lineage import Line, cuts_of
from replayers import segments
from tests.projections.histories import commit, grow
from tests.replayers.golden_log import FOLDER, fold, read as golden

LOGS = sorted(FOLDER.glob("*.jsonl"))


@pytest.fixture
def entries() -> list[Entry]:
    """A log with small, large and odd events, and texts that lie elsewhere."""
    store = MemoryStore("segments")
    for _ in grow(store, Random(4), 150, restores=True):
        pass
    for number, size in enumerate((0, 1, 16_000, 300_000, 2_000_000, 5)):
        commit(
            store, NewEvent("state:\x7f é", e.StateSet("\x7f é", "\0ü" * (size // 3)), None), cause=f"cmd:\n{number}"
        )
    parts = msgspec.json.encode({"a": e.BlobRef("cd" * 32, 9), "b": "x"}).decode()
    commit(store, NewEvent("state:two", e.StateSet("two", parts)))
    commit(store, NewEvent("state:bad", e.StateSet("bad", e.BlobRef("../../etc", 9))))
    return store.log.entries(0, 10_000)


def all_of(path: Path) -> list[Entry]:
    return [entry for some in segments.read(path) for entry in some]


def test_what_was_written_comes_back(entries: list[Entry], tmp_path: Path) -> None:
    written = segments.write(tmp_path, "ns", entries, "")
    assert all_of(written.path) == entries
    assert written.path.name == f"{1:010d}-{len(entries):010d}-{entries[-1].chain[:16]}.seg"
    assert written.sha256 == segments.digest(written.path)
    assert (written.path.stat().st_mode & 0o777, written.chain) == (0o600, entries[-1].chain)


def test_a_part_of_a_log_says_what_it_continues(entries: list[Entry], tmp_path: Path) -> None:
    path = segments.write(tmp_path / "x.seg", "ns", entries[30:90], entries[29].chain).path
    header = segments.header(path)
    assert (header.namespace, header.first, header.last) == ("ns", 31, 90)
    assert (header.before, header.chain) == (entries[29].chain, entries[89].chain)
    assert all_of(path) == entries[30:90]
    for first in (1, 31, 60, 90):
        found = [entry for _, some in segments.blocks(path, first) for entry in some]
        assert found[-1] == entries[89] and found[0].seq <= max(first, 31)


def test_it_names_the_texts_of_its_events_and_no_other_files(entries: list[Entry], tmp_path: Path) -> None:
    assert segments.header(segments.write(tmp_path, "ns", entries, "").path).blobs == ["ab" * 32, "cd" * 32]


def test_the_same_range_gives_the_same_bytes(entries: list[Entry], tmp_path: Path) -> None:
    one = segments.write(tmp_path / "a", "ns", entries, "")
    two = segments.write(tmp_path / "b", "ns", iter(entries), "")
    assert one.path.read_bytes() == two.path.read_bytes() and one.sha256 == two.sha256


def test_blocks_are_small_whatever_the_events_are(entries: list[Entry], tmp_path: Path) -> None:
    path = segments.write(tmp_path, "ns", entries, "").path
    sizes = [(len(some), sum(len(entry.data) for entry in some[:-1])) for _, some in segments.blocks(path)]
    assert all(count <= segments.BLOCK_ENTRIES and size < segments.BLOCK_BYTES for count, size in sizes)


def test_every_flipped_or_missing_byte_is_noticed_or_changes_nothing(entries: list[Entry], tmp_path: Path) -> None:
    small = entries[:60]
    path = segments.write(tmp_path / "x.seg", "ns", small, "").path
    data, random = path.read_bytes(), Random(1)
    head = segments.header(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :])
        try:
            assert (all_of(path), segments.header(path)) == (small, head)
        except VerificationFailed as failed:
            assert failed.where == str(path)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(VerificationFailed):
            all_of(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(VerificationFailed):
        all_of(path)


@pytest.mark.parametrize("what", ["altered", "missing", "none", "other"])
def test_what_is_no_unbroken_part_of_a_log_is_not_written(entries: list[Entry], tmp_path: Path, what: str) -> None:
    some = {
        "altered": [*entries[:5], msgspec.structs.replace(entries[5], data=b"{}")],
        "missing": [*entries[:5], *entries[6:9]],
        "none": [],
        "other": entries[3:9],
    }[what]
    with pytest.raises(VerificationFailed):
        segments.write(tmp_path, "ns", some, "")
    assert list(tmp_path.iterdir()) == []


def forged(path: Path, header: segments.Header, body: bytes) -> Path:
    """A segment that somebody else has made."""
    frame = zstandard.ZstdCompressor(3, write_checksum=True).compress(msgspec.json.encode(header))
    path.write_bytes(segments.MAGIC + len(frame).to_bytes(4, "little") + frame + body)
    return path


def packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(19, write_checksum=True).compress(data)


BOMB = b"\xdd" + (1 << 24).to_bytes(4, "big") + b"\xc4\x00" * (1 << 24)
"""msgpack: a list of sixteen million empty texts."""


@pytest.mark.parametrize(
    "body",
    [
        (1 << 31).to_bytes(4, "little"),
        (0).to_bytes(4, "little"),
        len(BOMB).to_bytes(4, "little") + BOMB,
        (len(BOMB) // 2).to_bytes(4, "little") + BOMB,
        (9).to_bytes(4, "little") + b"\x99" + b"\x90" * 7 + b"\xc0",
    ],
)
def test_a_forged_body_is_refused_cheaply(tmp_path: Path, body: bytes) -> None:
    frame = packed(body)
    header = segments.Header("ns", 1, 10, "", "0" * 40, [1], [], len(frame))
    path = forged(tmp_path / "x.seg", header, frame)
    tracemalloc.start()
    with pytest.raises(VerificationFailed):
        all_of(path)
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "change",
    [
        {"first": 0, "starts": [0]},
        {"last": 0},
        {"starts": []},
        {"starts": [1, 1]},
        {"starts": [2]},
        {"starts": [1, 11]},
        {"blobs": ["../../../etc/passwd"]},
        {"size": 1},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    frame = packed(b"")
    header = segments.Header("ns", 1, 10, "", "0" * 40, [1], [], len(frame))
    path = forged(tmp_path / "x.seg", msgspec.structs.replace(header, **change), frame)
    with pytest.raises(VerificationFailed):
        segments.header(path)


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_a_golden_log_that_was_sealed_replays_to_its_digests(log: Path, tmp_path: Path) -> None:
    whole = list(golden(log))
    paths = [
        segments.write(tmp_path, "golden", whole[start : start + 90], whole[start - 1].chain if start else "").path
        for start in range(0, len(whole), 90)
    ]
    found = [entry for path in paths for entry in all_of(path)]
    assert found == whole
    events = [event_of(entry) for entry in found]
    folded = Fold(Line(cuts_of(events), events[-1].seq))
    folded.apply(events)
    told = msgspec.json.decode(log.with_suffix(".json").read_bytes())
    assert folded.digests() == (told["digests"] if told["folds"] == FOLDS else fold(whole).digests())
