"""The MCP server, by the SDK's own client over stdio; and what the processes of a run may ask of their daemon."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from maestro.mcp.tool_server import FAILURE
from tests.installation import Installation

MAESTRO = str(Path(sys.executable).parent / "maestro")

TOOLS = {
    *("agent_list", "task_dispatch", "task_status", "task_wait", "task_cancel", "task_list", "task_logs"),
    *("state_get", "state_set", "state_list", "state_delete", "workflow_list", "workflow_run", "workflow_status"),
    *("snapshot_take", "restore_preview", "events_since"),
}


class Caller:
    """Calls tools of a server that runs as agents start it."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal = portal
        self.client = client

    def call(self, tool: str, **arguments: Any) -> Any:
        """The structured answer."""
        result = self.result(tool, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    def refused(self, tool: str, **arguments: Any) -> str:
        """The text of the error."""
        result = self.result(tool, **arguments)
        assert result.is_error
        (content,) = result.content
        assert isinstance(content, mcp_types.TextContent)
        return content.text

    def result(self, tool: str, **arguments: Any) -> mcp_types.CallToolResult:
        """The answer as it is."""
        return self._portal.call(lambda: self.client.call_tool(tool, arguments))

    def tools(self) -> dict[str, mcp_types.Tool]:
        """What is offered, by name."""
        return {tool.name: tool for tool in self._portal.call(self.client.list_tools).tools}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with Installation(tmp_path_factory.mktemp("mcp")) as found:
        found.agent_type("w", mode="script", adapter="shell")
        found.agent_type("boss", mode="script", adapter="shell", delegate={"to": ["w", "mid", "ghost"], "max": 5})
        found.agent_type("chief", mode="script", adapter="shell", delegate={"to": ["mid"], "depth": 2})
        found.agent_type("mid", mode="script", adapter="shell", delegate={"to": ["w"]})
        for name in ("w", "mid"):
            found.json("agent", "assign", name)
        yield found


@pytest.fixture(scope="module")
def server(place: Installation) -> Iterator[Caller]:
    started = StdioServerParameters(command=MAESTRO, args=["mcp"], env=place.env)
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(Client(stdio_client(started))) as client:
            yield Caller(portal, client)


def test_it_offers_what_an_agent_needs_and_no_tool_that_decides_for_people(server: Caller) -> None:
    tools = server.tools()
    assert set(tools) == TOOLS
    for tool in tools.values():
        assert tool.description and tool.output_schema and tool.annotations, tool.name
        assert all("description" in one or "title" in one for one in tool.input_schema["properties"].values())
    for name in ("workflow_approve", "state_restore", "task_retry"):
        assert server.refused(name) == f"Unknown tool: {name}"


def test_a_task_is_dispatched_once_waited_for_and_read(server: Caller, place: Installation) -> None:
    task = server.call("task_dispatch", prompt="seq 3000; sleep 0.3", to=["w"], key="once")
    waited = server.call("task_wait", ids=[task["id"]], timeout_s=0)
    assert (waited["finished"], waited["tasks"][0]["id"]) == (False, task["id"])
    waited = server.call("task_wait", ids=[task["id"]])
    assert waited["finished"]
    assert waited["tasks"][0]["status"] == "completed"
    assert server.call("task_logs", id=task["id"], lines=2) == {"text": "2999\n3000\n", "cut": True}
    result = waited["tasks"][0]["runs"][0]["result"]
    listed = server.call("task_list", limit=1)["tasks"][0]["runs"][0]["result"]
    assert listed == f"{result[:400]}… ({len(result)} characters)"
    assert server.call("state_get", key=f"task:{task['id']}:result")["value"] == result
    again = server.call("task_dispatch", prompt="something else", to=["w"], key="once")
    assert again["id"] == task["id"]
    assert "stands for task" in again["notes"][0]
    assert place.json("task", "status", task["id"])["actor"].startswith("mcp:")
    assert server.call("task_list", limit=1)["tasks"][0]["id"] == task["id"]
    slow = server.call("task_dispatch", prompt="sleep 60", to=["w"])
    assert server.call("task_cancel", id=slow["id"])["status"] == "cancelled"


def test_bad_arguments_are_refused_in_one_line(server: Caller) -> None:
    for tool, arguments, said in (
        ("task_dispatch", {"prompt": "x", "to": ["w"], "priorty": 9}, "priorty: there is no such argument"),
        ("task_dispatch", {"to": ["w"]}, "task_dispatch: prompt: Field required"),
        ("task_list", {"limit": "many"}, "task_list: limit: "),
        ("events_since", {"after": 10**9}, "the log ends at position "),
    ):
        told = server.refused(tool, **arguments)
        assert said in told and "\n" not in told and "http" not in told


def test_errors_are_told_as_fields_too(server: Caller) -> None:
    missing = server.result("state_get", key="nope")
    fields = {"what": "there is no state key 'nope'", "where": "", "mend": "the tool state_list shows all"}
    assert (missing.is_error, missing.structured_content) == (True, None)  # of another schema: clients refuse it
    assert (missing.meta or {})[FAILURE] == fields | {"code": "not_found"}
    for tool, arguments, code, where in (
        ("restore_preview", {}, "invalid", ""),
        ("task_wait", {"ids": ["x"], "timeout_s": 1e9}, "invalid", "timeout_s"),
        ("task_dispatch", {"prompt": " ", "to": ["w"]}, "invalid", ""),
        ("nothing", {}, "not_found", "nothing"),
    ):
        told = (server.result(tool, **arguments).meta or {})[FAILURE]
        assert (told["code"], told["where"]) == (code, where), told
        assert told["what"] and told["mend"]


def test_long_lists_end_and_say_how_to_go_on(server: Caller, place: Installation) -> None:
    for name in "abc":
        place.json("state", "set", f"long/{name}", name * (70_000 if name == "a" else 1))
    listed = server.call("state_list", prefix="long/", limit=2)
    assert [one["key"] for one in listed["values"]] == ["long/a", "long/b"]
    assert listed["further"] == "1 more keys not shown: call again with after='long/b', or a longer prefix"
    rest = server.call("state_list", prefix="long/", after="long/b")
    assert ([one["key"] for one in rest["values"]], rest["further"]) == (["long/c"], "")
    first = server.call("state_get", key="long/a")
    assert (len(first["value"]), first["further"]) == (
        65536,
        "4464 more characters not shown: state_get with offset=65536",
    )
    rest = server.call("state_get", key="long/a", offset=65536)
    assert (len(rest["value"]), rest["further"]) == (4464, "")
    first = server.call("agent_list", limit=1)
    assert first["further"] == "1 more agents not shown: call again with after='mid', or give status"
    rest = server.call("agent_list", limit=1, after="mid")
    assert [each["id"] for each in first["agents"] + rest["agents"]] == ["mid", "w"] and not rest["further"]
    assert server.call("events_since", after=0, limit=2)["further"] == "there may be more: call again with after=2"


def test_errors_say_what_to_do_by_the_tools_that_there_are(server: Caller) -> None:
    assert "the tool task_list shows all" in server.refused("task_status", id="nope")
    assert "write nobody.yaml" in server.refused("task_dispatch", prompt="x", to=["nobody"])
    assert "the tool state_list shows all" in server.refused("state_get", key="nope")
    assert "the tool workflow_list shows all" in server.refused("workflow_run", workflow="nope")
    assert "give either source or at" in server.refused("restore_preview")
    assert "timeout_s" in server.refused("task_wait", ids=["x"], timeout_s=1e9)
    assert "the prompt is empty" in server.refused("task_dispatch", prompt=" ", to=["w"])


def test_state_workflows_snapshots_and_events(server: Caller, place: Installation) -> None:
    assert server.call("state_set", key="port", value="8080", ttl="1h")["value"] == "8080"
    assert server.call("state_get", key="port")["expires_at"]
    assert [one["key"] for one in server.call("state_list", prefix="po")["values"]] == ["port"]
    assert server.call("state_delete", key="port")["deleted"]
    (place.folder / "flow.yaml").write_text(
        "vars: {who: me}\nsteps: [{id: a, agent: w, prompt: 'echo {{ vars.who }}'}]\n"
    )
    place.json("workflow", "create", "flow", "--definition", str(place.folder / "flow.yaml"))
    assert server.call("workflow_list")["workflows"][0]["id"] == "flow"
    run = server.call("workflow_run", workflow="flow", params={"who": "you"}, key="r")
    assert server.call("workflow_run", workflow="flow", params={"who": "you"}, key="r")["id"] == run["id"]
    assert server.call("workflow_status", id=run["id"])["steps"][0]["id"] == "a"
    taken = server.call("snapshot_take")
    preview = server.call("restore_preview", source=taken["id"])
    assert preview["command"] == f"maestro state restore {taken['id']}"
    assert not [each for each in place.json("events", "tail") if each["type"].startswith("restore.")]
    first = server.call("events_since", after=0, limit=3)
    assert [one["seq"] for one in first["events"]] == [1, 2, 3]
    rest = server.call("events_since", after=first["position"], types=["snapshot"])
    assert {one["type"].split(".")[0] for one in rest["events"]} == {"snapshot"}


INSIDE = textwrap.dedent(
    """
    import json, os, sys
    from concurrent.futures import ThreadPoolExecutor
    from maestro.runtime.client.connection import dial, greet, server_frames
    from maestro.runtime.protocol import frames, messages as p

    def ask(command):
        connection = greet(dial(os.environ["MAESTRO_RUN_SOCKET"]))
        frames.send(connection.sock, command)
        for body in connection.bodies:
            answer = server_frames.decode(body)
            if isinstance(answer, p.Done):
                return answer.data
            if isinstance(answer, p.Failed):
                return f"{answer.code}: {answer.what}"

    os.environ["MAESTRO_AGENTS_DIR"] = os.getcwd()  # where the process may write what it likes
    open("ghost.yaml", "w").write("slug: ghost\\nmode: script\\nadapter: shell\\n")
    told = {}
    told["answer"] = ask(p.WorkflowAnswer(id="x", step="y", approved=True))
    told["restore"] = ask(p.StateRestore(source="latest"))
    told["preview"] = ask(p.RestorePreview(source="latest"))
    told["cancel"] = ask(p.TaskCancel(id=sys.argv[1]))
    told["status"] = ask(p.TaskStatus(id=sys.argv[1]))
    told["last"] = ask(p.TaskStatus(last=True))
    told["wait"] = ask(p.TaskWait(ids=[sys.argv[1]]))
    told["nothing"] = ask(p.TaskWait(ids=[]))
    told["ghost"] = ask(p.TaskDispatch(prompt="true", to=["ghost"]))
    told["urgent"] = ask(p.TaskDispatch(prompt=os.urandom(8_000_000).hex(), to=["w"], priority=1))
    ids = [ask(p.TaskDispatch(prompt="echo sub", to=["w"], key="k"))["id"] for _ in range(3)]
    told["same"] = len(set(ids))
    told["done"] = ask(p.TaskWait(ids=[ids[0]], one=True))["runs"][0]["result"]
    told["prefix"] = ask(p.TaskStatus(id=ids[0][:-3]))
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda key: ask(p.TaskDispatch(prompt="true", to=["w"], key=key)), [None, "x"] * 8)
    told["many"] = [each if isinstance(each, str) else each["id"] for each in answers]
    told["child"] = ids[0]
    json.dump(told, open("told.json", "w"))
    """
)


def _bytes_below(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the daemon works there meanwhile
            size += path.lstat().st_size
    return size


def test_a_run_may_use_what_its_type_delegates_and_nothing_else(place: Installation) -> None:
    other = place.json("task", "dispatch", "true", "--to", "w", "--sync")["id"]
    script = place.folder / "inside.py"
    script.write_text(INSIDE)
    before = _bytes_below(place.home)
    task = place.json("task", "dispatch", f"{sys.executable} {script} {other}", "--to", "boss", "--sync")
    run = task["runs"][0]
    told = json.loads((Path(run["workspace"]) / "told.json").read_text())
    for name in ("answer", "restore", "preview", "cancel"):
        assert told[name] == "refused: a process inside a run may use `state` only", name
    for name in ("status", "last", "wait", "nothing", "prefix"):
        assert told[name].startswith("refused: a process inside a run may look at the tasks only"), name
    assert told["ghost"] == "not_found: no agent matches 'ghost'"
    assert told["urgent"] == "refused: a run that delegates may not set priority"
    assert _bytes_below(place.home) - before < 6_000_000, "the prompt of a dispatch that is refused is not kept"
    assert (told["same"], told["done"]) == (1, "sub")
    refusals = [each for each in told["many"] if each.startswith(f"refused: run {run['id']} has dispatched 5 tasks")]
    unnamed, named = (sorted(set(told["many"][at::2]) - set(refusals)) for at in (0, 1))
    assert len(named) <= 1 and len(named + unnamed) == 4 and not set(named) & set(unnamed), told["many"]
    story = place.json("audit", told["child"])[0]
    assert (story["actor"], story["because"]) == (f"run:{run['id']}", f"run.released run:{run['id']}")


def test_a_run_without_the_right_may_use_state_only(place: Installation) -> None:
    prompt = "maestro state set from run && maestro task dispatch true --to w"
    task = place.run("task", "dispatch", prompt, "--to", "w", "--sync")
    assert task.returncode == 4
    assert "may use `maestro state` only" in place.run("task", "logs", json.loads(task.stdout)["id"]).stdout


def test_depth_is_held_by_every_run_above(place: Installation) -> None:
    below = "maestro task dispatch true --to w --sync"
    for name, code in (("boss", 4), ("chief", 0)):
        done = place.run("task", "dispatch", f"maestro task dispatch '{below}' --to mid --sync", "--to", name, "--sync")
        assert done.returncode == code, done.stdout
    first = place.json("task", "list", "--agent", "mid")[-1]
    assert "lets 1 generations of tasks follow" in place.run("task", "logs", first["id"]).stdout


def test_a_process_that_dropped_its_socket_is_told_how_to_keep_it(place: Installation) -> None:
    prompt = "unset MAESTRO_RUN_SOCKET; maestro task dispatch true --to w"
    home = {"MAESTRO_HOME": str(place.home)}
    done = place.run(
        "task", "dispatch", f"export MAESTRO_HOME={home['MAESTRO_HOME']}; {prompt}", "--to", "boss", "--sync"
    )
    assert done.returncode == 4
    assert "pass that variable on" in place.run("task", "logs", json.loads(done.stdout)["id"]).stdout


def test_it_survives_what_is_no_message_and_ends_with_its_client_though_a_wait_is_on(place: Installation) -> None:
    task = place.json("task", "dispatch", "sleep 60", "--to", "w", "--async")
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
    wait = {"name": "task_wait", "arguments": {"ids": [task["id"]], "timeout_s": 600}}
    lines = [
        *("no json", "[]", '{"jsonrpc":"2.0","id":1,"method":"nope"}', "\ud83d"),
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": hello}),
        '{"jsonrpc":"2.0","method":"notifications/initialized"}',
        json.dumps({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": wait}),
        '{"jsonrpc":"2.0","id":4,"method":"ping"}',
    ]
    with subprocess.Popen(
        [MAESTRO, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=place.env
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        for line in lines:
            process.stdin.write(line.encode("utf-8", "surrogatepass") + b"\n")
        process.stdin.flush()
        answers = []
        while not answers or answers[-1].get("id") != 4:
            answers.append(json.loads(process.stdout.readline()))
        assert {answer["jsonrpc"] for answer in answers} == {"2.0"}
        process.stdin.close()
        assert process.wait(30) == 0
        assert b"Traceback" not in process.stderr.read()
    place.json("task", "cancel", task["id"])


def test_a_run_keeps_the_right_with_which_it_started(place: Installation) -> None:
    """It was told that right, and what it was told holds, whatever its type says meanwhile."""
    told = {"mode": "script", "adapter": "shell"}
    place.agent_type("turn", **told, delegate={"to": ["w"], "max": 2})
    place.json("agent", "assign", "turn")
    go = place.folder / "go"
    ask = "maestro task dispatch true --to w --key"
    prompt = f"{ask} one && touch {go}.1 && until test -e {go}.2; do sleep 0.05; done; {ask} two && {ask} one"
    task = place.json("task", "dispatch", prompt, "--to", "turn", "--async")
    while not Path(f"{go}.1").exists():
        time.sleep(0.02)
    place.agent_type("turn", **told, delegate={"to": ["mid"], "max": 1})
    assert "from its next run on: delegate" in place.run("agent", "register", "turn").stderr
    Path(f"{go}.2").touch()
    done = place.run("task", "wait", task["id"])
    assert done.returncode == 0, place.run("task", "logs", task["id"]).stdout
    again = place.json("task", "dispatch", f"{ask} three", "--to", "turn", "--async")
    assert place.run("task", "wait", again["id"]).returncode == 4
    assert "may not delegate to 'w'" in place.run("task", "logs", again["id"]).stdout


def test_a_run_writes_no_result_but_its_own(place: Installation) -> None:
    other = place.json("task", "dispatch", "echo theirs", "--to", "w", "--sync")["id"]
    words = " ".join(
        f"maestro state {word} task:{other}:result {rest};" for word, rest in (("set", "x"), ("delete", ""))
    )
    own = "maestro state set task:$MAESTRO_TASK_ID:result mine && maestro state set free yes"
    task = place.json("task", "dispatch", f"{words} {own}", "--to", "w", "--sync")
    said = place.run("task", "logs", task["id"]).stdout
    assert said.count("is the result of another task, which a process inside a run may read only") == 2
    assert place.json("state", "get", f"task:{other}:result")["value"] == "theirs"
    assert place.json("state", "get", "free")["value"] == "yes"
