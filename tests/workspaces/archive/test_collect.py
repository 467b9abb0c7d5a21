"""Collection gives back what nobody needs, keeps what somebody does, and asks for little room itself."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from maestro.model.errors import NotFound, Refused, VerificationFailed
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.write.snapshot_writer import Torn
from tests.workspaces.archive import trees
from tests.workspaces.archive.trees import told


def used(store: Path) -> int:
    return sum(path.stat().st_size for path in (store / "packs").iterdir())


def test_what_only_a_dropped_snapshot_had_is_given_back(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "first", {})
    base = used(tmp_path / "store")
    (source / "new").write_bytes(os.urandom(3 << 20))
    (source / "small").write_bytes(os.urandom(1000))
    archive.save([("ws", str(source))], "second", {})
    done = archive.collect(["first"])
    assert done.snapshots == ["second"]
    assert done.freed_bytes > 3 << 20
    assert used(tmp_path / "store") < base + 100_000
    archive.verify("first")
    (source / "new").unlink()
    (source / "small").unlink()
    again = archive.save([("ws", str(source))], "third", {})
    assert again.added_bytes < 10_000
    archive.restore("third", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)


def test_a_pack_of_which_most_is_waste_is_written_anew(tmp_path: Path) -> None:
    source = tmp_path / "ws"
    source.mkdir()
    for number in range(300):
        (source / f"kept-{number}").write_bytes(os.urandom(2000))
        (source / f"gone-{number}").write_bytes(os.urandom(20_000))
    (source / "large").write_bytes(os.urandom(9 << 20))
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "first", {})
    for path in source.glob("gone-*"):
        path.unlink()
    (source / "large").unlink()
    archive.save([("ws", str(source))], "second", {})
    done = archive.collect(["second"])
    assert done.moved_bytes < 1 << 20
    assert used(tmp_path / "store") < 1 << 20
    archive.verify("second")
    archive.restore("second", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert archive.collect(["second"]).freed_bytes == 0
    assert archive.collect([]).snapshots == ["second"]
    assert used(tmp_path / "store") == 0


def test_many_small_packs_become_few(tmp_path: Path) -> None:
    source = tmp_path / "ws"
    source.mkdir()
    archive = Archive(tmp_path / "store")
    for number in range(20):
        (source / str(number)).write_bytes(os.urandom(500))
        archive.save([("ws", str(source))], f"s{number}", {})
    assert len(list((tmp_path / "store/packs").iterdir())) == 20
    archive.collect([f"s{number}" for number in range(20)])
    assert len(list((tmp_path / "store/packs").iterdir())) == 1
    for number in range(20):
        archive.verify(f"s{number}")


def test_nothing_goes_when_a_snapshot_to_keep_is_missing_or_damaged(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "one", {})
    archive.save([("ws", str(source))], "two", {})
    with pytest.raises(NotFound):
        archive.collect(["one", "three"])
    manifest = tmp_path / "store/manifests/one"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    with pytest.raises(VerificationFailed, match="one"):
        archive.collect(["one"])
    assert [found.snapshot for found in archive.snapshots()] == ["one", "two"]
    assert [bool(found.damage) for found in archive.snapshots()] == [True, False]
    archive.verify("two")
    assert archive.collect(["two"]).snapshots == ["one"]
    archive.verify("two")


def test_a_collection_is_refused_while_a_snapshot_is_taken(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "one", {})
    began, go_on = threading.Event(), threading.Event()

    def progress(entries: int, read: int, wanted: int) -> None:
        began.set()
        go_on.wait(30)

    (source / "more").write_bytes(b"x")
    failures: list[BaseException] = []

    def save() -> None:
        try:
            archive.save([("ws", str(source))], "two", {}, progress=progress)
        except Torn as error:
            failures.append(error)

    saver = threading.Thread(target=save)
    saver.start()
    assert began.wait(30)
    with pytest.raises(Refused):
        Archive(tmp_path / "store").collect([])
    go_on.set()
    saver.join()
    assert not failures
    archive.verify("two")


def test_what_a_restore_would_change_is_told(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "one", {})
    clean = archive.diff("one", "ws", source)
    assert (clean.added, clean.changed, clean.deleted) == ([], [], [])
    (source / "empty.file").unlink()
    (source / "run.sh").write_text("changed")
    (source / "extra").write_bytes(b"12345")
    found = archive.diff("one", "ws", source)
    assert [change.path for change in found.added] == ["empty.file"]
    assert [change.path for change in found.changed] == ["run.sh"]
    assert [(change.path, change.bytes) for change in found.deleted] == [("extra", 5)]
    assert found.unchanged == clean.unchanged - 2
    assert archive.diff("one", "ws", tmp_path / "absent").unchanged == 0
