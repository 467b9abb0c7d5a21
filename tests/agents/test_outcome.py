"""Outcomes: exit 0 is not success by itself, and every verdict names its rule."""

from __future__ import annotations

import errno
import signal
import time

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from maestro.agents.definitions import Definition, built_in, parse
from maestro.agents.outcome import RESULT_BYTES_MAX, final_text, judge
from maestro.agents.transcript import TranscriptSum
from maestro.agents.verdict import Check, JudgedEnd

SHELL = built_in("shell")
SH = ("/bin/sh", "-c", "make test")


def judged_by(keys: str) -> Definition:
    return parse(f"slug: x\nadapter: shell\nsuccess: {keys}\n", "x.yaml")


def test_a_good_end_is_ok_with_its_final_text() -> None:
    verdict = judge(SHELL, JudgedEnd(exit_code=0, stdout=b"\x1b[1mdone\x1b[0m \r\n\n"))
    assert (verdict.outcome, verdict.exit_code, verdict.source, verdict.result) == ("ok", 0, "agent", "done")
    assert verdict.evidence == "exit 0"


@pytest.mark.parametrize(
    ("end", "outcome", "source", "evidence"),
    [
        (JudgedEnd(exit_code=3, log=b"a\nboom\n\n"), "exit", "agent", "exit 3; last line: boom"),
        (JudgedEnd(signal=signal.SIGSEGV), "exit", "agent", "ended by SIGSEGV"),
        (JudgedEnd(signal=99), "exit", "agent", "ended by signal 99"),
        (JudgedEnd(), "exit", "agent", "no exit code"),
        (
            JudgedEnd(timed_out=True, timeout_s=5, signal=9),
            "timeout",
            "maestro",
            "timeout of 5 s passed; ended by SIGKILL",
        ),
        (JudgedEnd(timed_out=True, exit_code=0), "timeout", "maestro", "the timeout passed; exit 0"),
        (JudgedEnd(stopped="task cancel: no more", signal=15), "cancelled", "maestro", "stopped: task cancel: no more"),
        (
            JudgedEnd(spawn_error="No such file", errno=errno.ENOENT),
            "spawn_error",
            "maestro",
            "did not start: No such file",
        ),
        (JudgedEnd(lost="the worker was gone", exit_code=0), "lost", "maestro", "lost: the worker was gone"),
        (
            JudgedEnd(wrong_mode="it has no mode x", spawn_error="x"),
            "wrong_mode",
            "maestro",
            "not started: it has no mode x",
        ),
        (
            JudgedEnd(oom="2 of its processes killed", exit_code=137),
            "oom",
            "maestro",
            "out of memory: 2 of its processes",
        ),
        (
            JudgedEnd(budget="the task's budget is 5 tokens, 6 were used", exit_code=0),
            "budget",
            "maestro",
            "6 were used; exit 0",
        ),
        (
            JudgedEnd(stalled=True, signal=15),
            "stalled",
            "maestro",
            "nothing was printed (limits.silent_s); ended by SIGTERM",
        ),
        (JudgedEnd(budget="b", stopped="b", lost="l", oom="o"), "lost", "maestro", "lost: l"),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH, exit_code=0)),
            "ok",
            "agent",
            "exit 0; verify make test passed",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH, exit_code=2, output=b"no rule\n")),
            "agent_error",
            "agent",
            "exit 0, but verify make test exited 2; last line: no rule",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH)),
            "agent_error",
            "agent",
            "verify make test was ended by a signal",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH, timed_out=True)),
            "agent_error",
            "maestro",
            "took longer than 600 s",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH, stopped="no more")),
            "cancelled",
            "maestro",
            "verified: no more",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=SH, lost="gone")),
            "lost",
            "maestro",
            "lost while it was verified: gone",
        ),
        (
            JudgedEnd(exit_code=0, check=Check(command=("x",), spawn_error="none")),
            "agent_error",
            "maestro",
            "did not start",
        ),
        (JudgedEnd(exit_code=1, check=Check(command=SH, exit_code=0)), "exit", "agent", "exit 1"),
    ],
)
def test_the_first_rule_that_holds_wins(end: JudgedEnd, outcome: str, source: str, evidence: str) -> None:
    verdict = judge(SHELL, end)
    assert (verdict.outcome, verdict.source) == (outcome, source)
    assert evidence in verdict.evidence


