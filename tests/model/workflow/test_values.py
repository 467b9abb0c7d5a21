"""What a template reads of a run: of which round, of which attempt, and no more than it names."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from maestro.model.facts import BlobRef
from maestro.model.facts.workflow import WorkflowRunStarted
from maestro.model.workflow.folding.endings import End
from maestro.model.workflow.run import Run
from maestro.model.workflow.template import EMPTY, Template
from maestro.model.workflow.values import Parsed, read_of, shortened, values
from tests.model.workflow.scripted import BAD, OK, Scripted
from tests.model.workflow.test_run import again, flow, step


def told(text: str, **more: Any) -> End:
    return OK._replace(result=text, **more)


def read(life: Scripted, text: str, step: str, instance: str = "") -> Any:
    """The values that a template of a step finds."""
    reads = Template(text).reads
    return values(life.run, step, instance, reads)


def test_a_step_tells_all_its_fields() -> None:
    end = told("done", output="log", exit_code=0, tokens=7, cost=0.5)
    life = Scripted(flow(step("a"), step("b", "a")), {"a": [end]}).go()
    found = read(life, "{{ steps.a }}{{ steps['b'].status }}", "b")["steps"]
    usage = {"tokens": 7, "input_tokens": 0, "output_tokens": 0, "cost": 0.5}
    assert found == {
        "a": {
            "output": "log", "result": "done", "json": Parsed("done"), "status": "completed", "exit_code": 0,
            "usage": usage, "items": [],
        },
        "b": {"status": "completed"},
    }  # fmt: skip


def test_the_output_of_a_command_is_its_result() -> None:
    life = Scripted(flow(step("a"), step("b", "a")), {"a": [told("out")]}).go()
    assert read(life, "{{ steps.a.output }}", "b")["steps"]["a"] == {"output": "out"}


def test_a_skipped_step_is_empty() -> None:
    life = Scripted(flow(step("a"), step("b", "a")), {"a": [End("skipped")]}).go()
    assert read(life, "{{ steps.a.result }}{{ steps.a.json.x }}{{ steps.a.exit_code }}{{ steps.a.status }}", "b")[
        "steps"
    ]["a"] == {"result": "", "json": Parsed(None), "exit_code": None, "status": "skipped"}


def test_large_texts_stay_where_they_are() -> None:
    blob = BlobRef("ab", 9000)
    life = Scripted(flow(step("a"), step("b", "a")), {"a": [OK._replace(result=blob)]}).go()
    assert read(life, "{{ steps.a.result }}{{ steps.a.json }}", "b")["steps"]["a"] == {
        "result": blob,
        "json": Parsed(blob),
    }


def test_in_a_loop_what_comes_later_is_that_of_the_round_before() -> None:
    keys = flow(step("fix"), step("beside"), step("judge", "fix", again=again("fix", 5)), step("ship", "judge"))
    ends = {"judge": [told("j1"), told("j2")], "fix": [told("f1"), told("f2")]}
    life = Scripted(keys, ends, until={"judge": [False, True]})
    text = "{{ steps.judge.result }}{{ steps.fix.result }}{{ round }}"

    def seen(step: str, instance: str) -> tuple[Any, ...]:
        found = read(life, text, step, instance)
        return found["steps"]["judge"]["result"], found["steps"]["fix"]["result"], found["round"]

    life.go(lambda life: "fix" in life.run.working)
    assert seen("fix", "fix") == ("", "", 1)
    life.go(lambda life: "judge" in life.run.working)
    assert seen("judge", "judge") == ("", "f1", 1)
    life.go(lambda life: "judge" in life.run.turning)
    assert seen("judge", "") == ("j1", "f1", 1)  # until
    life.go(lambda life: "fix#2" in life.run.working)
    assert seen("fix", "fix#2") == ("j1", "f1", 2)
    life.go(lambda life: "judge#2" in life.run.working)
    assert seen("judge", "judge#2") == ("j1", "f2", 2)
    life.go(lambda life: "ship" in life.run.working)
    assert seen("ship", "ship") == ("j2", "f2", 1)


def test_what_stands_beside_a_step_in_its_loop_is_that_of_the_round_before_even_when_it_has_ended() -> None:
    keys = flow(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c", again=again("a", 3)))
    life = Scripted(keys, {"b": [told("b1"), told("b2")]}, until={"d": [False, True]})
    life.go(lambda life: "c" in life.run.working and life.run.current["b"].done)
    assert read(life, "{{ steps.b.result }}", "c", "c")["steps"]["b"]["result"] == ""
    life.go(lambda life: "d" in life.run.working)
    assert read(life, "{{ steps.b.result }}", "d", "d")["steps"]["b"]["result"] == "b1"
    life.go(lambda life: "c#2" in life.run.working and life.run.current["b"].done)
    assert read(life, "{{ steps.b.result }}", "c", "c#2")["steps"]["b"]["result"] == "b1"


def test_items_are_all_there_in_order_with_what_failed_and_was_skipped() -> None:
    keys = flow(step("e", for_each="x", max_parallel=1, fail_fast=True, on_failure="continue"), step("b", "e"))
    ends = {"e[0]": [told("r0")], "e[1]": [BAD]}
    life = Scripted(keys, ends, items={"e": ["x", "y", "z"]}).go()
    found = read(life, "{{ steps.e.items | length }}{{ steps.e.usage }}{{ steps.e.result }}", "b")["steps"]["e"]
    assert [(one["status"], one["result"]) for one in found["items"]] == [
        ("completed", "r0"), ("failed", ""), ("skipped", "")
    ]  # fmt: skip
    assert found["result"] == ""


def test_of_two_thousand_items_a_template_gets_the_ones_it_names() -> None:
    life = Scripted(flow(step("e", for_each="x"), step("b", "e")), {"e": [told("r")]}, items={"e": list(range(2000))})
    life.go()
    reads = Template("{{ steps.e.items[3].result }}{{ steps.e.items[-1].status }}{{ steps.e.items[5000] }}").reads
    count = 0

    def seen(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        found = values(life.run, "b", "b", reads)["steps"]["e"]["items"]
    finally:
        sys.setprofile(None)
    assert set(found) == {3, -1}
    assert count < 200
    text = "{{ steps.e.items[3].result }} {{ steps.e.items[-1].status }}"
    assert Template(text).render({"steps": {"e": {"items": _plain(found)}}}) == "r completed"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(_plain(found)))[-1]["status"] == "completed"


def _plain(found: Any) -> Any:
    return {number: {**one, "json": None} for number, one in found.items()}


def test_an_item_knows_itself_and_its_last_attempt() -> None:
    keys = flow(step("e", for_each="x", retries={"max": 1, "backoff": 0}))
    bad = BAD._replace(result="half", check="2 failed", error="no", exit_code=3)
    life = Scripted(keys, {"e[1]": [bad, OK]}, items={"e": ["x", {"y": 1}]})
    text = "{{ item }}{{ index }}{{ previous.verify }}"
    life.go(lambda life: "e[1]" in life.run.working)
    first = read(life, text, "e", "e[1]")
    assert first == {
        "item": {"y": 1}, "index": 1,
        "previous": {"verify": "", "error": "", "result": "", "outcome": "", "exit_code": None},
    }  # fmt: skip
    life.go(lambda life: "e[1]" in life.run.working and life.run.instances["e[1]"].attempts == 2)
    assert read(life, text, "e", "e[1]")["previous"] == {
        "verify": "2 failed", "error": "no", "result": "half", "outcome": "exit", "exit_code": 3
    }  # fmt: skip


def test_the_next_agent_of_a_chain_is_not_told_of_the_last_one() -> None:
    keys = flow({"id": "a", "agent": ["one", "two"], "prompt": "x"})
    life = Scripted(keys, {"a": [End("failed", "budget", result="half"), OK]})
    life.go(lambda life: "a" in life.run.working and life.run.instances["a"].attempts == 2)
    assert read(life, "{{ previous.result }}", "a", "a")["previous"]["result"] == ""


def test_only_what_is_named_is_there() -> None:
    life = Scripted(flow(step("a"), vars={"x": 1, "y": 2}))
    fact = WorkflowRunStarted("r", "w", 3, "", params={"x": 5, "y": "big" * 1000}, parent="p")
    life.run = Run(fact, 1_000, life.run.workflow)
    life.go(lambda life: "a" in life.run.working)
    assert read(life, "{{ vars.x }}", "a", "a") == {"vars": {"x": 5}}
    assert read(life, "{{ run.id }}", "a", "a")["run"] == {
        "id": "r", "workflow": "w", "version": 3, "started_at": 1_000, "parent": "p"
    }  # fmt: skip
    assert set(read(life, "{{ vars[vars.x] }}", "a", "a")["vars"]) == {"x", "y"}


def test_what_was_read_is_told_shortened() -> None:
    reads = Template("{{ vars.x }}{{ steps.a.result }}{{ steps.a.json.b.c }}{{ item }}{{ vars.gone }}").reads
    found = {
        "vars": {"x": "y" * 5000}, "steps": {"a": {"result": BlobRef("ab", 7), "json": Parsed('{"b": 1}')}},
        "item": list(range(50)),
    }  # fmt: skip
    shown = read_of(found, reads)
    assert list(shown) == ["vars.x", "steps.a.result", "steps.a.json", "item"]
    assert len(shown["vars.x"]) == 200
    assert shown["steps.a.result"] == {"blob": "ab", "size": 7}
    assert shown["item"][-1] == "… 30 more"
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert len(msgspec.json.encode(shortened(deep))) < 20


def test_the_json_of_nothing_is_empty_whatever_is_read_of_it() -> None:
    keys = {"steps": {"a": {"json": EMPTY}}}
    text = "[{{ steps.a.json }}{{ steps.a.json.x.y }}{{ steps.a.json[0].z }}{% for one in steps.a.json %}!{% endfor %}]"
    assert Template(text).render(keys) == "[]"
    assert Template("{{ steps.a.json.x or 'none' }}").render(keys) == "none"
    assert Template("echo {{ steps.a.json.x }}", "script").render(keys) == "echo ''"
    assert Template("steps.a.json.approved", "expression").value(keys) == {}
    assert Template("not steps.a.json.approved", "expression").value(keys) is True


def test_what_a_filter_gives_piece_by_piece_is_a_list() -> None:
    found = {"steps": {"e": {"items": [{"json": {"url": "a b"}}, {"json": {"url": "c"}}]}}}
    text = "{{ steps.e.items | map(attribute='json.url') }}"
    assert Template(f"echo {text}", "script").render(found) == "echo 'a b' 'c'"
    assert Template(text).render(found) == '["a b","c"]'
    assert Template(text, "expression").value(found) == ["a b", "c"]
