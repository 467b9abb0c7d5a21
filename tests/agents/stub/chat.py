"""The OpenAI chat completions API: `POST /v1/chat/completions`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agents.stub.conversation import Conversation, Reply, Tool, Turn, joined

_KINDS = {"system": "system", "developer": "system", "user": "user", "assistant": "model", "tool": "result"}


def read(body: dict[str, Any]) -> Conversation:
    """The request's conversation."""
    return Conversation(
        model=body.get("model", ""),
        turns=tuple(Turn(_KINDS.get(m["role"], "system"), joined(m.get("content"))) for m in body["messages"]),
        tools=tuple(
            Tool(tool["function"]["name"], tool["function"].get("parameters", {})) for tool in body.get("tools") or ()
        ),
        shape=((body.get("response_format") or {}).get("json_schema") or {}).get("schema"),
        streaming=bool(body.get("stream")),
    )


def answer(reply: Reply) -> dict[str, Any]:
    """The answer in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.call is not None:
        message["tool_calls"] = [_call(reply)]
    choice = {"index": 0, "message": message, "finish_reason": _reason(reply)}
    return {**_head(reply, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def frames(reply: Reply) -> Iterator[str]:
    """The answer as the data of server-sent events."""
    head = _head(reply, "chat.completion.chunk")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if reply.call is not None:
        deltas.append({"tool_calls": [{"index": 0, **_call(reply)}]})
    else:
        deltas += [{"content": word} for word in _pieces(reply.text)]
    for delta in deltas:
        yield json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield json.dumps({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": _reason(reply)}]})
    yield json.dumps({**head, "choices": [], "usage": _usage(reply)})
    yield "[DONE]"


def error(status: int) -> dict[str, Any]:
    """The body of a failure."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": f"scripted failure {status}", "type": kind, "param": None, "code": None}}


def _pieces(text: str) -> list[str]:
    return [text[at : at + 2048] for at in range(0, len(text), 2048)]


def _call(reply: Reply) -> dict[str, Any]:
    assert reply.call is not None
    function = {"name": reply.call.tool, "arguments": json.dumps(reply.call.arguments)}
    return {"id": reply.call.id, "type": "function", "function": function}


def _reason(reply: Reply) -> str:
    if reply.refused:
        return "content_filter"
    return "stop" if reply.call is None else "tool_calls"


def _head(reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{reply.id}", "object": kind, "created": 1_700_000_000, "model": reply.model}


def _usage(reply: Reply) -> dict[str, Any]:
    given, made = reply.usage.given, reply.usage.made
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
