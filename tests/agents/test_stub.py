"""The model stub itself, by plain HTTP: each API, whole and streaming, through the same script."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents.stub.server import Stub

PARAMETERS = {"type": "object", "properties": {"cmd": {"type": "string"}, "login": {"type": "boolean"}}}
SHELL: dict[str, Any] = {"name": "exec_command", "parameters": {**PARAMETERS, "required": ["cmd", "login"]}}
PROMPT = "[[run ls -l]] [[usage 70 7]] [[say All done.]]"
APIS = ("chat", "responses", "messages", "generate")


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub() as stub:
        yield stub


def post(url: str, body: dict[str, Any]) -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(stub: Stub, api: str, prompt: str, done: int = 0, stream: bool = False) -> tuple[int, str]:
    """Ask as a client of the API would whose prompt it is, and who has had so many results of tools."""
    if api == "chat":
        messages = [{"role": "user", "content": prompt}]
        messages += [{"role": "tool", "tool_call_id": "c", "content": "ok"}] * done
        tools = [{"type": "function", "function": SHELL}]
        return post(f"{stub.url}/chat/completions", {"messages": messages, "tools": tools, "stream": stream})
    if api == "responses":
        items: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "input_text", "text": prompt}]}]
        items += [{"type": "function_call_output", "call_id": "c", "output": "ok"}] * done
        return post(
            f"{stub.url}/responses", {"input": items, "tools": [{"type": "function", **SHELL}], "stream": stream}
        )
    if api == "messages":
        parts = [{"role": "user", "content": prompt}]
        parts += [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "ok"}]}] * done  # type: ignore[dict-item]
        offered = [{"name": SHELL["name"], "input_schema": SHELL["parameters"]}]
        return post(f"{stub.url}/messages", {"messages": parts, "tools": offered, "stream": stream})
    contents = [{"role": "user", "parts": [{"text": prompt}]}]
    contents += [{"role": "user", "parts": [{"functionResponse": {"name": "x", "response": {"output": "ok"}}}]}] * done  # type: ignore[dict-item]
    method = "streamGenerateContent" if stream else "generateContent"
    tools = [{"functionDeclarations": [SHELL]}]
    return post(f"{stub.origin}/v1beta/models/m:{method}", {"contents": contents, "tools": tools})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("api", APIS)
def test_a_step_is_a_call_of_the_tool_on_offer_and_then_comes_the_text(stub: Stub, api: str, stream: bool) -> None:
    status, text = ask(stub, api, PROMPT, stream=stream)
    assert status == 200
    assert "exec_command" in text and "ls -l" in text and "login" in text
    status, text = ask(stub, api, PROMPT, done=1, stream=stream)
    assert status == 200
    assert "All done." in text and "exec_command" not in text
    assert "70" in text and "7" in text


@pytest.mark.parametrize("api", APIS)
def test_failures_have_the_status_that_was_asked_for(stub: Stub, api: str) -> None:
    assert ask(stub, api, "[[fail 401]]")[0] == 401
    assert ask(stub, api, f"[[fail 503 1]] [[say {api} at last]]")[0] == 503
    status, text = ask(stub, api, f"[[fail 503 1]] [[say {api} at last]]")
    assert status == 200
    assert f"{api} at last" in text


def test_the_last_prompt_with_directives_counts_and_earlier_ones_can_be_recalled(stub: Stub) -> None:
    turns = ["[[say one]]", "just a reminder", "[[recall]]", "another"]
    messages = [{"role": "user", "content": turn} for turn in turns]
    _, text = post(f"{stub.url}/chat/completions", {"messages": messages})
    assert json.loads(text)["choices"][0]["message"]["content"] == "Earlier: [[say one]]"


def test_what_was_asked_can_be_looked_at(stub: Stub) -> None:
    ask(stub, "chat", "[[say a needle in the log]]")
    request = stub.requests[-1]
    assert (request.method, request.path, request.status) == ("POST", "/v1/chat/completions", 200)
    assert "a needle in the log" in stub.texts()


def test_an_object_of_a_given_shape_is_made_up(stub: Stub) -> None:
    shape = {"type": "object", "properties": {"score": {"type": "integer"}, "why": {"type": "string"}}}
    body = {"contents": [{"role": "user", "parts": [{"text": "?"}]}], "generationConfig": {"responseJsonSchema": shape}}
    _, text = post(f"{stub.origin}/v1beta/models/m:generateContent", body)
    answer = json.loads(text)["candidates"][0]["content"]["parts"][0]["text"]
    assert json.loads(answer) == {"score": 1, "why": "x"}