def test_only_a_start_that_failed_for_want_of_resources_is_transient() -> None:
    assert judge(SHELL, JudgedEnd(spawn_error="x", errno=errno.EAGAIN)).transient
    assert judge(SHELL, JudgedEnd(spawn_error="x", errno=errno.EMFILE)).transient
    assert not judge(SHELL, JudgedEnd(spawn_error="x", errno=errno.ENOENT)).transient
    assert not judge(SHELL, JudgedEnd(exit_code=1, errno=errno.EAGAIN)).transient


def test_an_output_that_tells_of_an_error_fails_an_exit_of_0() -> None:
    verdict = judge(
        judged_by(r"{fail_stdout: '\[API Error:'}"), JudgedEnd(exit_code=0, stdout=b"ok\n[API Error: 401]\n")
    )
    assert (verdict.outcome, verdict.exit_code, verdict.source) == ("agent_error", 0, "agent")
    assert r"fail_stdout \[API Error: matched: [API Error: 401]" in verdict.evidence


def test_stderr_that_was_kept_apart_is_judged_alone() -> None:
    rules = judged_by("{fail_stderr: quota, wrong_mode_stderr: Falling back}")
    said = JudgedEnd(exit_code=0, stdout=b"quota\n", stderr=b"warming up\n", log=b"quota Falling back\n")
    assert judge(rules, said).outcome == "ok"
    assert judge(rules, msgspec.structs.replace(said, stderr=b"over quota")).outcome == "agent_error"
    assert judge(rules, msgspec.structs.replace(said, stderr=b"quota\nFalling back to x\n")).outcome == "wrong_mode"


def test_what_the_final_text_says_counts_and_what_tools_printed_does_not() -> None:
    qwen = built_in("qwen")
    told = TranscriptSum(events=3, final=True, text="All is well, though a log says [API failure:")
    assert judge(qwen, JudgedEnd(exit_code=0, told=told, stdout=b'{"out":"[API Error: 401]"}')).outcome == "ok"
    failed = msgspec.structs.replace(told, text="[API Error: 401 no key]")
    verdict = judge(qwen, JudgedEnd(exit_code=0, told=failed))
    assert (verdict.outcome, verdict.result) == ("agent_error", "[API Error: 401 no key]")


def test_stderr_is_judged_apart_from_what_stdout_says() -> None:
    rules = judged_by("{fail_stderr: 'Falling back'}")
    quoted = b"the docs say: Falling back\n"
    traced = b"TRACE: [2026-01-01T00:00:00Z] t1: the docs say: Falling back\n"
    assert judge(rules, JudgedEnd(exit_code=0, stdout=quoted, log=quoted)).outcome == "ok"
    assert judge(rules, JudgedEnd(exit_code=0, stdout=quoted, log=traced)).outcome == "ok"
    said = b"Falling back to default agent\n"
    assert judge(rules, JudgedEnd(exit_code=0, stdout=quoted, log=quoted + said)).outcome == "agent_error"


def test_other_codes_may_be_good_and_output_may_be_required() -> None:
    assert judge(judged_by("{exit: [0, 3]}"), JudgedEnd(exit_code=3)).outcome == "ok"
    assert judge(judged_by("{exit: [3]}"), JudgedEnd(exit_code=0)).outcome == "exit"
    rules = judged_by("{output_required: true}")
    assert judge(rules, JudgedEnd(exit_code=0, stdout=b" \n\x1b[0m")).outcome == "no_output"
    assert judge(rules, JudgedEnd(exit_code=0, stdout=b"x")).outcome == "ok"


def test_the_final_text_is_the_end_of_the_output_and_says_so() -> None:
    text = final_text("é".encode() * RESULT_BYTES_MAX + b"end")
    assert text.startswith("[… the beginning is in agent.log]\né")
    assert text.endswith("end")
    assert len(text.encode()) < RESULT_BYTES_MAX + 100


def test_a_pattern_over_a_long_line_is_judged_in_time() -> None:
    started = time.process_time()
    judge(
        judged_by("{fail_stdout: 'a.*b.*c'}"), JudgedEnd(exit_code=0, stdout=b"a" * 262_144, log=b"\x00\xff" * 32_768)
    )
    assert time.process_time() - started < 5


def test_a_pattern_over_several_lines_that_matches_them_all_is_judged_in_time() -> None:
    started = time.process_time()
    rules = judged_by(r"{final_stdout: 'a\n', fail_stdout: ['b\n+', 'a\n+z']}")
    assert judge(rules, JudgedEnd(exit_code=0, stdout=b"a\n" * 131_072)).outcome == "ok"
    assert time.process_time() - started < 5


