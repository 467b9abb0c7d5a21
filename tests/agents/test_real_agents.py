"""Real agents do real work through Maestro, and fail as they really fail. The model is the stub's.

Each test runs once for each agent that is installed (`tools/agent-clis`); the end of the output names those left out.
REAL_AGENTS=all drives the slow ones to every end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.agents.real import KEY, THERE, Stage, said_by
from tests.agents.stub.server import Stub
from tests.installation import Installation

MISCONDUCT = {"codex": "exit", "kilo": "exit", "qwen": "agent_error"}
"""How each makes it known that the API refused: only qwen ends with 0."""

ALL = os.environ.get("REAL_AGENTS") == "all"
"""Whether slow ones are driven to every end too. Kilo takes 11 s of a processor to begin, qwen 3: by default both work,
and are cancelled at work. How they fail is in `samples/` (test_samples.py); that Maestro then does what it should is
shown with codex, which takes half a second, and with stand-ins (test_stand_ins.py).
"""
SLOW = {"kilo", "qwen"}

agents = pytest.mark.parametrize("agent", sorted(THERE))
ends = pytest.mark.parametrize("agent", sorted(THERE if ALL else THERE.keys() - SLOW))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stub() as stub, Installation(tmp_path_factory.mktemp("real")) as place:
        yield Stage(place, stub)


def until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


@agents
def test_it_works_with_its_tools_and_what_it_tells_is_known(stage: Stage, agent: str) -> None:
    prompt = "[[write hello.txt Hello there]] [[run cat hello.txt; echo key ${OPENAI_API_KEY:-$STUB_API_KEY}]]"
    code, task, run = stage.work(agent, prompt + " [[usage 1000 20]] [[say All written.]]")
    assert (code, task["status"], run["outcome"], run["result"]) == (0, "completed", "ok", "All written."), run
    assert os.path.isfile(os.path.join(run["workspace"], "hello.txt"))
    assert run["session"]
    assert (task["usage"]["input_tokens"], task["usage"]["output_tokens"]) == (3000, 60)
    assert (task["usage"]["cost"] > 0) == (agent == "kilo")
    state = stage.place.json("state", "get", f"task:{task['id']}:result")
    assert state["value"] == "All written."
    assert any(KEY in request.headers.get("authorization", "") for request in stage.stub.requests)
    assert "Hello there" in stage.log(run)
    assert KEY not in stage.log(run)


@pytest.mark.parametrize("agent", sorted(THERE.keys() - (set() if ALL else SLOW) - {"qwen"}))
def test_a_model_that_refuses_is_told_from_an_api_that_fails(stage: Stage, agent: str) -> None:
    code, task, run = stage.work(agent, "[[refuse I will not do that.]]")
    assert (code, task["outcome"], run["outcome"]) == (1, "refused", "refused"), run
    assert run["evidence"].startswith("refused_event: line ")


@ends
def test_a_refused_key_is_a_failure_whatever_its_exit_code(stage: Stage, agent: str) -> None:
    code, task, run = stage.work(agent, "[[fail 401]]")
    assert (code, task["status"], run["outcome"]) == (1, "failed", MISCONDUCT[agent]), run
    assert "401" in run["evidence"]


@ends
def test_an_api_that_fails_for_long_is_a_failure_too(stage: Stage, agent: str) -> None:
    if agent == "qwen":
        # It tries again for minutes without a word: that is what the limit of silence is for.
        stage.variant(agent, "qwen-watched", limits={"silent_s": 20})
    code, _, run = stage.work("qwen-watched" if agent == "qwen" else agent, "[[fail 500]]")
    assert code != 0
    assert run["outcome"] == ("stalled" if agent == "qwen" else "exit"), run


@agents
def test_cancelling_ends_it_and_the_command_that_its_shell_was_running(stage: Stage, agent: str) -> None:
    mark = f"cancel-{os.urandom(6).hex()}"
    prompt = f"[[run true; sh -c 'sleep 300; : {mark}']]"
    task = json.loads(stage.place.run("task", "dispatch", prompt, "--to", agent, "--async").stdout)
    until(lambda: said_by(mark))
    ended = stage.place.json("task", "cancel", task["id"], "--reason", "no longer needed")
    assert (ended["status"], ended["runs"][0]["outcome"]) == ("cancelled", "cancelled")
    assert not said_by(mark)


@ends
def test_a_model_that_does_not_answer_runs_into_the_timeout(stage: Stage, agent: str) -> None:
    code, task, run = stage.work(agent, "[[stall 300]]", "--timeout", "5")
    assert (code, task["status"], run["outcome"], run["source"]) == (124, "timed_out", "timeout", "maestro"), run


@ends
def test_a_retry_goes_on_with_its_own_session_and_counts_what_was_new(stage: Stage, agent: str) -> None:
    code, task, first = stage.work(agent, "[[usage 500 5]] [[recall]]")
    assert (code, first["result"]) == (0, "Earlier:"), first
    stage.place.json("task", "retry", task["id"], "--continue")
    assert stage.place.run("task", "wait", task["id"], timeout=240).returncode == 0
    again = stage.place.json("task", "status", task["id"])
    first, second = again["runs"]
    assert second["session"] == first["session"]
    assert second["result"].startswith("Earlier: [[usage 500 5]] [[recall]]")
    assert (second["usage"]["input_tokens"], again["usage"]["input_tokens"]) == (500, 1000)


CALLS = (
    '[[call state_set {"key": "from", "value": "inside"}]] [[call task_dispatch {"prompt": "echo below", "to": "w"}]]'
    ' [[call task_wait {"ids": ["$ID"]}]] [[call task_dispatch {"prompt": "more", "to": "w"}]] [[say Delegated.]]'
)


@pytest.mark.parametrize("agent", sorted(THERE if ALL else THERE.keys() - {"kilo"}))
def test_it_calls_maestro_by_mcp_and_delegates_as_its_type_says(stage: Stage, agent: str) -> None:
    stage.with_mcp(agent, f"{agent}-boss", delegate={"to": ["w"], "max": 1})
    code, _, run = stage.work(f"{agent}-boss", CALLS)
    assert (code, run["result"]) == (0, "Delegated."), run
    set_by = stage.place.json("state", "get", "from")["actor"]
    assert set_by == f"run:{run['id']}"
    (below,) = [task for task in stage.place.json("task", "list", "--agent", "w") if task["actor"] == set_by]
    assert (below["status"], below["runs"][0]["result"]) == ("completed", "below")
    told = stage.stub.texts()
    assert below["id"] in told and f"run {run['id']} has dispatched 1 tasks, and may no more" in told


@pytest.mark.parametrize("agent", sorted({"kilo"} & set(THERE) if ALL else ()))
def test_a_mode_that_it_would_silently_replace_is_refused_before_anything_starts(stage: Stage, agent: str) -> None:
    stage.variant(agent, "kilo-lost", mode="architekt")
    before = len(stage.stub.requests)
    done = stage.place.run("task", "dispatch", "[[say never]]", "--to", "kilo-lost", "--sync")
    assert done.returncode == 2
    assert "architekt" in done.stderr and "architect" in done.stderr
    assert len(stage.stub.requests) == before


def test_every_pinned_agent_has_a_type_here() -> None:
    assert set(THERE) <= set(MISCONDUCT)
