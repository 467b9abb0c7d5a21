"""The built-in adapters against what their programs really printed: outcome, session, final text and usage.

The samples are real runs against the model stub; paths in them were shortened. `clis` tells of the rest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from maestro.agents.definitions import built_in
from maestro.agents.outcome import judge
from maestro.agents.transcript import Transcript, TranscriptSum
from maestro.agents.usage import Usage
from maestro.agents.verdict import JudgedEnd, Verdict
from tests.agents.clis import CLIS

SAMPLES = Path(__file__).parent / "samples"
ENDS = {
    "aider/cost": (0, "ok", ""),
    "aider/empty": (0, "agent_error", "matched: 'Empty response received from LLM. Check your provider account?"),
    "aider/error_401": (0, "agent_error", "litellm.BadRequestError"),
    "aider/error_500": (0, "agent_error", "last line: The API provider's servers are down or overloaded."),
    "aider/late_401": (
        0,
        "agent_error",
        "litellm.AuthenticationError: AuthenticationError: OpenAIException - scripted",
    ),
    "aider/late_429": (
        0,
        "agent_error",
        "OpenAIException - scripted failure 429; last line: The API provider has rate",
    ),
    "aider/late_500": (0, "agent_error", "litellm.InternalServerError"),
    "aider/quoted": (0, "ok", ""),
    "aider/recovered": (0, "ok", ""),
    "aider/reflections": (0, "agent_error", "matched: Only 3 reflections allowed, stopping."),
    "aider/success": (0, "ok", ""),
    "aider/token_limit": (0, "agent_error", "Model openai/stub-model has hit a token limit!"),
    "claude/command": (0, "agent_error", '"num_turns": 0'),
    "claude/denied": (0, "refused", "permission_denials[*].tool_name: Write, Bash in {"),
    "claude/error_401": (1, "exit", "401"),
    "claude/error_500": (1, "exit", "500"),
    "claude/refused": (1, "refused", "violate our Usage Policy"),
    "claude/resumed": (0, "ok", ""),
    "claude/success": (0, "ok", ""),
    "claude/titled": (0, "ok", ""),
    "claude/unknown_session": (1, "exit", "fail_event"),
    "codex/broken_stream": (1, "exit", "stream disconnected"),
    "codex/error_401": (1, "exit", "401 Unauthorized"),
    "codex/error_500": (1, "exit", "high demand"),
    "codex/first": (0, "ok", ""),
    "codex/refused": (1, "refused", "content_filter"),
    "codex/resumed": (0, "ok", ""),
    "codex/success": (0, "ok", ""),
    "gemini/denied": (0, "refused", "denied by policy"),
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


def read(sample: str, exit_code: int = 0, events: int | None = None) -> tuple[TranscriptSum, Verdict]:
    """What the adapter makes of a sample, or of so many of its first events."""
    definition = built_in(sample.partition("/")[0])
    stdout, stderr = b"", b""
    for file in SAMPLES.glob(f"{sample}.*"):
        if file.suffix == ".stderr":
            stderr = file.read_bytes()
        else:
            stdout = file.read_bytes()
    stdout = b"".join(stdout.splitlines(keepends=True)[:events])
    transcript = Transcript(definition)
    transcript.feed(stdout)
    transcript.end()
    told = transcript.told
    return told, judge(
        definition, JudgedEnd(exit_code=exit_code, stdout=stdout, stderr=stderr, log=stdout + stderr, told=told)
    )


def test_each_program_is_recorded_with_its_version_and_the_pinned_ones_are_the_same() -> None:
    versions = {path.parent.name: path.read_text().strip() for path in SAMPLES.glob("*/VERSION")}
    assert versions.keys() == {sample.partition("/")[0] for sample in ENDS}
    assert {cli.name: cli.version for cli in CLIS}.items() <= versions.items()


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


def test_aider_tells_tokens_and_cost_behind_each_answer() -> None:
    assert read("aider/reflections")[0].usage == Usage(400, 40)
    assert read("aider/cost")[0].usage == Usage(100, 10, 0, 0.00035)


@pytest.mark.parametrize(
    ("line", "usage"),
    [
        ("Tokens: 2.1k sent, 10 received.", Usage(2100, 10)),
        ("Tokens: 12k sent, 3.5k cache write, 9.0k cache hit, 1.2k received.", Usage(12_000, 1200, 9000)),
        ("Cost: $0.12 message, $0.50 session.", Usage(0, 0, 0, 0.12)),
        ("Tokens: 5 sent, 6 received. Cost: $0.0011 message, $0.0022 session.", Usage(5, 6, 0, 0.0011)),
        ("The Tokens: 5 sent, 6 received.", Usage()),
    ],
)
def test_all_forms_of_the_count_of_aider_are_read(line: str, usage: Usage) -> None:
    transcript = Transcript(built_in("aider"))
    transcript.feed(line.encode())
    transcript.end()
    assert transcript.told.usage == usage


def test_claude_tells_tokens_while_it_works_and_all_of_them_at_the_end() -> None:
    told = [read("claude/titled", events=count)[0].usage for count in (1, 2, 3, 4)]
    assert [usage.input_tokens for usage in told] == [0, 500, 500, 1000]
    ended = read("claude/titled")[0].usage
    assert (ended.input_tokens, ended.output_tokens, ended.cost) == (2000, 28, 0.0107), "its own title included"


def test_claude_counts_a_message_once_and_what_a_cache_had_as_given() -> None:
    usage = b'{"input_tokens":3,"cache_creation_input_tokens":50,"cache_read_input_tokens":700,"output_tokens":%d}'
    transcript = Transcript(built_in("claude"))
    for made in (1, 1, 9):  # an event for each block of its content
        transcript.feed(b'{"type":"assistant","message":{"id":"m1","usage":' + usage % made + b"}}\n")
    transcript.feed(b'{"type":"assistant","message":{"id":"m2","usage":' + usage % 2 + b"}}\n")
    assert transcript.told.usage == Usage(2 * 753, 11, 1400)


@pytest.mark.parametrize(
    ("cli", "told"),
    [
        *(("aider", "stream"), ("claude", "stream"), ("kilo", "stream"), ("opencode", "stream"), ("qwen", "stream")),
        *(("codex", "end"), ("gemini", "end"), ("shell", "")),
    ],
)
def test_it_is_known_which_programs_tell_their_usage_at_the_end_only(cli: str, told: str) -> None:
    assert built_in(cli).output.usage_told == told
    if told:
        whole = read(f"{cli}/success")[0]
        usages = {read(f"{cli}/success", events=count)[0].usage for count in range(1, whole.lines)}
        assert (usages - {Usage(), whole.usage} != set()) == (told == "stream" and cli != "aider"), usages
