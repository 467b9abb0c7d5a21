"""An agent that speaks the Agent Client Protocol, and does with it what the prompt says, well or badly.

Words of the prompt: `say:TEXT`, `ask:KIND` (a request for permission, then says the answer), `usage`, `stop:REASON`,
`never` (no answer to the prompt), `twice` (its answer comes twice, and others that nobody wants), `long` (an update of
100 MB), `huge` (an answer of 100 MB), `die`, `noise`, `files` (asks for what is not offered), `deaf` (no answer at all,
told by the environment), `child` (starts a process that outlives it).
"""

import json
import os
import subprocess
import sys
import time

MODES = {"currentModeId": "work", "availableModes": [{"id": "work", "name": "W"}, {"id": "look", "name": "L"}]}


def out(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(**what):
    out(method="session/update", params={"sessionId": "s-1", "update": what})


def say(text):
    update(sessionUpdate="agent_message_chunk", content={"type": "text", "text": text})


def asked(kind, number):
    options = [
        {"optionId": "y", "name": "Yes", "kind": "allow_once"},
        {"optionId": "n", "name": "No", "kind": "reject_once"},
    ]
    tool = {"toolCallId": "t1", "title": "rm -rf build", "kind": kind}
    params = {"sessionId": "s-1", "toolCall": tool, "options": options}
    out(id=number, method="session/request_permission", params=params)
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("id") == number:
            return message["result"]["outcome"]
        if message.get("method") == "session/cancel":
            say("cancelled by the client")


def ask(kind):
    outcome = asked(kind, f"p{kind}")
    update(sessionUpdate="tool_call", toolCallId="t1", title="rm", kind=kind, status="pending")
    say(outcome.get("optionId", outcome["outcome"]))


def files(_):
    out(id="f", method="fs/read_text_file", params={"path": "/etc/passwd"})
    say(str(json.loads(sys.stdin.readline())["error"]["code"]))


def flood(head, tail):
    sys.stdout.write(head)
    for _ in range(100):
        sys.stdout.write("x" * 1024 * 1024)
    sys.stdout.write(tail + "\n")


def odd(_):
    for what in ({"sessionUpdate": []}, {"sessionUpdate": "usage_update", "cost": {"amount": float("inf")}}, {}, "x"):
        out(method="session/update", params={"update": what})
    update(
        sessionUpdate="tool_call", toolCallId=[], title={}, content=[1, {"content": 3}], _meta={"usage": {"a": True}}
    )
    for params in (None, {"options": [{"optionId": "z" * 999, "kind": "allow_once"}]}):
        out(id=[1], method="session/request_permission", params=params)
        sys.stdin.readline()
    out(method=[3], id={}, params=7)
    sys.stdin.readline()
    say("\ud800é")


ACTS = {
    "odd": odd,
    "say": lambda text: (say(text[:1]), say(text[1:])),
    "ask": ask,
    "usage": lambda _: update(sessionUpdate="usage_update", used=1, size=2, cost={"amount": 0.5, "currency": "USD"}),
    "never": lambda _: time.sleep(600),
    "noise": lambda _: print('Loading…\n[1,2]\nnull\n{"id": true}'),
    "files": files,
    "long": lambda _: flood('{"method":"session/update","params":{"update":"', '"}}'),
    "huge": lambda _: flood('{"id":3,"result":"', '"}'),
    "child": lambda _: subprocess.Popen(["sleep", "600"], start_new_session=True),
    "die": lambda _: os._exit(3),
}


def prompt(number, text):
    reason = "end_turn"
    for word in text.split():
        name, _, value = word.partition(":")
        if name == "stop":
            reason = value
        elif name == "twice":
            out(id=77, result={})
            out(id=number, result={"stopReason": "end_turn"})
            out(id=number, result={"stopReason": "refusal"})
            return
        else:
            ACTS[name](value)
    out(id=number, result={"stopReason": reason, "usage": {"inputTokens": 30, "outputTokens": 4}})


loaded = False
for line in sys.stdin:
    message = json.loads(line)
    method, number = message.get("method"), message.get("id")
    if os.environ.get("ROGUE") == "deaf":
        time.sleep(600)
    if method == "initialize":
        caps = {"loadSession": True}
        out(id=number, result={"protocolVersion": int(os.environ.get("ROGUE", 1)), "agentCapabilities": caps})
    elif method == "session/new":
        assert os.path.isabs(message["params"]["cwd"])
        out(id=number, result={"sessionId": "s-1", "modes": MODES})
    elif method == "session/load":
        say("an old answer")
        update(sessionUpdate="tool_call", toolCallId="old", title="old", kind="other", status="completed")
        loaded = True
        out(id=number, result={"modes": MODES})
    elif method == "session/set_mode":
        out(id=number, result={})
    elif method == "session/prompt":
        if loaded:
            update(sessionUpdate="current_mode_update", currentModeId="loaded")
        prompt(number, message["params"]["prompt"][0]["text"])
