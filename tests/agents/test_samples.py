"""The built-in adapters against what their programs really printed: outcome, session, final text and usage.

The samples are real runs against the model stub; paths in them were shortened. `clis` tells of the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro.agents.definitions import built_in
from maestro.agents.outcome import JudgedEnd, Verdict, judge
from maestro.agents.transcript import Transcript, TranscriptSum

SAMPLES = Path(__file__).parent / "samples"
ENDS = {
    "aider/error_401": (0, "agent_error", "litellm.BadRequestError"),
    "aider/error_500": (0, "agent_error", "no line matches final_stdout"),
    "aider/success": (0, "ok", ""),
    "claude/denied": (0, "refused", "permission_denials[*].tool_name: Write, Bash in {"),
    "claude/error_401": (1, "exit", "401"),
    "claude/error_500": (1, "exit", "500"),
    "claude/refused": (1, "refused", "violate our Usage Policy"),
    "claude/resumed": (0, "ok", ""),
    "claude/success": (0, "ok", ""),
    "claude/unknown_session": (1, "exit", "fail_event"),
    "codex/broken_stream": (1, "exit", "stream disconnected"),
    "codex/error_401": (1, "exit", "401 Unauthorized"),
    "codex/error_500": (1, "exit", "high demand"),
    "codex/first": (0, "ok", ""),
    "codex/refused": (1, "refused", "content_filter"),
    "codex/resumed": (0, "ok", ""),
    "codex/success": (0, "ok", ""),
    "gemini/error_401": (145, "exit", "401"),
    "gemini/refused": (0, "refused", "blocked due to safety settings"),
    "gemini/resumed": (0, "ok", ""),
    "gemini/success": (0, "ok", ""),
    "kilo/broken_stream": (0, "agent_error", "final_event is missing"),
    "kilo/denied": (0, "refused", "a rule which prevents you"),
    "kilo/error_401": (1, "exit", "401"),
    "kilo/error_500": (1, "exit", "500"),
    "kilo/refused": (1, "refused", "ContentFilterError"),
    "kilo/resumed": (0, "ok", ""),
    "kilo/success": (0, "ok", ""),
    "kilo/unknown_mode": (0, "wrong_mode", "Falling back to default agent"),
    "opencode/denied": (0, "refused", "a rule which prevents you"),
    "opencode/error_401": (1, "exit", "401"),
    "opencode/refused": (1, "refused", "ContentFilterError"),
    "opencode/resumed": (0, "ok", ""),
    "opencode/success": (0, "ok", ""),
    "opencode/unknown_mode": (0, "wrong_mode", "Falling back to default agent"),
    "qwen/broken_stream": (0, "agent_error", "[API Error: Model stream ended"),
    "qwen/error_401": (0, "agent_error", "[API Error: 401"),
    "qwen/first": (0, "ok", ""),
    "qwen/resumed": (0, "ok", ""),
    "qwen/success": (0, "ok", ""),
}


def read(sample: str, exit_code: int = 0) -> tuple[TranscriptSum, Verdict]:
    """What the adapter makes of a sample."""
    definition = built_in(sample.partition("/")[0])
    stdout, stderr = b"", b""
    for file in SAMPLES.glob(f"{sample}.*"):
        if file.suffix == ".stderr":
            stderr = file.read_bytes()
        else:
            stdout = file.read_bytes()
    transcript = Transcript(definition)
    transcript.feed(stdout)
    transcript.end()
    told = transcript.told
    return told, judge(
        definition, JudgedEnd(exit_code=exit_code, stdout=stdout, stderr=stderr, log=stdout + stderr, told=told)
    )


def test_every_sample_is_judged() -> None:
    found = {str(path.relative_to(SAMPLES).with_suffix("")) for path in SAMPLES.rglob("*.*")}
    assert found == set(ENDS)


@pytest.mark.parametrize("sample", ENDS)
def test_a_real_end_is_judged_as_what_it_was(sample: str) -> None:
    exit_code, outcome, evidence = ENDS[sample]
    told, verdict = read(sample, exit_code)
    assert (verdict.outcome, verdict.source) == (outcome, "agent"), verdict
    assert evidence in verdict.evidence
    assert bool(told.session) == (not sample.startswith("aider/"))


@pytest.mark.parametrize(
    ("denied", "outcome"), [("ExitPlanMode", "ok"), ("AskUserQuestion", "ok"), ("Bash", "refused")]
)
def test_only_what_does_work_can_be_denied_to_claude(denied: str, outcome: str) -> None:
    definition = built_in("claude")
    ended = (SAMPLES / "claude/success.ndjson").read_bytes()
    denial = b'"permission_denials":[{"tool_name":"%s","tool_input":{}}]' % denied.encode()
    assert b'"permission_denials":[]' in ended
    transcript = Transcript(definition)
    transcript.feed(ended.replace(b'"permission_denials":[]', denial))
    transcript.end()
    assert judge(definition, JudgedEnd(exit_code=0, told=transcript.told)).outcome == outcome


@pytest.mark.parametrize("cli", sorted({sample.partition("/")[0] for sample in ENDS} - {"aider"}))
def test_the_final_text_and_the_usage_of_real_work_are_found(cli: str) -> None:
    told, verdict = read(f"{cli}/success")
    assert verdict.result == "All written."
    beside = 1 if cli == "gemini" else 0  # it asks a small model which one to ask, and counts that
    requests = 3 + beside
    assert (told.usage.input_tokens, told.usage.output_tokens) == (100 * requests, 10 * requests)
    assert (told.usage.cost > 0) == (cli in {"claude", "kilo", "opencode"})


@pytest.mark.parametrize("cli", ["codex", "qwen"])
def test_a_resumed_session_is_the_same_and_says_what_was_before(cli: str) -> None:
    first, _ = read(f"{cli}/first")
    again, verdict = read(f"{cli}/resumed")
    assert again.session == first.session
    assert verdict.result == "Earlier: [[say remember 42]]"


def test_codex_tells_what_its_whole_thread_used() -> None:
    assert read("codex/first")[0].usage.input_tokens == 100
    assert read("codex/resumed")[0].usage.input_tokens == 200
