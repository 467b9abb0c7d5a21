"""What the model does, as the prompt's own directives say: `[[write PATH TEXT]] [[run COMMAND]] [[say TEXT]]` …

`[[fail STATUS [TIMES]]]`   answer with an HTTP error, always or so many times
`[[stall SECONDS]]`         keep silent before the answer
`[[refuse TEXT]]`           say this as the API has a model refuse, or be stopped by a filter
`[[drop]]`                  close the connection in the middle of the answer
`[[usage GIVEN MADE]]`      the tokens of each answer
`[[call TOOL JSON]]`        call the tool whose name ends so (an MCP server's); `$ID` is the id in the last result
`[[recall]]`                say what earlier prompts of this session were

The directives count that stand in the last prompt which has any. Each `write`, `run` and `call` is one tool call; how
many results of tools stand after the prompt tells how far the script is, so that the stub needs no memory of sessions.
Where no tool is offered a `write` is answered as a file in the text, and a `run` is passed over. Requests beside the
work, for a title or for an object of a given shape, get some answer.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from typing import Any

import msgspec

from tests.agents.stub.conversation import Call, Conversation, Tool, Turn, Usage

_DIRECTIVE = re.compile(r"\[\[(write|run|call|say|refuse|stall|fail|drop|usage|recall)\b[ \t]*(.*?)\]\]", re.DOTALL)
_SHELLS = ("bash", "shell", "shell_command", "exec_command", "run_shell_command", "execute_command", "terminal")
_CALLS = frozenset({"write", "run", "call"})
_RESULT_ID = re.compile(r'"id\\*":\s*\\*"(\w+)')
_WRITERS = ("write", "write_file", "create_file", "write_to_file")
_COMMAND_KEYS = ("command", "cmd", "script")
_PATH_KEYS = ("filePath", "file_path", "absolute_path", "path", "target_file")
_TEXT_KEYS = ("content", "contents", "text", "file_text")


class Step(msgspec.Struct, frozen=True):
    """One directive. word: its name; rest: what stands behind it."""

    word: str
    rest: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with a request: wait `stall_s`, then fail with `status`, drop the line, call, or say `text`."""

    stall_s: float = 0.0
    status: int = 0
    drop: bool = False
    call: Call | None = None
    text: str = ""
    usage: Usage = Usage()
    refused: bool = False


def move(conversation: Conversation, call_id: str, failures: Counter[str]) -> Move:
    """The next move of the script in a conversation. failures: how often each `fail` has come so far; is counted up."""
    if conversation.shape is not None:
        return Move(text=json.dumps(_example(conversation.shape)))
    if any(turn.kind == "system" and "title generator" in turn.text for turn in conversation.turns):
        return Move(text="A title")
    steps, done, earlier = _script(conversation.turns)
    usage, stall_s, said = _usage(steps), 0.0, []
    for step in steps:
        if step.word in _CALLS and conversation.tools:
            if done == 0:
                return Move(call=_call(step, conversation, call_id), stall_s=stall_s, usage=usage)
            done -= 1
            stall_s = 0.0
        elif step.word == "stall":
            stall_s += float(step.rest)
        elif step.word == "fail" and done == 0:
            if _fails(step, conversation, failures):
                return Move(status=int(step.rest.split()[0]), stall_s=stall_s, usage=usage)
        elif step.word == "refuse" and done == 0:
            return Move(refused=True, text=step.rest, stall_s=stall_s, usage=usage)
        elif step.word == "drop" and done == 0:
            return Move(drop=True, text="This is the last that", stall_s=stall_s, usage=usage)
        else:
            said += _said(step, earlier, conversation)
    return Move(text="\n".join(said) or "Done.", stall_s=stall_s, usage=usage)


def _said(step: Step, earlier: list[str], conversation: Conversation) -> list[str]:
    """What a step adds to the last text. A file in it has the form that the system's own words ask for."""
    if step.word == "write":
        path, _, text = step.rest.partition(" ")
        if any("<<<<<<< SEARCH" in turn.text for turn in conversation.turns):
            text = f"<<<<<<< SEARCH\n=======\n{text}\n>>>>>>> REPLACE"
        return [f"{path}\n```\n{text}\n```"]
    return {"say": [step.rest], "recall": ["Earlier: " + " | ".join(earlier)]}.get(step.word, [])


