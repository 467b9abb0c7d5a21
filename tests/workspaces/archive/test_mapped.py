"""A file that somebody has mapped changes without a time stamp: it is torn, or read again, and never passed over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from maestro.workspaces import mappings
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.write.snapshot_writer import Torn
from maestro.workspaces.mappings import Mappings

SIZE = 3_000_000
ROOMY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
WRITER = """
import mmap, sys
with open(sys.argv[1], "r+b") as file:
    content = mmap.mmap(file.fileno(), 0)
content[:] = b"\\1" * len(content)
print("mapped", flush=True)
byte = 1
for line in (sys.stdin if sys.argv[2] == "asked" else iter(int, 1)):
    byte = byte % 200 + 1
    content[:] = bytes([byte]) * len(content)
    if line: print(byte, flush=True)
"""


@pytest.fixture(params=["asked of the kernel", "listed"])
def told(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel's answer to one question, or from the text that it gives of each process."""
    if request.param == "listed":
        monkeypatch.setattr(mappings, "_query_mappings", lambda _: None)


@contextmanager
def writer(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has mapped a file and writes to it: all the time, or a pass for each line that it is sent."""
    argv = [sys.executable, "-c", WRITER, str(path), how]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "mapped\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def another_pass(process: subprocess.Popen[str]) -> int:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def tree_in(place: Path, size: int = SIZE) -> Path:
    (place / "ws/inner").mkdir(parents=True)
    (place / "ws/inner/mapped\nfile").write_bytes(bytes(size))
    (place / "ws/other").write_bytes(b"x")
    return place / "ws"


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("size", [300_000, SIZE])
@pytest.mark.parametrize("readers", [1, 1000])
def test_a_mapped_file_is_torn(size: int, readers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "FROM_FILES", readers)
    tree = tree_in(tmp_path, size)
    archive = Archive(tmp_path / "store")
    with writer(tree / "inner/mapped\nfile", "on and on"):
        for number in range(3):
            with pytest.raises(Torn):
                archive.save([("ws", str(tree))], f"n{number}", {})
            saved = archive.save([("ws", str(tree))], f"torn{number}", {}, allow_torn=True)
            assert saved.torn == ["ws/inner/mapped\\nfile"]
    assert archive.save([("ws", str(tree))], "after", {}).torn == []


@pytest.mark.usefixtures("told")
def test_it_is_torn_by_whatever_name_the_writer_opened_it(tmp_path: Path) -> None:
    tree = tree_in(tmp_path)
    os.link(tree / "inner/mapped\nfile", tmp_path / "outside")
    with writer(tmp_path / "outside", "on and on"):
        saved = Archive(tmp_path / "store").save([("ws", str(tree))], "one", {}, allow_torn=True)
    assert saved.torn == ["ws/inner/mapped\\nfile"]


@pytest.mark.usefixtures("told")
def test_who_stands_still_tears_nothing(tmp_path: Path) -> None:
    tree = tree_in(tmp_path)
    archive = Archive(tmp_path / "store")
    with writer(tree / "inner/mapped\nfile", "on and on") as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        assert archive.save([("ws", str(tree))], "one", {}).torn == []
        archive.restore("one", "ws", tmp_path / "back")
        assert (tmp_path / "back/inner/mapped\nfile").read_bytes() == (tree / "inner/mapped\nfile").read_bytes()
        process.send_signal(signal.SIGCONT)


@pytest.mark.usefixtures("told")
def test_what_was_written_without_a_stamp_is_in_the_next_snapshot() -> None:
    """The file system in memory stamps a mapped file once, so that it looks untouched ever after."""
    with tempfile.TemporaryDirectory(dir=ROOMY) as folder:
        place = Path(folder)
        tree = tree_in(place)
        archive = Archive(place / "store")
        with writer(tree / "inner/mapped\nfile", "asked") as process:
            for number in range(3):
                byte = another_pass(process)
                archive.save([("ws", str(tree))], f"n{number}", {}, allow_torn=True)
                archive.restore(f"n{number}", "ws", place / f"back{number}")
                content = (place / f"back{number}/inner/mapped\nfile").read_bytes()
                assert content == bytes([byte]) * SIZE
            assert archive.save([("ws", str(tree))], "again", {}, allow_torn=True).files_read == 1, "but for the others"
            byte = another_pass(process)
        archive.save([("ws", str(tree))], "last", {})
        archive.restore("last", "ws", place / "last")
        assert set((place / "last/inner/mapped\nfile").read_bytes()) == {byte}


@pytest.mark.usefixtures("told")
def test_what_is_mapped_elsewhere_or_privately_is_none_of_it(tmp_path: Path) -> None:
    tree = tree_in(tmp_path)
    (tmp_path / "elsewhere").write_bytes(bytes(SIZE))
    device = tree.stat().st_dev
    with writer(tmp_path / "elsewhere", "on and on"):
        found = Mappings().after(os.fsencode(tree), device)
        assert found.paths == frozenset()
        assert Archive(tmp_path / "store").save([("ws", str(tree))], "one", {}).torn == []
        assert found.has(b"elsewhere", (tmp_path / "elsewhere").stat().st_ino)


@pytest.mark.usefixtures("told")
def test_who_has_a_file_mapped_does_not_write_into_what_is_restored(tmp_path: Path) -> None:
    tree = tree_in(tmp_path)
    path = tree / "inner/mapped\nfile"
    path.write_bytes(b"\1" * SIZE)
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(tree))], "one", {})
    with writer(path, "asked") as process:
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        os.utime(path, ns=(0, archive_mtime(archive, tmp_path)))
        time.sleep(0.2)  # else the file is too young to be trusted
        archive.remember("one", "ws", tree)
        archive.restore("one", "ws", tmp_path / "stage", reuse=str(tree))
        process.send_signal(signal.SIGCONT)
        another_pass(process)
        assert set((tmp_path / "stage/inner/mapped\nfile").read_bytes()) == {1}


def archive_mtime(archive: Archive, place: Path) -> int:
    """The date that a snapshot has of the file."""
    archive.restore("one", "ws", place / "looked at")
    return (place / "looked at/inner/mapped\nfile").stat().st_mtime_ns
