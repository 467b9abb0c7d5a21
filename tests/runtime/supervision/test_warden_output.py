"""What becomes of an agent's output, for any way in which it is cut into chunks; and when a run must end."""

from __future__ import annotations

import base64
import json
import re
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from maestro.runtime.supervision.deadlines import Deadlines
from maestro.runtime.supervision.output import Copy, Ends, Redactor, Tail, Tracer

SECRET = "abab-c"


def chunks(text: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.sampled_from([SECRET, "a", "b", "ab", "-", "c", "\n", "[redacted]", "é"])), st.lists(st.integers(0)))
def test_redaction_does_not_depend_on_where_the_chunks_end(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts).encode()
    redactor = Redactor([SECRET])
    got = b"".join(redactor.feed(chunk) for chunk in chunks(text, cuts)) + redactor.flush()
    assert SECRET.encode() not in got
    assert got == text.replace(SECRET.encode(), b"[redacted]")


@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(0)), st.booleans())
def test_a_secret_inside_base64_is_found_at_every_alignment(
    before: bytes, after: bytes, cuts: list[int], url: bool
) -> None:
    secret = "hunter2/hunter3?>"
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    text = encode(before + secret.encode() + after)
    redactor = Redactor([secret, ""])
    got = b"".join(redactor.feed(chunk) for chunk in chunks(text, cuts)) + redactor.flush()
    assert got.count(b"[redacted]") == 1
    longest = max(len(found) for found in re.split(rb"\[redacted\]", got))
    assert longest <= len(encode(before + after)) + 8


@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_secret_inside_json_is_found_however_that_is_written(is_ascii: bool) -> None:
    secret = 'pä"ss\\wörd'
    redactor = Redactor([secret])
    text = json.dumps({"a": secret}, ensure_ascii=is_ascii).encode()
    assert redactor.feed(text) + redactor.flush() == b'{"a": "[redacted]"}'


ALIKE = ["abc", "abcdef", "cab", "bcdefg-long"]


@given(st.lists(st.sampled_from([*ALIKE, "a", "ab", "c", "def", "-"])), st.lists(st.integers(0)))
def test_of_secrets_that_begin_alike_or_overlap_none_is_left_whole(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts).encode()
    redactor, whole = Redactor(ALIKE), Redactor(ALIKE)
    got = b"".join(redactor.feed(chunk) for chunk in chunks(text, cuts)) + redactor.flush()
    assert got == whole.feed(text) + whole.flush()
    assert not any(secret.encode() in got for secret in ALIKE)


def test_a_secret_of_several_lines_is_found_inside_json_too() -> None:
    secret = 'BEGIN "KEY"\nline/é\n'
    redactor = Redactor([secret])
    assert redactor.feed(json.dumps({"x": secret}).encode()) + redactor.flush() == b'{"x": "[redacted]"}'


def test_a_secret_of_many_kilobytes_holds_nothing_up() -> None:
    redactor = Redactor(["x" * 8_000 + "y"])
    start = time.monotonic()
    got = sum(len(redactor.feed(b"x" * 65536)) for _ in range(50)) + len(redactor.flush())
    assert got == 50 * 65536 and time.monotonic() - start < 10


@given(st.text("ab\n", max_size=60), st.lists(st.integers(0)))
def test_tracing_prefixes_every_line_once(text: str, cuts: list[int]) -> None:
    tracer = Tracer("step\n1")
    got = b"".join(tracer.feed(chunk) for chunk in chunks(text.encode(), cuts)).decode()
    prefix = re.compile(r"^TRACE: \[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] step 1: ", re.MULTILINE)
    assert prefix.sub("", got) == text
    assert len(prefix.findall(got)) == len(text.splitlines())


@given(st.lists(st.binary(max_size=20)), st.integers(1, 15))
def test_a_tail_is_the_end_of_all(parts: list[bytes], size: int) -> None:
    tail = Tail(size)
    for part in parts:
        tail.feed(part)
    assert tail.value() == b"".join(parts)[-size:]


@given(st.lists(st.binary(max_size=20)), st.integers(1, 15))
def test_both_ends_are_kept_and_what_is_left_out_between_is_counted(parts: list[bytes], size: int) -> None:
    ends = Ends(size)
    for part in parts:
        ends.feed(part)
    whole = b"".join(parts)
    left_out = len(whole) - 2 * size
    gap = b"\n[maestro: %d bytes left out]\n" % left_out
    assert ends.value() == (whole if left_out <= 0 else whole[:size] + gap + whole[-size:])


def test_a_copy_ends_at_its_limit_and_is_not_made_for_nothing(tmp_path: Path) -> None:
    copy, none, full = (Copy(str(path), 10) for path in (tmp_path / "copy", tmp_path / "none", Path("/dev/full")))
    for part in (b"", b"1234567", b"89012", b"x"):
        copy.feed(part)
        full.feed(part)
    for each in (copy, none, full):
        each.close()
    assert (tmp_path / "copy").read_bytes() == b"1234567890"
    assert not (tmp_path / "none").exists()


def test_times_that_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"now": 100.0}
    monkeypatch.setattr("time.monotonic", lambda: clock["now"])
    timing = Deadlines()
    timing.start(timeout_s=10)
    assert (timing.due(), timing.wait_s(60)) == ("", 10)
    timing.freeze()
    clock["now"] += 20
    assert timing.due() == ""
    timing.thaw()
    clock["now"] += 9
    assert timing.due() == ""
    clock["now"] += 1
    assert timing.due() == "timeout"
    timing.stop(5)
    timing.stop(50)
    assert timing.stopping and timing.due() == ""
    clock["now"] += 5
    assert timing.due() == "kill"
    silent = Deadlines()
    silent.start(None, silent_s=10)
    clock["now"] += 9
    assert (silent.due(), silent.wait_s(60)) == ("", 1)
    silent.heard()
    silent.freeze()
    clock["now"] += 100
    assert silent.due() == ""
    silent.thaw()
    clock["now"] += 10
    assert silent.due() == "silence"
    silent.stop(5)
    assert silent.due() == ""
