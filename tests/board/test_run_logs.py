"""Any part of a run's log is what the run has printed at that place, whatever becomes of the log meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from maestro import config
from maestro.board.runs import log_text
from maestro.board.runs.log_text import LogText, Part
from maestro.board.runs.output import Output
from maestro.board.runs.tool_calls import tool_calls
from maestro.model.errors import Refused
from maestro.model.task import Run
from maestro.runtime.supervision.capped_log import CappedLog

SAMPLES = Path(__file__).parents[1] / "agents" / "samples"
WORDS = ("plain", "äöü", "日本", "😀", "\n", "x" * 30)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "agent.log")


def whole(log: LogText, ended: bool, limit: int = 50) -> list[Part]:
    """All parts of a log."""
    found: list[Part] = []
    begin = 0
    while (part := log.part(begin, limit, ended)).next > begin:
        found.append(part)
        begin = part.next
    return found


@pytest.mark.parametrize("seed", range(4))
def test_parts_are_what_was_printed_there(path: str, seed: int) -> None:
    """While it is written, when its middle has gone, and when all is one file: the same places, whole characters."""
    random, log = Random(seed), CappedLog(path, 2000)
    printed, text = b"", LogText(path)
    for _ in range(200):
        piece = "".join(random.choices(WORDS, k=random.randrange(1, 9))).encode()
        log.write(piece)
        printed += piece
        if random.random() < 0.1:
            check(text, printed, random.randrange(16, 90), False)
    before = whole(text, True)
    log.close()
    assert not [name for name in os.listdir(Path(path).parent) if name != "agent.log"]
    check(text, printed, 64, True)
    assert whole(text, True) == before
    tail = text.part(-100, 4096, True)
    assert tail.next == tail.size == len(printed) and printed[tail.offset :].decode() == tail.text
    begins = printed[-101:-1].rfind(b"\n", 1) < 0 or printed[tail.offset - 1 : tail.offset] == b"\n"
    assert begins


def check(text: LogText, printed: bytes, limit: int, ended: bool) -> None:
    for part in whole(text, ended, limit):
        if "[maestro: " not in part.text:
            assert printed[part.offset : part.next].decode("utf-8", "replace") == part.text


def test_somebody_who_follows_misses_nothing_when_the_pieces_become_one_file(path: str) -> None:
    log, text = CappedLog(path, 400), LogText(path)
    heard, at = "", 0
    for number in range(60):
        log.write(f"line {number}\n".encode())
        part = text.part(at, 4096, False)
        heard, at = heard + part.text, part.next
    log.write("the last ä".encode())
    log.close()
    heard += text.part(at, 4096, True).text
    assert heard == "".join(f"line {number}\n" for number in range(60)) + "the last ä"


def test_a_character_that_is_not_all_there_waits_for_its_rest(path: str) -> None:
    Path(path).write_bytes("ab€".encode()[:-1])
    assert LogText(path).part(0, 100, False).next == 2
    assert LogText(path).part(0, 100, True).text == "ab\ufffd"
    Path(path).write_bytes("€uro".encode())
    assert LogText(path).part(-5, 100, True).text == "uro"


def test_what_is_no_log_is_not_read(path: str, tmp_path: Path) -> None:
    assert LogText(path).part(0, 100, True).size == 0 and not LogText(path).is_there
    os.mkfifo(path)
    with pytest.raises(OSError, match="pipe"):
        LogText(path).part(0, 100, True)
    Path(path).unlink()
    (tmp_path / "secret").write_text("secret")
    Path(path).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="link"):
        LogText(path).part(0, 100, True)
    assert LogText(path).bytes_at(0) == b""


def test_a_mark_that_the_agent_has_printed_moves_nothing(path: str) -> None:
    said = (
        b"a\n[maestro: 5 bytes are left out here, above the cap of a log; its first 9 and its last 2 bytes are kept]\nb"
    )
    Path(path).write_bytes(said)
    part = LogText(path).part(0, 1000, True)
    assert (part.next, part.size, part.text) == (len(said), len(said), said.decode())


def test_what_is_searched_is_found_once_with_its_line(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_text, "CHUNK_BYTES", 64)
    monkeypatch.setattr(log_text, "FOUND_MAX", 7)
    monkeypatch.setattr(log_text, "SEARCHED_BYTES_MAX", 900)
    lines = [f"{number} Needle needle" if number % 3 == 0 else "hay" * (number % 40) for number in range(100)]
    Path(path).write_text("\n".join(lines))
    data, found, begin, asked = "\n".join(lines), [], 0, 0
    while begin is not None:
        matches, begin = LogText(path).found("nEEDLE", begin)
        found += matches
        asked += 1
    assert [(one.line, one.text) for one in found] == [
        (number + 1, line) for number, line in enumerate(lines) if "Needle" in line
    ]
    assert all(data[one.offset :].startswith("Needle") for one in found) and asked > 5
    monkeypatch.undo()
    Path(path).write_bytes(b"y" * 5000 + b"needle" + b"z" * 5000 + b"\nneedle")
    (far, near), _ = LogText(path).found("needle", 0)
    assert far.text == f"…{'y' * 200}needle{'z' * 200}…" and (near.line, near.text) == (2, "needle")
    assert LogText(path).found("(", 0) == ([], None)


def test_a_log_of_another_node_is_asked_of_the_daemon_which_is_not_started(tmp_path: Path) -> None:
    """Without a daemon the answer says how to get it; nothing here is taken for the log of that run."""
    settings = config.load({"MAESTRO_HOME": str(tmp_path), "HOME": str(tmp_path), "PATH": "/bin"}, tmp_path)
    Path(tmp_path, "agent.log").write_text("of somebody else")
    run = Run("t-0.1", 1, "ann", "there", 1, 2, "ended", folder=str(tmp_path))
    output = Output(cast(Any, SimpleNamespace(settings=settings, node="here")), run)
    assert output.row() == {
        **{"bytes": 0, "here": False, "why": "the log of run t-0.1 lies on node there"},
        **{"node": "there", "ended": True},
    }
    assert output.tools() == []
    with pytest.raises(Refused, match="lies on node there") as searched:
        output.check_there()
    with pytest.raises(Refused, match="lies on node there") as asked:
        output.end_there()
    assert "maestro task logs t" in searched.value.mend and "maestro up" in asked.value.mend
    assert not (tmp_path / "daemon.sock").exists()


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "kilo", "opencode", "qwen"])
def test_calls_of_tools_are_read_as_programs_tell_them(agent: str) -> None:
    write, look = tool_calls((SAMPLES / agent / "success.ndjson").read_bytes().splitlines())
    assert "hello.txt" in write.input and "cat hello.txt" in look.input
    assert write.status in ("completed", "success") and write.name and look.name


def test_calls_of_tools_in_rubbish_are_none() -> None:
    deep = b'{"type":"tool_use","a":' * 2000 + b"1" + b"}" * 2000
    lines = [
        deep,
        b'{"type":"tool_use"}',
        b'{"type":["tool_use"]}',
        b"{tool",
        b'[{"type":"tool_result"}]',
        b"\xff tool",
    ]
    assert tool_calls(lines) == []
