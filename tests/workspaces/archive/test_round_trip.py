"""What is saved comes back: every name, byte and property, from the first snapshot and from every later one."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from maestro.model.errors import Conflict, Invalid, NotFound, Refused
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.write.snapshot_writer import Saved, Torn
from tests.workspaces.archive import trees
from tests.workspaces.archive.trees import told

pytestmark = pytest.mark.usefixtures("reading")


@pytest.fixture(params=["here", "beside"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are read by this process, or by readers, however few they are."""
    if request.param == "beside":
        monkeypatch.setattr(child_process, "FROM_FILES", 1)
        monkeypatch.setattr(child_process, "cores", lambda: 4)


def archive_of(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "store")


def test_everything_about_a_tree_survives(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = archive_of(tmp_path)
    saved = archive.save([("ws", str(source))], "one", {"position": 7})
    archive.verify("one", saved.manifest)
    archive.restore("one", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert archive.read("one").content.meta == {"position": 7}  # type: ignore[union-attr]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees.TREES, later=trees.TREES)
def test_any_tree_survives_twice(tree: object, later: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        trees.build(os.fsencode(place / "ws"), tree, [])
        archive = Archive(place / "store")
        archive.save([("ws", str(place / "ws"))], "one", {})
        first = told(place / "ws")
        trees.build(os.fsencode(place / "ws/..later"), later, [])
        archive.save([("ws", str(place / "ws"))], "two", {})
        for snapshot, expected in (("one", first), ("two", told(place / "ws"))):
            archive.verify(snapshot)
            archive.restore(snapshot, "ws", place / snapshot)
            assert told(place / snapshot) == expected
        archive.restore("two", "ws", place / "again", reuse=str(place / "ws"))
        assert told(place / "again") == told(place / "two")


def test_an_untouched_tree_is_not_read_again_and_adds_next_to_nothing(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    time.sleep(0.1)  # else the files are too young to be trusted
    archive = archive_of(tmp_path)
    first = archive.save([("ws", str(source))], "one", {})
    second = archive.save([("ws", str(source))], "two", {})
    assert first.files_read > 20
    assert second.files_read == 0
    assert second.added_bytes < 1000
    archive.restore("two", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)


def test_a_change_is_noticed_though_size_and_mtime_were_put_back(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    time.sleep(0.1)
    archive = archive_of(tmp_path)
    archive.save([("ws", str(source))], "one", {})
    before = (source / "run.sh").stat()
    (source / "run.sh").write_text("#!/bin/zz\n")
    os.utime(source / "run.sh", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert archive.save([("ws", str(source))], "two", {}).files_read == 1
    archive.restore("two", "ws", tmp_path / "stage")
    assert (tmp_path / "stage/run.sh").read_text() == "#!/bin/zz\n"


def test_what_is_there_twice_is_kept_once(tmp_path: Path) -> None:
    source = tmp_path / "ws"
    source.mkdir()
    content = os.urandom(6 << 20)
    (source / "large").write_bytes(content)
    archive = archive_of(tmp_path)
    first = archive.save([("ws", str(source))], "one", {})
    (source / "copy").write_bytes(content)
    (source / "longer").write_bytes(b"put before it" + content)
    second = archive.save([("ws", str(source)), ("other", str(source))], "two", {})
    assert first.added_bytes > 6 << 20
    assert second.added_bytes < 3 << 20  # an insertion moves no cut but the first
    archive.restore("two", "other", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)


def test_a_snapshot_stays_what_it_was_when_the_caches_are_gone_or_damaged(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = archive_of(tmp_path)
    archive.save([("ws", str(source))], "one", {})
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-3] + b"xyz")):
        for path in (tmp_path / "store/caches").iterdir():
            damage(path)
        archive.verify("one")
        archive.restore("one", "ws", tmp_path / "stage")
        assert told(tmp_path / "stage") == told(source)
        shutil.rmtree(tmp_path / "stage")
        again = archive.save([("ws", str(source))], f"after-{time.time_ns()}", {})
        assert again.added_bytes < 1000


def test_a_tree_deeper_than_the_longest_path_survives(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir()
    top = os.open(tmp_path / "ws", os.O_RDONLY)
    at, levels = top, 120
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=at)
        for name in ("left", "right"):
            os.mkdir(name, dir_fd=at)
            os.close(os.open(f"{name}/file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        deeper = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    os.close(at)
    archive = archive_of(tmp_path)
    saved = archive.save([("ws", str(tmp_path / "ws"))], "deep", {})
    assert saved.entries == 1 + levels * 5
    archive.verify("deep")
    archive.restore("deep", "ws", tmp_path / "stage")
    assert archive.save([("ws", str(tmp_path / "stage"))], "again", {}).entries == saved.entries


def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    source = tmp_path / "ws"
    source.mkdir()
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "sock"))
        saved = archive_of(tmp_path).save([("agents/a", str(source))], "one", {})
    assert saved.left_out == ["agents/a/pipe", "agents/a/sock"] or saved.left_out == ["agents/a/sock", "agents/a/pipe"]


def test_impossible_requests_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    source = trees.fill(tmp_path / "ws")
    archive = archive_of(tmp_path)
    with pytest.raises(Invalid):
        archive.save([("../x", str(source))], "one", {})
    with pytest.raises(Invalid):
        archive.save([("ws", str(source))], "../one", {})
    with pytest.raises(Refused):
        archive.save([("ws", str(tmp_path / "absent"))], "one", {})
    with pytest.raises(NotFound):
        archive.verify("one")
    archive.save([("ws", str(source))], "one", {})
    with pytest.raises(Conflict):
        archive.save([("ws", str(source))], "one", {})
    (tmp_path / "stage").mkdir()
    with pytest.raises(Refused):
        archive.restore("one", "ws", tmp_path / "stage")
    assert [one.snapshot for one in archive.snapshots()] == ["one"]
    assert not list((tmp_path / "store/fresh").iterdir())


def rewrite(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) * (8 << 20))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4 << 20)
        file.truncate(8 << 20)


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").rename(path)


def replace_by_link(path: Path) -> None:
    fresh = path.with_name("fresh")
    fresh.symlink_to("/etc/passwd")
    fresh.rename(path)
    path.with_name("other").write_bytes(bytes(8 << 20))
    path.with_name("other").rename(path)


@pytest.mark.parametrize("change", [rewrite, append, cut, rename, replace_by_link])
def test_a_file_that_never_holds_still_is_torn_or_whole(change: object, tmp_path: Path) -> None:
    assert callable(change)
    source = tmp_path / "ws"
    source.mkdir()
    (source / "busy").write_bytes(bytes(8 << 20))
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            change(source / "busy")

    writer = threading.Thread(target=work)
    writer.start()
    archive = archive_of(tmp_path)
    try:
        with pytest.raises(Torn) as caught:
            for number in range(200):
                archive.save([("ws", str(source))], f"try-{number}", {})
        saved = archive.save([("ws", str(source))], "torn", {}, allow_torn=True)
    finally:
        stop.set()
        writer.join()
    assert any(name.startswith("ws") for name in caught.value.files)
    for snapshot in archive.snapshots():
        archive.verify(snapshot.snapshot)
    assert saved.snapshot == "torn"


def test_whole_files_are_never_mixed(tmp_path: Path) -> None:
    """A file of one byte repeated, rewritten all the time: what was not reported is of one byte."""
    source = tmp_path / "ws"
    source.mkdir()
    for number in range(8):
        (source / str(number)).write_bytes(bytes(300_000))
    stop = threading.Event()

    def work() -> None:
        byte = 0
        while not stop.is_set():
            byte = (byte + 1) % 256
            for number in range(8):
                (source / str(number)).write_bytes(bytes([byte]) * 300_000)
                time.sleep(0.01)

    writer = threading.Thread(target=work)
    writer.start()
    archive = archive_of(tmp_path)
    try:
        reports = [archive.save([("ws", str(source))], f"n{number}", {}, allow_torn=True) for number in range(8)]
    finally:
        stop.set()
        writer.join()
    for saved in reports:
        archive.restore(saved.snapshot, "ws", tmp_path / saved.snapshot)
        for path in (tmp_path / saved.snapshot).iterdir():
            if f"ws/{path.name}" not in saved.torn:
                assert len(set(path.read_bytes())) <= 1


def test_a_file_that_is_written_in_pieces_is_torn_or_as_it_was_at_one_moment(tmp_path: Path) -> None:
    """Its times stand still within a tick of the kernel, though it changes many times in it."""
    source = tmp_path / "ws"
    source.mkdir()
    script = (
        "import os,sys\nfile, number = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), 0\n"
        "while True:\n    number += 1\n"
        "    for at in range(0, 300_000, 4096): os.pwrite(file, bytes([number % 256]) * 4096, at)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", script, str(source / "busy")])
    try:
        while not (source / "busy").exists() or (source / "busy").stat().st_size < 300_000:
            time.sleep(0.01)
        archive = archive_of(tmp_path)
        reports: list[Saved] = []
        # Until one met the writer at work: on a busy machine it may stand still for long.
        while len(reports) < 25 or (len(reports) < 1000 and not any(saved.torn for saved in reports)):
            reports.append(archive.save([("ws", str(source))], f"n{len(reports)}", {}, allow_torn=True))
    finally:
        writer.kill()
        writer.wait()
    assert any("ws/busy" in saved.torn for saved in reports)
    for saved in reports:
        archive.restore(saved.snapshot, "ws", tmp_path / saved.snapshot)
        content = (tmp_path / saved.snapshot / "busy").read_bytes()
        if "ws/busy" not in saved.torn:
            assert sum(before != after for before, after in pairwise(content)) <= 1, "of two passes at the most"


def test_a_large_file_changed_in_place_or_cut_or_grown_comes_back_and_adds_what_changed(tmp_path: Path) -> None:
    tree, archive = tmp_path / "tree", Archive(tmp_path / "archive")
    tree.mkdir()
    large = tree / "large"
    content = bytearray(random.Random(5).randbytes(20 << 20))
    large.write_bytes(content)
    archive.save([("a", str(tree))], "one", {})
    changes: list[Callable[[bytearray], bytearray]] = [
        lambda before: before[: 9 << 20] + b"changed" + before[(9 << 20) + 7 :],
        lambda before: before[: 9 << 20] + b"put between" + before[9 << 20 :],
        lambda before: before[: 13 << 20],
        lambda before: before + b"more" * 1000,
    ]
    for number, change in enumerate(changes):
        content = change(content)
        large.write_bytes(content)
        saved = archive.save([("a", str(tree))], f"after-{number}", {})
        assert saved.added_bytes < 6 << 20
        archive.restore(f"after-{number}", "a", tmp_path / f"back-{number}")
        assert (tmp_path / f"back-{number}/large").read_bytes() == content
