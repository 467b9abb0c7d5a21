"""The OpenAI responses API: `POST /v1/responses`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agents.stub.conversation import Conversation, Reply, Tool, Turn, joined

_KINDS = {"system": "system", "developer": "system", "user": "user", "assistant": "model"}


def read(body: dict[str, Any]) -> Conversation:
    """The request's conversation. A list of tools may hold namespaces with tools in them."""
    given = body.get("input", "")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    turns = [Turn("system", body.get("instructions") or "")]
    for item in items:
        if str(item.get("type", "")).endswith("_output"):
            turns.append(Turn("result", joined(item.get("output"))))
        elif "role" in item:
            turns.append(Turn(_KINDS.get(item["role"], "system"), joined(item.get("content"))))
    tools = [
        Tool(tool["name"], tool.get("parameters", {}), tool["type"] != "function", space) for space, tool in _flat(body)
    ]
    return Conversation(
        model=body.get("model", ""), turns=tuple(turns), tools=tuple(tools), streaming=bool(body.get("stream"))
    )


def answer(reply: Reply) -> dict[str, Any]:
    """The answer in one piece."""
    usage = {
        "input_tokens": reply.usage.given,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.usage.made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": reply.usage.given + reply.usage.made,
    }
    ended: dict[str, Any] = {"status": "completed"}
    if reply.refused:
        ended = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    return {**_head(reply), **ended, "output": [_item(reply)], "usage": usage}


def frames(reply: Reply) -> Iterator[str]:
    """The answer as the data of server-sent events; `event:` is their `type`."""
    item = _item(reply)
    unsaid: dict[str, Any] = {"content": []} if reply.call is None else {"arguments": ""}
    begun = {**item, "status": "in_progress", **unsaid}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**_head(reply), "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
    ]
    place = {"item_id": item["id"], "output_index": 0}
    if reply.call is None:
        part = item["content"][0]
        place["content_index"] = 0
        events.append({"type": "response.content_part.added", **place, "part": {**part, "text": ""}})
        for at in range(0, len(reply.text), 2048):
            events.append({"type": "response.output_text.delta", **place, "delta": reply.text[at : at + 2048]})
        events.append({"type": "response.output_text.done", **place, "text": reply.text})
        events.append({"type": "response.content_part.done", **place, "part": part})
    else:
        events.append({"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]})
        events.append({"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]})
    events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
    whole = answer(reply)
    events.append({"type": f"response.{whole['status']}", "response": whole})
    for number, event in enumerate(events):
        yield json.dumps({**event, "sequence_number": number})


def error(status: int) -> dict[str, Any]:
    """The body of a failure."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": f"scripted failure {status}", "type": kind, "param": None, "code": None}}


def _flat(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tools, each with the namespace that it is in, "" for none."""
    for tool in body.get("tools") or ():
        inner = tool.get("tools", ()) if tool.get("type") == "namespace" else (tool,)
        space = tool["name"] if tool.get("type") == "namespace" else ""
        yield from ((space, one) for one in inner if "name" in one and one.get("type") in {"function", "custom"})


def _head(reply: Reply) -> dict[str, Any]:
    return {"id": f"resp_{reply.id}", "object": "response", "created_at": 1_700_000_000, "model": reply.model}


def _item(reply: Reply) -> dict[str, Any]:
    if reply.call is None:
        part = {"type": "output_text", "text": reply.text, "annotations": []}
        item = {"id": f"msg_{reply.id}", "type": "message", "role": "assistant", "content": [part]}
    else:
        arguments = json.dumps(reply.call.arguments)
        item = {"id": f"fc_{reply.id}", "type": "function_call", "name": reply.call.tool, "arguments": arguments}
        item["call_id"] = reply.call.id
        if reply.call.space:
            item["namespace"] = reply.call.space
    return {**item, "status": "completed"}