@settings(deadline=None)
@given(
    st.builds(
        JudgedEnd,
        exit_code=st.none() | st.integers(0, 255),
        signal=st.none() | st.integers(1, 64),
        timed_out=st.booleans(),
        stopped=st.none() | st.text(max_size=20),
        spawn_error=st.none() | st.text(max_size=20),
        lost=st.none() | st.text(max_size=20),
        stdout=st.binary(max_size=100),
        log=st.binary(max_size=100),
    )
)
def test_any_end_has_one_verdict_with_evidence_on_one_line(end: JudgedEnd) -> None:
    verdict = judge(built_in("kilo"), end)
    assert verdict.evidence
    assert "\n" not in verdict.evidence
    assert verdict.outcome != "ok" or end.exit_code == 0
    assert verdict == judge(built_in("kilo"), end)


@pytest.mark.parametrize(
    ("stdout", "outcome", "evidence"),
    [
        (b"ERROR: no\nDONE\n", "ok", "exit 0"),
        (b"DONE\nERROR: no\nbye\n", "agent_error", "fail_stdout ^ERROR matched: ERROR: no; last line: bye"),
        (b"ERROR: 1\nDONE\nERROR: 2\nERROR: 3\n", "agent_error", "matched: ERROR: 2; last line: ERROR: 3"),
        (b"DONE\n\nDONE\nERROR: no\nDONE\n", "ok", "exit 0"),
        (b"nothing there\nDONE\n", "agent_error", "nothing there"),
        (b"nothing there\nmore\nDONE\n", "ok", "exit 0"),
        (b"bye\n", "agent_error", "no line matches final_stdout ^DONE; last line: bye"),
    ],
)
def test_the_good_sign_must_come_behind_the_last_bad_one(stdout: bytes, outcome: str, evidence: str) -> None:
    rules = judged_by(r"{final_stdout: '^DONE', fail_stdout: ['^ERROR', '^nothing there\nDONE']}")
    verdict = judge(rules, JudgedEnd(exit_code=0, stdout=stdout, log=stdout, stderr=b"Warning: no terminal\n"))
    assert (verdict.outcome, evidence in verdict.evidence) == (outcome, True), verdict.evidence


def test_without_a_good_sign_every_bad_one_counts() -> None:
    rules = judged_by("{fail_stdout: ['^ERROR', '^FATAL']}")
    verdict = judge(rules, JudgedEnd(exit_code=0, stdout=b"FATAL: x\nERROR: y\nall is well\n"))
    assert "fail_stdout ^FATAL matched: FATAL: x" in verdict.evidence


def test_evidence_tells_what_matched_whole_and_what_came_last() -> None:
    words = "word " * 100 + "end"
    rules = judged_by("{fail_stderr: '^E'}")
    verdict = judge(rules, JudgedEnd(exit_code=0, stderr=f"E {words}\nand then\n".encode()))
    assert f"matched: E {words}; last line: and then" in verdict.evidence
    told = TranscriptSum(events=3, failure=f"line 2: {words}", last="line 3: bye")
    verdict = judge(built_in("kilo"), JudgedEnd(exit_code=1, told=told))
    assert verdict.evidence == f"exit 1; fail_event: line 2: {words}; last event: line 3: bye"
    same = msgspec.structs.replace(told, last=f"line 2: {words}")
    assert judge(built_in("kilo"), JudgedEnd(exit_code=1, told=same)).evidence.endswith("end")
    missing = TranscriptSum(events=3, last="line 3: bye")
    verdict = judge(built_in("kilo"), JudgedEnd(exit_code=0, told=missing))
    assert verdict.evidence == "exit 0, but final_event is missing among 3 events; last event: line 3: bye"


def test_what_no_rule_looked_at_is_said_with_the_verdict() -> None:
    rules = judged_by("{fail_stdout: '^ERROR'}")
    said = JudgedEnd(exit_code=0, stdout=b"x" * 5000, stdout_bytes=900_000)
    verdict = judge(rules, said)
    assert "exit 0; patterns were looked for in the last 5000 of 900000 bytes of stdout" in verdict.evidence
    assert "in the first 4096 characters of each line" in verdict.evidence
    assert judge(SHELL, said).evidence == "exit 0"
    told = TranscriptSum(events=1, final=True, unread="line 3 was passed over")
    assert judge(built_in("kilo"), JudgedEnd(exit_code=0, told=told)).evidence == "exit 0; line 3 was passed over"
