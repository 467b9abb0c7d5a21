"""The Anthropic messages API: `POST /v1/messages`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agents.stub.conversation import Conversation, Reply, Tool, Turn, joined


def read(body: dict[str, Any]) -> Conversation:
    """The request's conversation. Results of tools are parts of the user's messages."""
    turns = [Turn("system", joined(body.get("system", "")))]
    for message in body["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        kind = "user" if message["role"] == "user" else "model"
        turns += [Turn("result" if part["type"] == "tool_result" else kind, joined(part)) for part in parts]
    tools = (Tool(tool["name"], tool["input_schema"]) for tool in body.get("tools") or () if "input_schema" in tool)
    return Conversation(
        model=body.get("model", ""), turns=tuple(turns), tools=tuple(tools), streaming=bool(body.get("stream"))
    )


def answer(reply: Reply) -> dict[str, Any]:
    """The answer in one piece."""
    usage = {"input_tokens": reply.usage.given, "output_tokens": reply.usage.made}
    return {**_head(reply), "content": [_block(reply)], "stop_reason": _reason(reply), "usage": usage}


def frames(reply: Reply) -> Iterator[str]:
    """The answer as the data of server-sent events; `event:` is their `type`."""
    block = _block(reply)
    usage = {"input_tokens": reply.usage.given, "output_tokens": 0}
    begun = {**_head(reply), "content": [], "stop_reason": None, "usage": usage}
    if reply.call is None:
        empty: dict[str, Any] = {**block, "text": ""}
        delta = {"type": "text_delta", "text": reply.text}
    else:
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(reply.call.arguments)}
    ended = {"stop_reason": _reason(reply), "stop_sequence": None}
    for event in (
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": empty},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": reply.usage.made}},
        {"type": "message_stop"},
    ):
        yield json.dumps(event)


def error(status: int) -> dict[str, Any]:
    """The body of a failure."""
    kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": f"scripted failure {status}"}}


def _head(reply: Reply) -> dict[str, Any]:
    return {"id": f"msg_{reply.id}", "type": "message", "role": "assistant", "model": reply.model}


def _block(reply: Reply) -> dict[str, Any]:
    if reply.call is None:
        return {"type": "text", "text": reply.text}
    return {"type": "tool_use", "id": reply.call.id, "name": reply.call.tool, "input": reply.call.arguments}


def _reason(reply: Reply) -> str:
    if reply.refused:
        return "refusal"
    return "end_turn" if reply.call is None else "tool_use"
