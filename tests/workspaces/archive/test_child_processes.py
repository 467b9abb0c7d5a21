"""Processes beside this one read and write what it would have, keep it once, and are lost whole."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil
import pytest

from maestro.model.errors import Refused, VerificationFailed
from maestro.workspaces.archive.format import index as indexes, manifests
from maestro.workspaces.archive.format.layout import Layout
from maestro.workspaces.archive.library import Archive
from maestro.workspaces.archive.parallel import child_process
from maestro.workspaces.archive.parallel.child_process import ChildProcess
from maestro.workspaces.archive.read.contents import Contents
from maestro.workspaces.archive.write import chunk_writer
from maestro.workspaces.archive.write.folder_reader import FolderReader
from tests.workspaces.archive.trees import told

FILES = 2000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree of more files than one process reads, of which each third has the content of another one."""
    for number in range(FILES):
        folder = tmp_path / "ws" / f"folder-{number % 40}" / "inner"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b"%d line\n" % (number // 3 * 3 if number % 3 == 1 else number) * 90)
    time.sleep(0.1)  # else the files are too young to be trusted
    return tmp_path / "ws"


@pytest.fixture(params=[2, 8])
def many_cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(child_process, "cores", lambda: request.param)
    monkeypatch.setattr(child_process, "FROM_FILES", FILES // 2)
    return request.param  # type: ignore[no-any-return]


PROCESSES = ("write.reader_process", "read.writer_process")


def mine() -> list[psutil.Process]:
    """The processes that this one has started for an archive."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if {f"maestro.workspaces.archive.{name}" for name in PROCESSES} & set(child.cmdline()):
                found.append(child)
    return found


def chunks(root: Path) -> Counter[bytes]:
    """How often each content of a file is kept; listings are kept twice."""
    layout = Layout(root)
    index = indexes.load_from_packs(layout)
    contents = Contents(layout, index)
    listing: set[bytes] = set()
    for snapshot in manifests.listed(layout):
        for tree in manifests.read(layout, snapshot)[0].trees:
            listing.update(contents.entries(tree)[1])
    contents.close()
    found = Counter(digest for pack in index.packs.values() for block in pack for digest, _, _ in block.chunks())
    assert {found.pop(digest) for digest in listing} == {2}
    return found


def test_every_file_comes_back_and_each_content_is_kept_once(source: Path, tmp_path: Path, many_cores: int) -> None:
    archive = Archive(tmp_path / "store")
    seen: list[tuple[int, int, int]] = []
    started: set[int] = set()

    def progress(entries: int, done: int, of: int) -> None:
        seen.append((entries, done, of))
        started.update(child.pid for child in mine())

    saved = archive.save([("ws", str(source))], "one", {}, progress=progress)
    assert len(started) == many_cores // 2
    assert not mine()
    assert saved.files_read == FILES
    assert max(done for _, done, _ in seen) <= max(of for _, _, of in seen) == saved.bytes
    archive.verify("one", saved.manifest)
    archive.restore("one", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert max(chunks(tmp_path / "store").values()) == 1


def test_what_is_kept_already_is_not_kept_again(source: Path, tmp_path: Path, many_cores: int) -> None:
    assert many_cores
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source))], "one", {})
    for path in source.rglob("*"):
        os.utime(path, ns=(1, 1))
    os.truncate(source / "folder-1/inner/1", 5)
    time.sleep(0.1)
    second = archive.save([("ws", str(source))], "two", {})
    assert second.files_read == FILES
    assert max(chunks(tmp_path / "store").values()) == 1
    archive.restore("two", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert archive.save([("ws", str(source))], "three", {}).files_read == 0


def test_several_trees_are_read_one_after_the_other(source: Path, tmp_path: Path, many_cores: int) -> None:
    assert many_cores
    archive = Archive(tmp_path / "store")
    archive.save([("ws/a", str(source)), ("ws/b", str(source / "folder-1")), ("ws/c", str(source))], "one", {})
    for tree, place in (("ws/a", source), ("ws/b", source / "folder-1"), ("ws/c", source)):
        stage = tmp_path / tree.replace("/", "-")
        archive.restore("one", tree, stage)
        assert told(stage) == told(place)
    assert max(chunks(tmp_path / "store").values()) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_reader_that_is_killed_ends_the_snapshot_and_nothing_else(
    source: Path, tmp_path: Path, many_cores: int, how: signal.Signals
) -> None:
    archive = Archive(tmp_path / "store")
    archive.save([("ws", str(source / "folder-1"))], "small", {})
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.wait(0.001):
            if len(found := mine()) == many_cores // 2:
                found[-1].send_signal(how)
                return

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(Refused, match="ended before its time; try again"):
        archive.save([("ws", str(source))], "one", {})
    is_over.set()
    killer.join()
    assert not mine()
    assert [found.snapshot for found in archive.snapshots()] == ["small"]
    archive.save([("ws", str(source))], "one", {})
    archive.verify("one")
    archive.verify("small")
    assert not list((tmp_path / "store/fresh").iterdir())


def test_what_progress_raises_ends_the_readers(source: Path, tmp_path: Path, many_cores: int) -> None:
    assert many_cores
    archive = Archive(tmp_path / "store")

    def progress(entries: int, done: int, of: int) -> None:
        if mine():
            raise InterruptedError

    with pytest.raises(InterruptedError):
        archive.save([("ws", str(source))], "one", {}, progress=progress)
    assert not mine()
    assert not archive.snapshots()
    assert not list((tmp_path / "store/fresh").iterdir())


def test_a_folder_that_becomes_a_link_is_not_followed(source: Path, tmp_path: Path, many_cores: int) -> None:
    """Between the walk and the reader: what lies behind the link is not taken for what was there."""
    assert many_cores
    archive = Archive(tmp_path / "store")
    elsewhere = tmp_path / "elsewhere"
    (source / "folder-1").rename(elsewhere)
    (source / "folder-1").symlink_to(elsewhere)
    with FolderReader(os.fsencode(source)) as reader:
        found = reader.read([(b"folder-1/inner", [b"1"]), (b"", [b"none"])], lambda *_: None)
    assert [(one.entry.path, one.entry.kind, one.ctime) for one in found] == [
        (b"folder-1/inner/1", "", 0),
        (b"none", "", 0),
    ]
    assert archive.save([("ws", str(source))], "one", {}).torn == []


def test_where_no_process_can_be_had_this_one_does_it_all(
    source: Path, tmp_path: Path, many_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    class NoMore(ChildProcess):
        def __init__(self, module: str, *args: object) -> None:
            tried.append(module)
            if len(tried) > many_cores // 4:
                raise BlockingIOError(11, "Resource temporarily unavailable")
            super().__init__(module, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(child_process, "ChildProcess", NoMore)
    archive = Archive(tmp_path / "store")
    assert archive.save([("ws", str(source))], "one", {}).files_read == FILES
    tried.clear()
    archive.restore("one", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert len(tried) == many_cores // 4 + 1
    assert not mine()


class Watched(ChildProcess):
    """Counts what is sent, and ends the process before the message that `dies_at` names."""

    sent = 0
    dies_at = 0

    def send(self, message: msgspec.Struct) -> bool:
        Watched.sent += 1
        if Watched.sent == Watched.dies_at:
            self._process.kill()
            self._process.wait()
        return super().send(message)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(child_process, "ChildProcess", Watched)
    monkeypatch.setattr(Watched, "sent", 0)
    monkeypatch.setattr(Watched, "dies_at", 0)
    return Watched


def saved(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    """An archive that this process has filled alone."""
    archive = Archive(tmp_path / "store")
    with monkeypatch.context() as alone:
        alone.setattr(child_process, "cores", lambda: 1)
        archive.save([("ws", str(source))], "one", {})
    return archive


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small blocks, so that there are enough of them to share."""
    monkeypatch.setattr(chunk_writer, "_GROUP_BYTES", 8 << 10)


@pytest.mark.usefixtures("blocks")
def test_a_tree_is_written_by_several_processes(
    source: Path, tmp_path: Path, many_cores: int, watched: type[Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert many_cores
    archive = saved(source, tmp_path, monkeypatch)
    archive.restore("one", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)
    assert watched.sent >= 2
    assert not mine()


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("at", [1, 2])
def test_a_writer_that_is_killed_ends_the_restore_and_leaves_no_stage(
    source: Path, tmp_path: Path, many_cores: int, watched: type[Watched], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    assert many_cores
    archive = saved(source, tmp_path, monkeypatch)
    watched.dies_at = at
    with pytest.raises(Refused, match="ended before its time; try again"):
        archive.restore("one", "ws", tmp_path / "stage")
    assert not (tmp_path / "stage").exists()
    assert not mine()
    archive.restore("one", "ws", tmp_path / "stage")
    assert told(tmp_path / "stage") == told(source)


@pytest.mark.usefixtures("blocks", "watched")
def test_what_is_damaged_is_named_whoever_meets_it(
    source: Path, tmp_path: Path, many_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert many_cores
    archive = saved(source, tmp_path, monkeypatch)
    (pack,) = (tmp_path / "store/packs").iterdir()
    whole = pack.read_bytes()
    blocks = indexes.load_from_packs(Layout(tmp_path / "store")).packs[pack.stem]
    pack.chmod(0o600)
    for block in (blocks[0], blocks[3], blocks[len(blocks) // 4]):
        pack.write_bytes(whole[: block.offset + 3] + b"damage" + whole[block.offset + 9 :])
        with pytest.raises(VerificationFailed, match=r"ws/folder.*pack .* is damaged at byte"):
            archive.restore("one", "ws", tmp_path / "stage")
        assert not (tmp_path / "stage").exists()
        assert not mine()
        for entry in (tmp_path / "store/quarantine").iterdir():
            entry.unlink()
