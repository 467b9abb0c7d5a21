"""Hearing a run: out of the copy of its stdout while it grows, out of its tail for the rest, and nothing told twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings, strategies as st

from maestro.agents.definitions import Definition, parse
from maestro.agents.parts import Budget
from maestro.agents.usage import Usage
from maestro.model.events import AnyFact, RunSessionOpened, RunUsageReported
from maestro.model.task import Run, Slot, Task
from maestro.runtime.supervision.spec import End
from maestro.runtime.worker.budget import exceeded
from maestro.runtime.worker.run_observer import RunObserver, session_of
from maestro.workspaces.folders import RunFolder, create
from tests.agents.kilos import program
from tests.runtime.acting import Node, until

EVENTS = (
    "slug: x\nbin: b\nargv: ['{bin}']\noutput: {format: ndjson, session: [id], usage: {path: u}, text: {path: t}}\n"
)
LINES = [b'{"id":"s1"}\n', b'{"u":{"input":2,"output":1,"cost":0.1}}\n', b"noise\n", b'{"t":"done","u":{"input":3}}']


def run_of(number: int = 1, **fields: object) -> Run:
    run = Run(f"t-0.{number}", number, "a", None, 1, 1)
    for name, value in fields.items():
        setattr(run, name, value)
    return run


def hear(folder: Path, copy: bytes, tail: bytes, count: int, run: Run | None = None) -> RunObserver:
    """What is heard in the end of a run with this copy, this tail, and so many bytes of stdout."""
    place = RunFolder(str(folder), "a", "t", 1)
    create(place, b"")
    Path(place.stdout).write_bytes(copy)
    Path(place.tail).write_bytes(tail)
    hearing = RunObserver(definition(), run or run_of(), place)
    trio.run(hearing.complete, End("t-0.1", stdout_bytes=count))
    return hearing


def definition(text: str = EVENTS) -> Definition:
    return parse(text, "x.yaml")


@settings(deadline=None, max_examples=50)
@given(cap=st.integers(0, 120), tail=st.integers(0, 120))
def test_what_the_copy_has_no_room_for_is_in_the_tail(
    tmp_path_factory: pytest.TempPathFactory, cap: int, tail: int
) -> None:
    whole = b"".join(LINES)
    kept = whole[-tail:] if tail else b""
    told = hear(tmp_path_factory.mktemp("h"), whole[:cap], kept, len(whole)).told
    if cap + tail >= len(whole):
        assert (told.session, told.text, told.usage) == ("s1", "done", Usage(5, 1, 0, 0.1))
    else:
        assert told.usage.input_tokens in (0, 2, 3, 5), "a line of which a part is missing is no line"


def test_nothing_that_the_log_has_is_told_again(tmp_path: Path) -> None:
    whole = b"".join(LINES)
    known = run_of(session="s1", input_tokens=2, output_tokens=1, cost=0.1)
    hearing = hear(tmp_path, whole, b"", len(whole), known)
    news: list[AnyFact] = hearing.news()
    assert news == [RunUsageReported("t-0.1", "t", "a", 3, 0, 0.0)]
    hearing.note(news)
    assert hearing.news() == []
    other = hear(tmp_path, whole, b"", len(whole), run_of(session="s0"))
    assert other.news()[0] == RunSessionOpened("t-0.1", "t", "a", "s1")


def test_a_run_goes_on_with_a_session_of_its_own_agent_only() -> None:
    runs = [run_of(1, session="s1", input_tokens=4), run_of(2, session="s1", input_tokens=5), run_of(3)]
    slot = Slot("a", runs=[*runs, run_of(4)], earlier=3)
    task = Task("t", 1, 1, "", "running", [slot], 0, "", resumes=True)
    assert session_of(slot, task, slot.runs[3]) == ("s1", Usage(9))
    slot.runs[3].agent = "b"
    assert session_of(slot, task, slot.runs[3]) == ("", Usage())
    slot.runs[3].agent, task.resumes = "a", False
    assert session_of(slot, task, slot.runs[3]) == ("", Usage())


@pytest.mark.parametrize(
    ("type_", "task", "others", "said"),
    [
        (Budget(), {}, [99], None),
        (Budget(tokens=10), {}, [99], None),
        (Budget(tokens=9), {}, [], "the type's budget of one run is 9 tokens, 10 were used"),
        (Budget(cost=0.4), {}, [], "the type's budget of one run is a cost of 0.4, 0.5 was used"),
        (Budget(), {"budget_tokens": 14}, [5], "the task's budget is 14 tokens, 15 were used"),
        (Budget(), {"budget_tokens": 15}, [5], None),
    ],
)
def test_a_budget_is_exceeded_by_more_than_it(
    type_: Budget, task: dict[str, Any], others: Sequence[int], said: str | None
) -> None:
    runs = [run_of(number, input_tokens=used) for number, used in enumerate(others, 2)]
    row = Task("t", 1, 1, "", "running", [Slot("a", runs=[run_of(1, input_tokens=1), *runs])], 0, "", **task)
    assert exceeded(type_, row, "t-0.1", Usage(7, 3, 0, 0.5)) == said
    found = exceeded(type_, row, "t-0.1", Usage(7, 3, 0, 0.5), "to raise it: x")
    assert bool(found and found.endswith("to raise it: x")) == bool(said and "type" in said)


def test_what_a_killed_daemon_had_not_told_is_told_once_by_the_next(tmp_path: Path) -> None:
    script = (
        'echo \'{"id":"s-\'$MAESTRO_RUN_ID\'"}\'; echo \'{"u":{"input":2}}\'\n'
        f"if mkdir {tmp_path}/first; then until test -e {tmp_path}/go; do sleep 0.05; done\n"
        f'echo \'{{"u":{{"input":40}}}}\'; touch {tmp_path}/said; sleep 600; fi; echo \'{{"t":"again"}}\'\n'
    )
    node = Node(tmp_path / "node")
    with node:
        text = EVENTS.replace("bin: b", f"bin: {program(tmp_path / 'b', script)}")
        (node.agents / "x.yaml").write_text(text)
        task = node.dispatch("go", "--to", "x")["id"]
        until(lambda: node.task(task)["usage"]["input_tokens"] == 2)
        (tmp_path / "go").touch()
        until((tmp_path / "said").exists)
        node.kill()
        node.up()
        until(lambda: node.task(task)["status"] == "completed")
        first, second = node.task(task)["runs"]
        assert (first["outcome"], first["usage"]["input_tokens"], first["session"]) == ("lost", 42, f"s-{task}-0.1")
        assert (second["outcome"], second["usage"]["input_tokens"], second["result"]) == ("ok", 2, "again")
