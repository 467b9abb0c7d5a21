"""A log with a cap keeps its beginning and its end, for any way in which it is written, killed, removed and read."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from maestro.runtime.supervision import capped_log
from maestro.runtime.supervision.capped_log import CappedLog, CappedLogReader, settle

CAP = 40
MARKED = re.compile(rb"\n\[maestro: (\d+) bytes are left out here[^\n]*\]\n")
PARTS = st.lists(st.integers(1, 30), max_size=12)


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="mlog"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def output(parts: list[int]) -> list[bytes]:
    """Chunks of these sizes, in which every byte says where it is."""
    whole = bytes(33 + at % 90 for at in range(sum(parts)))
    chunks, at = [], 0
    for size in parts:
        chunks.append(whole[at : at + size])
        at += size
    return chunks


def check(got: bytes, whole: bytes) -> None:
    """It is all of it, or a beginning and an end with what is between them counted."""
    if len(whole) <= CAP:
        assert got == whole
        return
    match = MARKED.search(got)
    assert match is not None
    head, tail = got[: match.start()], got[match.end() :]
    assert whole.startswith(head) and whole.endswith(tail)
    assert len(head) == CAP // 2 and CAP // 4 <= len(tail) <= CAP // 2
    assert int(match[1]) == len(whole) - len(head) - len(tail)


def rest(reader: CappedLogReader, size: int = 7) -> bytes:
    got = b""
    while chunk := reader.read(size):
        got += chunk
    return got


@given(PARTS)
def test_the_beginning_and_the_end_are_kept_in_one_file(parts: list[int]) -> None:
    with folder() as at:
        path, chunks = at / "agent.log", output(parts)
        log = CappedLog(str(path), CAP)
        for chunk in chunks:
            log.write(chunk)
            assert sum(file.stat().st_size for file in at.iterdir()) <= CAP
        log.close()
        assert [file.name for file in at.iterdir()] == ["agent.log"]
        assert path.stat().st_mode & 0o777 == 0o600
        check(path.read_bytes(), b"".join(chunks))
        assert log.truncated == (sum(parts) > CAP) and log.error is None
        check(rest(CappedLogReader(str(path))), b"".join(chunks))


@given(PARTS, PARTS)
def test_a_second_program_goes_on_with_the_log_of_the_first(first: list[int], second: list[int]) -> None:
    with folder() as at:
        path, before = str(at / "agent.log"), b""
        for chunks in (output(first), output(second)):
            log = CappedLog(path, CAP)
            for chunk in chunks:
                log.write(chunk)
            check(rest(CappedLogReader(path))[len(before) :], b"".join(chunks))
            log.close()
            whole = Path(path).read_bytes()
            assert whole.startswith(before)
            check(whole[len(before) :], b"".join(chunks))
            before = whole


@given(PARTS, st.integers(1, 50))
def test_what_a_killed_warden_has_written_is_there_and_becomes_one_file(parts: list[int], size: int) -> None:
    with folder() as at:
        path, chunks = str(at / "agent.log"), output(parts)
        log = CappedLog(path, CAP)
        for chunk in chunks:
            log.write(chunk)
        check(rest(CappedLogReader(path), size), b"".join(chunks))
        for _ in range(2):
            settle(path)
            check(Path(path).read_bytes(), b"".join(chunks))
        assert len(list(at.iterdir())) == 1


@given(PARTS, st.data())
def test_whoever_follows_gets_every_byte_in_order_or_is_told_how_many_were_left_out(
    parts: list[int], data: st.DataObject
) -> None:
    with folder() as at:
        path, chunks = str(at / "agent.log"), output(parts)
        log, reader = CappedLog(path, CAP), CappedLogReader(path)
        got = b""
        for chunk in chunks:
            log.write(chunk)
            if data.draw(st.booleans()):
                got += rest(reader)
        log.close()
        got += rest(reader)
        whole, begin = b"".join(chunks), 0
        for index, piece in enumerate(MARKED.split(got)):
            if index % 2:
                begin += int(piece)
            else:
                assert whole[begin : begin + len(piece)] == piece
                begin += len(piece)
        assert begin == len(whole)


@given(PARTS, st.sampled_from(["copied", "renamed", "one removed"]))
def test_a_crash_while_it_becomes_one_file_changes_nothing(parts: list[int], instant: str) -> None:
    with folder() as at:
        path, chunks = str(at / "agent.log"), output(parts)
        log = CappedLog(path, CAP)
        for chunk in chunks:
            log.write(chunk)
        before = {file.name: file.read_bytes() for file in at.iterdir()}
        settle(path)
        after = Path(path).read_bytes()
        left = {name: content for name, content in sorted(before.items()) if name != "agent.log"}
        if instant == "copied":
            (at / "agent.log.whole").write_bytes(after[:-3])
            Path(path).write_bytes(before["agent.log"])
        elif instant == "one removed" and left:
            left.popitem()
        for name, content in left.items():
            (at / name).write_bytes(content)
        check(rest(CappedLogReader(path)), b"".join(chunks))
        settle(path)
        assert Path(path).read_bytes() == after
        if left:
            assert [file.name for file in at.iterdir()] == ["agent.log"]


@given(PARTS, st.data())
def test_a_log_that_is_removed_with_its_folder_is_there_again(parts: list[int], data: st.DataObject) -> None:
    with folder() as at:
        path, chunks = at / "attempts" / "1" / "agent.log", output(parts)
        path.parent.mkdir(parents=True)
        log = CappedLog(str(path), 10_000)
        for chunk in chunks:
            log.write(chunk)
            if data.draw(st.booleans()):
                shutil.rmtree(at / "attempts", ignore_errors=True)
                if data.draw(st.booleans()):
                    log.mend()
                    assert path.parent.stat().st_mode & 0o777 == 0o700
        log.close()
        assert path.read_bytes() == b"".join(chunks)


@given(st.lists(st.sampled_from(["a", "bc", "\n", "d\n", "\n\n"]), max_size=30), st.integers(0, 6), st.booleans())
def test_the_last_lines_are_found_wherever_they_are(parts: list[str], lines: int, closed: bool) -> None:
    with folder() as at:
        path = str(at / "agent.log")
        log = CappedLog(path, CAP)
        for part in parts:
            log.write(part.encode())
        if closed:
            log.close()
        reader = CappedLogReader(path)
        expected = b"".join(rest(CappedLogReader(path)).splitlines(keepends=True)[-lines:] if lines else [])
        reader.to_last(lines)
        if b"left out" not in expected:
            assert rest(reader) == expected


def test_a_full_disk_costs_the_log_and_not_the_run_and_says_why() -> None:
    log = CappedLog("/dev/full", 10)
    log.write(b"x")
    log.write(b"y")
    log.close()
    assert log.truncated and log.error == "No space left on device"


def test_where_the_disk_has_no_room_for_one_file_the_pieces_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "agent.log")
    log = CappedLog(path, CAP)
    log.write(bytes(100))

    def full(target: int, text: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(capped_log, "_write", full)
    log.close()
    monkeypatch.undo()
    assert not (tmp_path / "agent.log.whole").exists()
    assert len(list(tmp_path.iterdir())) == 3
    check(rest(CappedLogReader(path)), bytes(100))