def _fails(step: Step, conversation: Conversation, failures: Counter[str]) -> bool:
    times = step.rest.split()[1:]
    key = f"{step.rest} {[turn.text for turn in conversation.turns if turn.kind == 'user']}"
    failures[key] += 1
    return not times or failures[key] <= int(times[0])


def _usage(steps: list[Step]) -> Usage:
    told = [step.rest.split() for step in steps if step.word == "usage"]
    return Usage(int(told[-1][0]), int(told[-1][1])) if told else Usage()


def _script(turns: tuple[Turn, ...]) -> tuple[list[Step], int, list[str]]:
    """The steps, how many tool calls of them are done, and the prompts before."""
    at = 0
    steps: list[Step] = []
    earlier: list[str] = []
    for number, turn in enumerate(turns):
        found = [Step(match[1], match[2].strip()) for match in _DIRECTIVE.finditer(turn.text)]
        if turn.kind == "user" and found:
            if steps:
                earlier.append(turns[at].text.strip())
            at, steps = number, found
    return steps, sum(turn.kind == "result" for turn in turns[at:]), earlier


def _call(step: Step, conversation: Conversation, call_id: str) -> Call | None:
    """The call of the agent's own tool that carries out a step; a file is written by the shell if need be."""
    if step.word == "call":
        return _named_call(step, conversation, call_id)
    shell = _tool(conversation, _SHELLS)
    if step.word == "run":
        return _shell_call(shell, step.rest, call_id)
    path, _, text = step.rest.partition(" ")
    writer = _tool(conversation, _WRITERS)
    if writer is None:
        return _shell_call(shell, f"printf %s {shlex.quote(text)} > {shlex.quote(path)}", call_id)
    if not path.startswith("/") and conversation.directory:
        path = f"{conversation.directory}/{path}"
    return Call(call_id, writer.name, _filled(writer, {_PATH_KEYS: path, _TEXT_KEYS: text}))


def _named_call(step: Step, conversation: Conversation, call_id: str) -> Call | None:
    name, _, arguments = step.rest.partition(" ")
    tool = next((tool for tool in conversation.tools if tool.name.endswith(name)), None)
    results = [turn.text for turn in conversation.turns if turn.kind == "result"]
    found = _RESULT_ID.findall(results[-1]) if results else []
    if tool is None:  # qwen offers a tool of MCP once it was searched for, and carries it out all the same
        tool = Tool(f"mcp__maestro__{name}")
    return Call(call_id, tool.name, json.loads(arguments.replace("$ID", found[0] if found else "")), tool.space)


def _shell_call(shell: Tool | None, command: str, call_id: str) -> Call | None:
    if shell is None:
        return None
    return Call(call_id, shell.name, _filled(shell, {_COMMAND_KEYS: command}))


def _tool(conversation: Conversation, names: tuple[str, ...]) -> Tool | None:
    offered = {tool.name.lower(): tool for tool in conversation.tools if not tool.freeform}
    return next((offered[name] for name in names if name in offered), None)


def _filled(tool: Tool, values: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """Arguments by the tool's own names for them; what else it requires gets a plain value of its type."""
    properties = tool.schema.get("properties", {})
    filled: dict[str, Any] = {}
    for names, value in values.items():
        name = next((name for name in names if name in properties), names[0])
        listed = properties.get(name, {}).get("type") == "array"
        filled[name] = ["sh", "-c", value] if listed else value
    plain: dict[str, Any] = {"boolean": False, "number": 60000, "integer": 60000, "array": [], "object": {}}
    for name in tool.schema.get("required", ()):
        kind = properties.get(name, {}).get("type")
        filled.setdefault(name, plain.get(str(kind).lower(), "as the script says"))
    return filled


def _example(schema: dict[str, Any]) -> Any:
    """The smallest value that a JSON Schema allows."""
    if schema.get("enum"):
        return schema["enum"][0]
    kind = str(schema.get("type", "object")).lower()
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _example(properties.get(name, {"type": "string"})) for name in schema.get("required", properties)}
    return {"array": [], "string": "x", "boolean": False}.get(kind, schema.get("minimum", 1))
