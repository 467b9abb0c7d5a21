"""The calls of tools in what an agent prints: in the JSON lines of the programs that tell them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from maestro.printable_text import plain

CALLS_MAX = 500
DEPTH_MAX = 6
INPUT_CHARS = 500
CALLS: Final = frozenset({"tool_use", "tool_call", "function_call", "tool"})
"""What an object of a call says that it is, as its `type`."""
ITEMS: Final = frozenset({"command_execution", "mcp_tool_call", "file_change", "web_search"})
"""As CALLS, in items that say themselves what was done."""
RESULTS: Final = frozenset({"tool_result", "tool_call_update"})
WORDS: Final = tuple(word.encode() for word in ("tool", "function_call", *sorted(ITEMS)))
"""A line without any of these tells no call."""
NAMES: Final = ("tool_name", "name", "tool", "title")
IDS: Final = ("tool_use_id", "callID", "call_id", "tool_id", "id")
INPUTS: Final = ("input", "parameters", "arguments", "command", "changes", "query")


class ToolCall(msgspec.Struct):
    """A call of a tool. input: what it was given, shortened; status: "" while nothing has told how it ended."""

    name: str
    input: str
    status: str = ""


def tool_calls(lines: Iterable[bytes]) -> list[ToolCall]:
    """The calls that these lines tell, in order, each once, the first `CALLS_MAX`."""
    calls: list[ToolCall] = []
    by_id: dict[str, ToolCall] = {}
    for line in lines:
        if line.lstrip()[:1] not in (b"{", b"[") or not any(word in line for word in WORDS):
            continue
        try:
            data = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        for told in _told(data, DEPTH_MAX):
            _take(told, calls, by_id)
        if len(calls) >= CALLS_MAX:
            break
    return calls[:CALLS_MAX]


def _told(data: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The objects in a line that are about a call, outermost first; of one in another one, the inner one."""
    if depth == 0:
        return
    if isinstance(data, list):
        for each in data:
            yield from _told(each, depth - 1)
    elif isinstance(data, dict):
        inner = [each for value in data.values() if isinstance(value, (dict, list)) for each in _told(value, depth - 1)]
        kind = data.get("type")
        if isinstance(kind, str) and kind in CALLS | ITEMS | RESULTS and (not inner or _name(data)):
            yield data
        else:
            yield from inner


def _take(told: dict[str, Any], calls: list[ToolCall], by_id: dict[str, ToolCall]) -> None:
    kind = told["type"]
    name = next((told[key] for key in IDS if isinstance(told.get(key), str)), "")
    state = told["state"] if isinstance(told.get("state"), dict) else told
    status = _status(told, state)
    known = by_id.get(name) if name else None
    if known is not None:
        known.status = status or known.status
        known.input = known.input or _input(state)
    elif kind not in RESULTS or kind == "tool_call_update":
        call = ToolCall(_name(told) or (kind if kind in ITEMS else ""), _input(state), status)
        if call.name:
            calls.append(call)
            by_id[name] = call


def _name(told: dict[str, Any]) -> str:
    found = next((told[key] for key in NAMES if isinstance(told.get(key), str) and told[key]), "")
    return plain(found)[:120]


def _status(told: dict[str, Any], state: dict[str, Any]) -> str:
    status = state.get("status")
    if isinstance(status, str):
        return plain(status)[:40]
    if told["type"] == "tool_result":
        return "error" if told.get("is_error") else "completed"
    return ""


def _input(state: dict[str, Any]) -> str:
    given = next((state[key] for key in INPUTS if state.get(key)), "")
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode("utf-8", "replace")
    return plain(text) if len(text) <= INPUT_CHARS else plain(text[:INPUT_CHARS]) + "…"
