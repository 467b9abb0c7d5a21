"""What is damaged in an archive is set aside: told, kept anew by the next snapshot, and all around it comes back."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from maestro.model.errors import Refused, VerificationFailed
from maestro.workspaces.archive.format import quarantine
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.format.packs import read_directory
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.read import scrub
from tests.workspaces.archive.rotting import flip, flip_largest, largest

SMALL = 60


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "ws"
    (source / "inner").mkdir(parents=True)
    for number in range(SMALL):
        (source / f"inner/small-{number}").write_bytes(os.urandom(2_000))
    (source / "large").write_bytes(os.urandom(1 << 20))
    os.link(source / "large", source / "linked")
    (source / "long").write_bytes(os.urandom(3 << 20))
    past = time.time() - 60
    for path in source.rglob("*"):
        os.utime(path, (past, past))
    return source


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def archive(store: Path, source: Path) -> Archive:
    time.sleep(0.1)  # what was changed just now is not believed to be unchanged
    archive = Archive(store)
    archive.save([("ws", str(source))], "one", {})
    return archive


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def check_what_is_left(archive: Archive, snapshot: str, source: Path, stage: Path) -> set[str]:
    """Every file is whole or lost, and lost is told; the paths that are."""
    done = archive.restore(snapshot, "ws", stage, skip_lost=True)
    there, was = contents(stage), contents(source)
    lost = {one.path for one in done.lost}
    assert all(one.tree == "ws" and one.why for one in done.lost)
    assert there == {path: content for path, content in was.items() if path not in lost}
    assert lost <= was.keys()
    return lost


def test_what_is_damaged_is_kept_anew_though_its_file_is_unchanged(archive: Archive, source: Path, store: Path) -> None:
    flip_largest(store)
    assert archive.save([("ws", str(source))], "two", {}).files_read == 0, "nobody can see it yet"
    for name in ("one", "two"):
        with pytest.raises(VerificationFailed, match=r"ws/l.*is damaged"):
            archive.verify(name)
    assert {name: found.files > 0 for name, found in archive.damaged().items()} == {"one": True, "two": True}
    assert archive.save([("ws", str(source))], "three", {}).files_read == 1
    assert archive.damaged() == {}
    for name in ("one", "two", "three"):
        assert archive.verify(name).files == SMALL + 2


def test_each_of_who_may_meet_it_sets_it_aside(archive: Archive, store: Path, source: Path, tmp_path: Path) -> None:
    _, block = largest(store)
    meetings = {
        "restore": lambda: archive.restore("one", "ws", tmp_path / "stage"),
        "export": lambda: archive.export("one", tmp_path / "x.tar.gz"),
        "scrub": lambda: archive.scrub(),
        "collection": lambda: archive.collect(["one"]),
    }
    (source / "more").write_bytes(os.urandom(2 << 20))
    archive.save([("ws", str(source))], "much", {})
    (source / "more").unlink()
    for name, meet in meetings.items():
        shutil.copytree(store, tmp_path / "kept")
        flip_largest(store)
        if name in ("restore", "export"):
            with pytest.raises(VerificationFailed):
                meet()
        else:
            meet()
        barred = quarantine.listed(Layout(store))
        assert {place.offset for place in barred} >= {block.offset} or name == "collection", name
        if name != "collection":  # it reads what it moves only
            assert archive.save([("ws", str(source))], "anew", {}).files_read >= 1, name
            archive.verify("anew")
        shutil.rmtree(store)
        (tmp_path / "kept").rename(store)


def test_whole_files_come_back_and_the_others_are_told(
    archive: Archive, store: Path, source: Path, tmp_path: Path
) -> None:
    flip_largest(store)
    lost = check_what_is_left(archive, "one", source, tmp_path / "stage")
    assert lost in ({"large", "linked"}, {"long"})
    with pytest.raises(VerificationFailed, match=r"none of its files|nothing of its listing"):
        for path in (store / "packs").glob("*.pack"):
            for block in read_directory(path):
                flip(path, block.offset + 2)
        archive.restore("one", "ws", tmp_path / "other", skip_lost=True)
    assert not (tmp_path / "other").exists()


def test_wherever_a_bit_flips_no_more_is_lost_than_what_it_is_in(
    archive: Archive, store: Path, source: Path, tmp_path: Path
) -> None:
    assert archive
    chance = random.Random(11)
    (pack,) = (store / "packs").glob("*.pack")
    size = pack.stat().st_size
    blocks = read_directory(pack)
    places = [block.offset + chance.randrange(block.stored) for block in blocks]
    places += [0, 5, size - 1, size - 30, size - 60, blocks[-1].offset + blocks[-1].stored + 10]
    for number, at in enumerate(places):
        shutil.copytree(store, tmp_path / "kept")
        flip(pack, at)
        lost = check_what_is_left(Archive(store), "one", source, tmp_path / f"stage-{number}")
        holding = next((block for block in blocks if block.offset <= at < block.offset + block.stored), None)
        if holding is None or holding in blocks[-2:]:
            assert lost == set(), "neither a directory nor a listing that is kept twice takes a file with it"
        elif len(holding.lengths) == 1:
            assert lost in ({"large", "linked"}, {"long"})
        else:
            assert all(path.startswith("inner/small-") for path in lost)
        shutil.rmtree(store)
        (tmp_path / "kept").rename(store)


@pytest.mark.parametrize("cache", ["with", "without"])
@pytest.mark.parametrize("how", ["cut", "gone", "longer"])
def test_each_snapshot_looks_at_the_sizes_of_packs(
    archive: Archive, store: Path, source: Path, how: str, cache: str
) -> None:
    (pack,) = (store / "packs").glob("*.pack")
    before = pack.stat()
    if how == "gone":
        pack.unlink()
    else:
        os.truncate(pack, before.st_size + (1 if how == "longer" else -100))
        os.utime(pack, ns=(before.st_atime_ns, before.st_mtime_ns))
    if cache == "without":
        (store / "caches/index").unlink()
    archive.save([("ws", str(source))], "two", {})
    archive.verify("two")
    archive.verify("one")
    assert archive.damaged() == {}


def test_what_is_in_quarantine_stays_there_when_the_index_is_made_anew(
    archive: Archive, store: Path, source: Path
) -> None:
    flip_largest(store)
    archive.scrub()
    shutil.rmtree(store / "caches")
    again = Archive(store)
    assert set(again.damaged()) == {"one"}
    assert again.save([("ws", str(source))], "two", {}).files_read > 0
    assert again.damaged() == {}


def test_a_pack_that_is_put_back_from_a_copy_counts_again(archive: Archive, store: Path, tmp_path: Path) -> None:
    pack, _ = largest(store)
    shutil.copy2(pack, tmp_path / "copy")
    flip_largest(store)
    assert archive.scrub().damaged == 1
    assert set(archive.damaged()) == {"one"}
    shutil.copy2(tmp_path / "copy", pack)
    assert archive.scrub().released == 1
    assert archive.damaged() == {}
    archive.verify("one")
    pack.unlink()
    with pytest.raises(VerificationFailed):
        archive.verify("one")
    shutil.copy2(tmp_path / "copy", pack)
    archive.verify("one")


def test_a_snapshot_does_not_call_itself_complete_on_what_was_found_damaged_meanwhile(
    archive: Archive, store: Path, source: Path
) -> None:
    path, block = largest(store)
    flip_largest(store)
    with (source / "new").open("wb") as file:
        file.write(os.urandom(100))
    block.pack = path.stem

    def progress(entries: int, read: int, wanted: int) -> None:
        quarantine.add_block(Layout(store), block, "found by somebody else")

    time.sleep(0.1)
    with pytest.raises(Refused, match="found damaged while it was taken"):
        archive.save([("ws", str(source))], "two", {}, progress=progress)
    assert [one.snapshot for one in archive.snapshots()] == ["one"]
    archive.save([("ws", str(source))], "two", {})
    archive.verify("two")


def test_what_is_damaged_stays_until_nobody_lacks_it(archive: Archive, store: Path, source: Path) -> None:
    pack = flip_largest(store)
    archive.scrub()
    archive.save([("ws", str(source / "inner"))], "other", {})
    archive.collect(["one", "other"])
    assert pack.exists(), "a copy of it may be put back yet"
    archive.save([("ws", str(source))], "two", {})
    for _ in range(2):
        archive.collect(["one", "two", "other"])
    archive.verify("one")
    assert all(place.pack == pack.stem for place in quarantine.listed(Layout(store)))
    archive.collect(["other"])
    archive.verify("other")
    assert not pack.exists() and not quarantine.listed(Layout(store))


def test_a_damaged_manifest_is_told_and_nothing_that_it_needs_is_given_back(archive: Archive, store: Path) -> None:
    manifest = store / "manifests/one"
    flip(manifest, 40)
    assert "manifest" in archive.damaged()["one"].why
    with pytest.raises(VerificationFailed):
        archive.collect(["one"])
    flip(manifest, 40)
    assert archive.damaged() == {}
    archive.verify("one")


def test_the_scrub_reads_a_little_at_a_time_and_knows_where_it_was(store: Path, source: Path) -> None:
    archive = Archive(store)
    for number in range(4):
        (source / "large").write_bytes(os.urandom(1 << 20))
        archive.save([(f"ws{number}", str(source))], f"s{number}", {})
    assert (archive.scrub_age().never, archive.scrub_due()) == (4, True)
    read = [archive.scrub(1).packs]
    read += [Archive(store).scrub(1).packs for _ in range(2)]
    assert read == [1, 1, 1] and Archive(store).scrub_age().never == 1
    assert archive.scrub(1 << 30).packs == 1
    assert (archive.scrub_age().never, archive.scrub_due()) == (0, False)
    layout, now = Layout(store), time.time()
    assert scrub.due(layout, now + scrub.DUE_S - 60) == []
    assert len(scrub.due(layout, now + scrub.DUE_S + 60)) == 4
    assert scrub.age(layout, now + 86_400).oldest_s == pytest.approx(86_400, abs=60)
    pack, _ = largest(store)
    os.utime(pack, (1, 1))
    assert scrub.due(layout, now) == [pack.stem], "one that somebody has written to comes first"


def test_the_scrub_goes_through_all_of_it_within_its_time(store: Path, source: Path) -> None:
    archive = Archive(store)
    archive.save([("ws", str(source))], "one", {})
    assert scrub.rate(Layout(store)) == scrub.RATE_MIN
    with (store / "packs" / f"{'0' * 64}.pack").open("wb") as file:
        file.truncate(1 << 40)
    needed = (1 << 40) / scrub.rate(Layout(store))
    assert scrub.DUE_S + needed < scrub.AGE_S_MAX


def test_a_scrub_that_is_broken_off_begins_that_pack_anew(archive: Archive, store: Path) -> None:
    class _Ended(Exception):
        pass

    def pause(count: int) -> None:
        raise _Ended

    with pytest.raises(_Ended):
        archive.scrub(1 << 30, pause)
    assert archive.scrub_age().never == 1
    flip_largest(store)
    assert archive.scrub(1 << 30).damaged == 1
