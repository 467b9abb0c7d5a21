"""The evaluator, with its real process: values, failures, and templates that take too much."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import msgspec
import pytest
import trio

from maestro.model.workflow.template import Kind, TemplateFailed
from maestro.model.workflow.values import Parsed
from maestro.runtime.evaluation.evaluation_process import Request
from maestro.runtime.evaluation.evaluator import Evaluator


def rendered(*templates: tuple[Kind, str], values: dict[str, Any] | None = None, time_s: float = 30) -> list[Any]:
    """What one evaluator says of these templates, in order; of a failure its words."""

    async def main() -> list[Any]:
        evaluator = Evaluator(time_s)
        said: list[Any] = []
        try:
            for kind, text in templates:
                try:
                    said.append(await evaluator.render(kind, text, values or {}))
                except TemplateFailed as failed:
                    said.append(failed.what)
        finally:
            await evaluator.aclose()
        return said

    return trio.run(main)


def test_texts_scripts_and_values() -> None:
    values = {"vars": {"x": "$(id)", "l": [1, {"a": None}]}}
    said = rendered(
        ("text", "a {{ vars.x }}"), ("script", "echo {{ vars.x }}"), ("expression", "vars.l"), values=values
    )
    assert said == ["a $(id)", "echo '$(id)'", [1, {"a": None}]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ 'x' * 2000000000 }}", "takes too much memory"),
        ("{{ vars.l * 200000000 }}", "takes too much memory"),
        ("{% for a in range(90000) %}{{ vars.s }}{% endfor %}", "gives more than 1 MiB"),
        ("{{ 9 ** (9 ** 9) }}", "takes longer than 1 s"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "takes longer than 1 s"),
        ("{{ vars.nothing }}", "'dict object' has no attribute 'nothing'"),
    ],
)
def test_what_takes_too_much_fails_and_the_next_one_is_rendered(text: str, what: str) -> None:
    assert rendered(("text", text), ("text", "fine"), values={"vars": {"l": [1], "s": "x" * 1000}}, time_s=1) == [
        what,
        "fine",
    ]


def test_a_text_that_stands_for_its_json_is_parsed_where_it_is_read_and_only_there() -> None:
    values = {
        "steps": {
            "a": {"json": Parsed('Here:\n```json\n{"x": [1, 2]}\n```\nDone.')},
            "b": {"json": Parsed("so so")},
            "c": {"json": Parsed(None)},
        }
    }
    said = rendered(
        ("expression", "steps.a.json.x"),
        ("text", "{{ steps.a.json.x[1] }}"),
        ("expression", "steps.b.json"),
        ("script", "echo {{ steps.b.json }}"),
        ("text", "<{{ steps.c.json.x }}>"),
        values=values,
    )
    assert said[:2] == [[1, 2], "2"]
    assert said[4] == "<>"
    assert said[2] == said[3] and said[2].startswith("json: is no JSON, and has no fenced block: ")


def test_the_json_of_a_step_that_told_nothing_is_empty_whatever_is_read_of_it() -> None:
    said = rendered(
        ("text", "[{{ steps.a.json.x.y }}]"),
        ("script", "echo {{ steps.a.json.x }}"),
        ("expression", "steps.a.json.approved"),
        values={"steps": {"a": {"json": Parsed(None)}}},
    )
    assert said == ["[]", "echo ''", {}]


def checked(*pairs: tuple[str, dict[str, Any]], time_s: float = 30) -> list[str]:
    """What one evaluator says of these answers and their schemas."""

    async def main() -> list[str]:
        evaluator = Evaluator(time_s)
        try:
            return [await evaluator.misfit(*pair) for pair in pairs]
        finally:
            await evaluator.aclose()

    return trio.run(main)


def test_what_does_not_fit_a_schema_is_told_with_its_place() -> None:
    numbers = {"type": "array", "items": {"type": "integer"}}
    schema = {"type": "object", "required": ["n"], "properties": {"n": numbers}}
    answers = ('{"n": [1]}', '```\n{"n": []}\n```', '{"n": [1, "x"]}', "")
    assert checked(*((each, schema) for each in answers)) == [
        "",
        "",
        "n[1]: 'x' is not of type 'integer'",
        "is empty, which is no JSON",
    ]
    assert checked(("{}", schema)) == ["the answer: 'n' is a required property"]


def test_a_schema_that_explodes_or_leads_out_is_no_more_than_an_answer_that_was_not_checked() -> None:
    explodes = {"type": "string", "pattern": "^(a+)+$"}
    leads_out = {"$ref": "http://127.0.0.1:9/schema.json"}
    recursive = {"$ref": "#"}
    text = '"' + "a" * 40 + '!"'
    slow, out, endless, fine = checked((text, explodes), ("{}", leads_out), ("{}", recursive), ("{}", {}), time_s=1)
    assert slow == "it could not be checked: it takes longer than 1 s"
    assert out.startswith("its schema refers to what is not there")
    assert endless == "it could not be checked: it is nested too deeply"
    assert fine == ""


def test_a_process_that_nobody_ends_any_more_ends_itself() -> None:
    request = Request("schema", '"' + "a" * 40 + '!"', {"schema": {"pattern": "^(a+)+$"}})
    data = msgspec.msgpack.encode(request)
    line = [sys.executable, "-m", "maestro.runtime.evaluation.evaluation_process", "1"]
    done = subprocess.run(line, input=len(data).to_bytes(4, "big") + data, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGALRM, b"")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 400, "\ud800", '"\\ud800"', "NaN", "\0", "```\n```", "```\n1"])
def test_no_answer_breaks_the_process(text: str) -> None:
    said = checked((text, {"type": "object"}), ("{}", {"type": "object"}))
    assert said[0] and said[1] == ""
