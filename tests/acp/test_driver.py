"""The driver of the Agent Client Protocol beside an agent that keeps to it, and beside one that does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from maestro.acp.agent_process import LINE_BYTES_MAX, Lines, TooLong
from maestro.acp.permissions import Policy, request_of

ROGUE = [sys.executable, "-S", str(Path(__file__).with_name("rogue.py"))]


class Driven(NamedTuple):
    """How a run of the driver went."""

    code: int
    events: list[dict[str, Any]]
    stderr: str

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def text(self) -> str:
        return "|".join(event["text"] for event in self.of("text"))


def start(
    folder: Path, prompt: str, rogue: str = "1", env: Mapping[str, str] = {}, **options: Any
) -> subprocess.Popen[str]:
    (folder / "prompt.txt").write_text(prompt)
    told = {
        "mode": "",
        "session": "",
        "permissions": "reject",
        "allow": [],
        "reject": [],
        "answer_s": None,
        "secrets": [],
    }
    told |= {"beat_s": 0.1, "grace_s": 0.5, "prompt_file": str(folder / "prompt.txt"), "workspace": str(folder)}
    words = [sys.executable, "-I", "-m", "maestro.acp", json.dumps(told | options), *ROGUE]
    env = {"PATH": os.environ["PATH"], "ROGUE": rogue, **env}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd="/")
    timer = threading.Timer(
        60, process.kill
    )  # a driver that does not say what is waited for must not hold the tests up
    timer.daemon = True
    timer.start()
    return process


def end(process: subprocess.Popen[str]) -> Driven:
    said, errors = process.communicate(timeout=60)
    return Driven(process.returncode, [json.loads(line) for line in said.splitlines()], errors)


def drive(folder: Path, prompt: str, rogue: str = "1", **options: Any) -> Driven:
    return end(start(folder, prompt, rogue, **options))


def test_an_agent_that_keeps_to_the_protocol_is_told_of_piece_by_piece(tmp_path: Path) -> None:
    done = drive(tmp_path, "noise usage say:Hello twice", mode="look")
    assert (done.code, done.text) == (0, "Hello"), done
    assert done.of("session") == [{"type": "session", "session": "s-1"}]
    assert done.of("usage")[0] == {"type": "usage", "of": "session", "usage": {"cost": 0.5}}
    assert done.of("done") == [{"type": "done", "stop_reason": "end_turn"}]
    assert len(done.of("note")) >= 5  # four lines of noise, and an answer that nobody waits for; the last may be late


def test_whatever_an_agent_says_is_read_or_left_out(tmp_path: Path) -> None:
    done = drive(tmp_path, "odd say:Fine")
    assert (done.code, done.text) == (0, "?\u00e9Fine"), done
    assert len(done.of("permission")) == 2
    assert [event["usage"] for event in done.of("usage")] == [{"inputTokens": 30, "outputTokens": 4}]


def test_what_a_client_may_offer_and_this_one_does_not_is_refused(tmp_path: Path) -> None:
    done = drive(tmp_path, "files")
    assert (done.code, done.text) == (0, "-32601")


def test_a_session_goes_on_without_telling_its_old_answers_again(tmp_path: Path) -> None:
    done = drive(tmp_path, "say:New", session="s-1")
    assert (done.code, done.text) == (0, "New")


def test_a_mode_that_the_agent_has_not_is_told_before_the_prompt(tmp_path: Path) -> None:
    done = drive(tmp_path, "say:never", mode="architect")
    assert (done.code, done.text) == (0, "")
    assert done.stderr == "maestro: the agent has no mode architect, it has work, look\n"
    assert done.of("done")[0]["stop_reason"] == "wrong_mode"


def test_a_secret_that_is_told_in_pieces_is_taken_out(tmp_path: Path) -> None:
    env = {"KEY": "secret", "OTHER": "-rf bu"}
    prompt = "say:mysec usage say:ret! ask:execute say:secse"
    done = drive(tmp_path, prompt, permissions="allow", env=env, secrets=["KEY", "OTHER", "ABSENT"])
    assert "".join(event["text"] for event in done.of("text")) == "my[redacted]!ysecse", done
    kinds = [event["type"] for event in done.events]
    assert kinds.index("usage") < len(kinds) - 1 - kinds[::-1].index("text") < kinds.index("done")
    assert done.of("permission")[0]["title"] == "rm [redacted]ild"


@pytest.mark.parametrize(("permissions", "lists", "said"), [("allow", {}, "y"), ("reject", {}, "n")])
def test_the_policy_answers_requests_for_permission(
    tmp_path: Path, permissions: str, lists: dict[str, list[str]], said: str
) -> None:
    done = drive(tmp_path, "ask:execute", permissions=permissions, **lists)
    assert (done.code, done.text) == (0, said)
    assert [(event["by"], event["option"]) for event in done.of("permission")] == [("policy", said)]


def test_an_update_of_100_mb_is_left_out_without_being_held_and_such_an_answer_ends_the_run(tmp_path: Path) -> None:
    process = start(tmp_path, "long say:Done never")
    assert process.stdout is not None
    told = [json.loads(process.stdout.readline()) for _ in range(4)]
    assert [event["type"] for event in told] == ["agent", "session", "note", "text"]
    assert told[2]["text"] == f"an update of {100 * 2**20 + 51} bytes was left out"
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert int(status.split("VmHWM:")[1].split()[0]) < 32 * 1024
    process.send_signal(signal.SIGTERM)
    end(process)
    done = drive(tmp_path, "huge")
    assert done.code == 1
    assert "above the limit" in done.of("error")[0]["message"]


def test_an_agent_that_dies_or_speaks_another_version_ends_the_run(tmp_path: Path) -> None:
    done = drive(tmp_path, "say:Half die")
    assert (done.code, done.text) == (1, "Half")
    assert done.of("error")[0]["message"] == "exit 3, without an answer to session/prompt"
    done = drive(tmp_path, "say:never", rogue="2")
    assert (done.code, "speaks version 2" in done.of("error")[0]["message"]) == (1, True)


def test_one_that_never_answers_is_left_after_the_grace_and_ended(tmp_path: Path) -> None:
    for prompt, rogue, seen in (("say:X never", "1", "text"), ("never", "deaf", "")):
        process = start(tmp_path, prompt, rogue)
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline())["type"] for _ in range(3)] if seen else []
        assert lines[-1:] == ([seen] if seen else [])
        if not seen:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            while not children.read_text():
                time.sleep(0.02)
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        done = end(process)
        assert done.code == 143, done
        assert "within 0.5 s" in done.of("error")[0]["message"]


def test_a_request_that_is_open_when_the_run_is_stopped_is_cancelled(tmp_path: Path) -> None:
    process = start(tmp_path, "ask:execute", permissions="ask")
    assert process.stdout is not None
    while json.loads(process.stdout.readline())["type"] != "waiting":  # nobody is there to be asked, as yet
        continue
    process.send_signal(signal.SIGTERM)
    done = end(process)
    assert (done.code, done.of("done")[0]["stop_reason"]) == (143, "end_turn")
    assert done.text.endswith("cancelled")
    assert [event["by"] for event in done.of("permission")] == ["the run is stopped"]


def test_lines_are_put_together_from_pieces_and_a_long_one_keeps_its_head_only() -> None:
    lines = Lines()
    assert list(lines.feed(b'{"a"')) == []
    assert list(lines.feed(b': 1}\r\n\n{"b"')) == [b'{"a": 1}\r\n', b"\n"]
    assert list(lines.feed(b": 2}\n")) == [b'{"b": 2}\n']
    found = [one for _ in range(9) for one in lines.feed(b"y" * (LINE_BYTES_MAX // 8))]
    found += lines.feed(b"\n{}\n")
    assert isinstance(found[0], TooLong)
    assert (len(found[0].head), found[0].size, found[1]) == (512, LINE_BYTES_MAX * 9 // 8 + 1, b"{}\n")


def test_a_request_is_read_tolerantly_and_answered_by_the_best_option() -> None:
    options = [{"optionId": "a", "kind": "allow_always"}, {"optionId": "r", "kind": "reject_once"}, {"optionId": 7}, 1]
    request = request_of({"toolCall": {"title": "T", "kind": "edit"}, "options": options})
    assert [request.option(answer) for answer in ("allow", "allow-always", "reject", "a", "x", "")] == [
        *("a", "a", "r", "a", "", "")
    ]
    assert request_of({"toolCall": 3, "options": "no"}) == ("a tool", "other", ())
    policy = Policy("ask", allow=("read", "edit"), reject=("edit",))
    assert [policy.ruling(kind).answer for kind in ("read", "edit", "other")] == ["allow", "reject", "ask"]
