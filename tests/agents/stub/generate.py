"""The Gemini API: `POST /v1beta/models/MODEL:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agents.stub.conversation import Conversation, Reply, Tool, Turn, joined


def read(body: dict[str, Any], model: str, streaming: bool) -> Conversation:
    """The request's conversation. Model and streaming stand in its address."""
    turns = [Turn("system", joined((body.get("systemInstruction") or {}).get("parts", "")))]
    for content in body["contents"]:
        kind = "model" if content.get("role") == "model" else "user"
        for part in content["parts"]:
            turns.append(Turn("result" if "functionResponse" in part else kind, joined(part)))
    declared = [one for group in body.get("tools") or () for one in group.get("functionDeclarations", ())]
    tools = (Tool(one["name"], one.get("parametersJsonSchema") or one.get("parameters") or {}) for one in declared)
    asked = body.get("generationConfig") or {}
    shape = asked.get("responseJsonSchema") or asked.get("responseSchema")
    return Conversation(model=model, turns=tuple(turns), tools=tuple(tools), shape=shape, streaming=streaming)


def answer(reply: Reply) -> dict[str, Any]:
    """The answer in one piece."""
    part: dict[str, Any] = {"text": reply.text}
    if reply.call is not None:
        part = {"functionCall": {"name": reply.call.tool, "args": reply.call.arguments}}
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
    if reply.refused:
        candidate = {"finishReason": "SAFETY", "index": 0}
    given, made = reply.usage.given, reply.usage.made
    usage = {"promptTokenCount": given, "candidatesTokenCount": made, "totalTokenCount": given + made}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": reply.model, "responseId": reply.id}


def frames(reply: Reply) -> Iterator[str]:
    """The answer as the data of one server-sent event."""
    yield json.dumps(answer(reply))


def error(status: int) -> dict[str, Any]:
    """The body of a failure."""
    names = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}
    return {"error": {"code": status, "message": f"scripted failure {status}", "status": names.get(status, "INTERNAL")}}
