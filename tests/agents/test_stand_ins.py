"""Stand-ins of agents on a real stage: their recorded output, read, judged and measured while it comes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agents.stand_ins import SAMPLES, stand_in
from tests.installation import Installation

NAMES = ("aider", "claude", "gemini", "opencode", "qwen")


class Stage(Installation):
    """An installation with a type for each stand-in, under the name of what it stands for."""

    def __enter__(self) -> Stage:
        return self

    def add(self, name: str, slug: str, **keys: Any) -> None:
        self.agent_type(slug, **{"adapter": name, "requires": [], "bin": str(self.folder / name / name), **keys})

    def does(self, prompt: str, agent: str, *words: str) -> dict[str, Any]:
        done = self.run("task", "dispatch", prompt, "--to", agent, "--sync", *words)
        assert done.stdout, done.stderr
        row: dict[str, Any] = json.loads(done.stdout)
        return row

    def was_told(self, name: str) -> bytes:
        """The last prompt as it came."""
        return (self.folder / name / "prompt").read_bytes()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stand-ins")) as stage:
        for name in NAMES:
            stand_in(name, stage.folder)
            stage.add(name, name)
        yield stage


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def test_types_tell_their_version_and_when_they_tell_their_usage(stage: Stage) -> None:
    rows = {row["slug"]: row for row in stage.json("agent", "types", "--check")}
    for name in NAMES:
        assert (rows[name]["usable"], rows[name]["version"]) == (True, (SAMPLES / name / "VERSION").read_text().strip())
    assert [rows[name]["usage"] for name in (*NAMES, "codex", "shell")] == [
        *("stream", "stream", "end", "stream", "stream"),
        *("end", None),
    ]


@pytest.mark.parametrize(
    ("agent", "prompt", "outcome", "evidence", "tokens"),
    [
        ("aider", "replay quoted 0", "ok", "exit 0", 110),
        ("aider", "replay late_500 0", "agent_error", "matched: litellm.InternalServerError", 110),
        ("aider", "replay reflections 0", "agent_error", "matched: Only 3 reflections allowed, stopping.", 440),
        ("claude", "replay titled 0", "ok", "exit 0", 2028),
        ("claude", "replay command 0", "agent_error", '"num_turns": 0', 110),
        ("gemini", "replay denied 0", "refused", "Tool execution denied by policy. You are in Plan Mode and", 220),
        ("opencode", "replay unknown_mode 0", "wrong_mode", "Falling back to default agent", None),
    ],
)
def test_a_recorded_end_is_judged_as_what_it_was(
    stage: Stage, agent: str, prompt: str, outcome: str, evidence: str, tokens: int | None
) -> None:
    task = stage.does(prompt, agent)
    run = task["runs"][0]
    assert (run["outcome"], evidence in run["evidence"]) == (outcome, True), run["evidence"]
    if tokens is not None:
        assert task["usage"]["input_tokens"] + task["usage"]["output_tokens"] == tokens


@pytest.mark.parametrize(("agent", "first"), [("aider", "/"), ("claude", "/"), ("gemini", "/"), ("qwen", "/")])
def test_a_prompt_never_reaches_the_program_as_a_command_of_its_own(stage: Stage, agent: str, first: str) -> None:
    prompt = f"{first}replay success 0"
    assert stage.does(prompt, agent)["outcome"] == "ok"
    assert stage.was_told(agent) == b"\n" + prompt.encode()
    assert stage.does("replay success 0", agent)["outcome"] == "ok"
    assert stage.was_told(agent) == b"replay success 0"


def test_a_budget_ends_a_run_on_what_streams_and_a_cancelled_run_has_its_usage(stage: Stage) -> None:
    stage.add("claude", "thrifty", budget={"tokens": 400})
    task = stage.does("replay titled 0 3", "thrifty")
    assert (task["outcome"], task["usage"]["input_tokens"]) == ("budget", 500)
    task = json.loads(stage.run("task", "dispatch", "replay titled 0 4", "--to", "claude", "--async").stdout)
    until(lambda: stage.json("task", "status", task["id"])["runs"][0]["session"])
    ended = stage.json("task", "cancel", task["id"])
    assert (ended["status"], ended["usage"]["input_tokens"]) == ("cancelled", 1000)


def test_aider_goes_on_with_its_latest_session_and_takes_arguments_in_their_place(stage: Stage) -> None:
    stage.add("aider", "careful", args=["--model", "x"])
    task = stage.does("replay success 0", "careful")
    assert task["runs"][0]["session"] == "latest"
    call = Path(stage.folder / "aider" / "call")
    assert call.read_text().startswith("--model x --message-file ")
    stage.json("task", "retry", task["id"], "--continue")
    stage.run("task", "wait", task["id"])
    assert call.read_text().startswith("--model x --restore-chat-history --message-file ")
