"""Definitions of workflows as files: all that is wrong is told at once, each with its line, column and remedy."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings, strategies as st

from maestro.documents.schedules import cron_errors
from maestro.documents.workflow_file import read_workflow, told
from tests.documents.sample_workflow import SAMPLE

STEP = "steps:\n  - id: build\n    agent: coder\n    prompt: go\n"


def lines(text: str | bytes) -> list[str]:
    return told(read_workflow(text, "f.yaml"), "f.yaml")


def step(more: str, before: str = "") -> str:
    """A definition with one step, to which keys are added, each on a line of its own."""
    return before + STEP + "".join(f"    {line}\n" for line in more.splitlines())


KNOWN = (
    "known: budget, concurrency, description, env, finally, name, on_failure, result, schedules, steps, timeout, vars, "
)
KNOWN += "version"
CASES: list[tuple[str, str, str]] = [
    ("an unknown key", step("promt: x"), "f.yaml:5:5: steps[0].promt: is not a known key; did you mean 'prompt'?"),
    (
        "an unknown key at the top that is a known one of steps",
        f"id: x\n{STEP}",
        f"f.yaml:1:1: id: is not a known key; {KNOWN}",
    ),
    ("an unknown key at the top", f"vrs: {{}}\n{STEP}", "f.yaml:1:1: vrs: is not a known key; did you mean 'vars'?"),
    ("no id", "steps:\n  - agent: a\n    prompt: b\n", "f.yaml:2:5: steps[0]: key 'id' is missing; add `id: …`"),
    (
        "an id that is none",
        STEP.replace("build", '"a b"'),
        "f.yaml:2:5: `a b` is no step id; use letters, digits, `_` and `-`, 64 at most",
    ),
    (
        "a word as an id",
        STEP.replace("build", "failed"),
        "f.yaml:2:5: `failed` has a meaning of its own; call the step otherwise",
    ),
    (
        "an unknown step",
        step("on_success: buidl"),
        "f.yaml:5:5: steps[0].on_success: unknown step `buidl`; did you mean `build`?",
    ),
    (
        "an unknown step in a list",
        step("needs: [a,\n  nothing-like-it]") + "  - id: a\n    run: x\n",
        "f.yaml:6:7: steps[0].needs[1]: unknown step `nothing-like-it`; known: a, build",
    ),
    ("a cycle", step("needs: build"), "f.yaml:2:5: the steps need each other: build → build; for a loop use `again`"),
    (
        "a step that is never reached",
        step("when: false"),
        "f.yaml:5:5: steps[0].when: step `build` is never reached; remove the step, or its when",
    ),
    (
        "an undefined variable",
        step("").replace("go", "go {{ vars.brnch }}") + "vars: {branch: main}\n",
        "f.yaml:4:19: steps[0].prompt: undefined variable `vars.brnch`; did you mean `branch`?",
    ),
    (
        "a variable in a block",
        "steps:\n  - id: a\n    agent: b\n    prompt: |\n      one\n      two {{ vars.x }}\n",
        "f.yaml:6:14: steps[0].prompt: undefined variable `vars.x`; declare it in `vars`",
    ),
    (
        "a bad template",
        step("verify: 'test {{ vars'"),
        "f.yaml:5:14: steps[0].verify: bad template: unexpected end of template, expected 'end of print statement'.",
    ),
    (
        "a subtraction",
        step("when: steps.git-pull.exit_code == 0"),
        "f.yaml:5:11: steps[0].when: `steps.git-pull` is a subtraction; write steps['git-pull']",
    ),
    (
        "a value within quotes",
        "steps:\n  - id: a\n    run: echo '{{ vars.x }}'\nvars: {x: 1}\n",
        "f.yaml:3:16: steps[0].run: a {{ }} inside single quotes could become a command; write it without the quotes,"
        " as a value is quoted already; or mark it with `| raw`",
    ),
    (
        "a loop without max",
        step("again: {from: build, until: 'true'}"),
        "f.yaml:5:5: steps[0].again: key 'max' is missing; add `max: …`",
    ),
    (
        "a loop to a later step",
        step("again: {from: test, until: 'true', max: 2}") + "  - id: test\n    run: x\n    needs: build\n",
        "f.yaml:5:13: steps[0].again.from: `test` is not before `build`; go back to a step that this one needs,"
        " or to itself",
    ),
    (
        "items of a constant",
        step("for_each: '3'"),
        "f.yaml:5:5: steps[0].for_each: is a constant that is no list; write a list, or an expression:"
        " `{{ steps.x.json }}`",
    ),
    (
        "a bad minute",
        step("", "schedules: [{cron: '0 2 * * *'}, {cron: '61 2 * * *'}]\n"),
        "f.yaml:1:42: schedules[1].cron: `61` is no minute; use 0 to 59, `*`, `*/5`, a list",
    ),
    (
        "a schedule of another form",
        step("", "schedules:\n  - cron: '@daily'\n"),
        "f.yaml:2:12: schedules[0].cron: `@daily` is a name of other crons; write `0 0 * * *`",
    ),
    (
        "four fields",
        step("", "schedules:\n  - cron: 0 2 * *\n"),
        "f.yaml:2:11: schedules[0].cron: the schedule has 4 fields; write five fields: minute, hour, day of the month,"
        " month, day of the week, as in `0 2 * * *`",
    ),
    (
        "a day that never comes",
        step("", "schedules:\n  - cron: 0 0 30 2 *\n"),
        "f.yaml:2:11: schedules[0].cron: there is no such day; name a day that the month has",
    ),
    (
        "an unknown time zone",
        step("", "schedules:\n  - {cron: 0 2 * * *, tz: Europe/Belin}\n"),
        "f.yaml:2:23: schedules[0].tz: `Europe/Belin` is no time zone; did you mean `Europe/Berlin`?",
    ),
    (
        "a param that is no var",
        step("", "vars: {branch: main}\nschedules:\n  - {cron: 0 2 * * *, params: {brnch: x}}\n"),
        "f.yaml:3:32: schedules[0].params.brnch: there is no var `brnch`; did you mean `branch`?",
    ),
    (
        "a param of another type",
        step("", "vars: {count: 3}\nschedules:\n  - {cron: 0 2 * * *, params: {count: many}}\n"),
        "f.yaml:3:32: schedules[0].params.count: is text, but the var `count` is a whole number; give a whole number",
    ),
    (
        "a type that no schema has",
        step("schema:\n  type: objct"),
        "f.yaml:6:7: steps[0].schema.type: `objct` is no type; did you mean `object`?",
    ),
    (
        "a schema of another draft",
        step("schema: {$schema: 'http://json-schema.org/draft-07/schema#'}"),
        "f.yaml:5:14: steps[0].schema.$schema: is not draft 2020-12, which is the one known here; remove it, or write"
        " `https://json-schema.org/draft/2020-12/schema`",
    ),
    (
        "what is no schema",
        step("schema:\n  properties:\n    approved:\n      minLength: -1"),
        "f.yaml:8:11: steps[0].schema.properties.approved.minLength: is no JSON Schema (draft 2020-12): -1 is less than"
        " the minimum of 0",
    ),
    (
        "a keyword that is misspelt",
        step("schema: {type: object, requird: [x]}"),
        "f.yaml:5:28: steps[0].schema.requird: `requird` is no keyword of JSON Schema; did you mean `required`?",
    ),
    (
        "a pattern that is none",
        step("schema: {pattern: '('}"),
        "f.yaml:5:14: steps[0].schema.pattern: is no pattern: missing ), unterminated subpattern at position 0;"
        " write a regular expression",
    ),
    (
        "a schema that leads out",
        step("schema: {$ref: 'https://example.org/schema'}"),
        "f.yaml:5:14: steps[0].schema.$ref: `https://example.org/schema` leads out of the schema; refer to a part of"
        " this schema, as `#/$defs/name`",
    ),
    (
        "a reference to itself",
        step("schema: {$ref: '#'}"),
        "f.yaml:5:14: steps[0].schema.$ref: `#` leads nowhere; refer to a part of this schema, as `#/$defs/name`",
    ),
    (
        "a group that is not known yet",
        step("", "concurrency: {group: 'x-{{ state.y }}'}\n"),
        "f.yaml:1:28: concurrency.group: `state` is not known before a run begins; use `vars`",
    ),
    (
        "a result that names no step",
        step("", "result: '{{ steps.biuld.json }}'\n"),
        "f.yaml:1:13: result: unknown step `biuld`; did you mean `build`?",
    ),
    (
        "an environment that reads what is not there",
        step("env: {URL: '{{ vars.url }}'}"),
        "f.yaml:5:20: steps[0].env.URL: undefined variable `vars.url`; declare it in `vars`",
    ),
    (
        "a name that no variable can have",
        step("env: {A=B: x}"),
        "f.yaml:5:11: steps[0].env.A=B: is no name of a variable; use letters, digits and `_`",
    ),
    (
        "a time that is none",
        step("timeout: -5"),
        "f.yaml:5:5: steps[0].timeout: -5 is out of range; use more than 0 s, at most 365d",
    ),
    (
        "a budget of nothing",
        step("", "budget: {cost: 0}\n"),
        "f.yaml:1:10: budget.cost: 0 is out of range; use more than 0",
    ),
    (
        "a session of a command",
        "steps:\n  - id: a\n    run: x\n    retries: {max: 1, continue: true}\n",
        "f.yaml:4:23: steps[0].retries.continue: is not for a step with run; an agent goes on with its session;"
        " remove it",
    ),
    ("no steps", "steps: []\n", "f.yaml:1:1: steps: has no step; write at least one"),
    ("a list", "- a\n", "f.yaml:1:1: is a list, not a mapping of keys"),
]


@pytest.mark.parametrize(("text", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_error_is_told_with_its_place_and_what_to_write_instead(text: str, said: str) -> None:
    assert lines(text) == [said]


def test_all_errors_of_a_file_are_told_at_once_in_its_order() -> None:
    text = step("needs: x\ntimeout: 0\nschema: {type: a}\nretries: 500", "schedules: [{cron: x, tz: y}]\ntimout: 3\n")
    found = lines(text)
    assert [line.split(":")[1] for line in found] == ["1", "1", "2", "7", "8", "9", "10"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x [1]\nsteps: *x\n", "f.yaml:1:4: anchors and aliases (x) are not read"),
        ("steps: !!python/object/apply:os.system [id]\n", "f.yaml:1:8: tags ("),
        ("steps:\n  - id: a\n    id: b\n", "f.yaml:3:5: key id is there twice; it is first on line 2"),
        ("steps: [\n", "f.yaml:2:1: is not valid YAML"),
        ("[" * 10_000, "f.yaml:1:25: is nested deeper than 24 levels"),
        ("a" * (1 << 20) + "b", "f.yaml:1:1: is larger than 1024 KiB"),
        ("x: [" + "1," * 100_001 + "]", "holds more than 100000 values"),
        ("name: a\x00b\n", "f.yaml:"),
        ('name: "a\\0b"\n' + STEP, "f.yaml:1:1: name: holds a NUL character; remove it"),
        (b"name: \xff\n", "f.yaml:1:7: is not UTF-8 text"),
        ("", "f.yaml:1:1: is empty"),
        ("a: 1\n---\nb: 2\n", "holds a second document"),
    ],
)
def test_yaml_of_strangers_is_refused_at_its_place(text: str | bytes, said: str) -> None:
    found = lines(text)
    assert said in found[0]
    assert all("\n" not in line for line in found)


def test_what_would_take_for_ever_to_check_is_refused_quickly() -> None:
    started = time.process_time()
    deep = "{" + "properties: {a: {" * 8 + "}}" * 8 + "}"
    assert lines(step(f"schema: {deep}")) == []
    wide = "{anyOf: [" + "{type: object, properties: {a: {anyOf: [{}]}}}," * 1000 + "]}"
    assert "holds more than 2000 values" in lines(step(f"schema: {wide}"))[0]
    slow = "{pattern: '(a+)+$', properties: {x: {pattern: '(x{1,999}){1,999}'}}}"
    assert lines(step(f"schema: {slow}")) == []  # what such a pattern does is bounded where answers are checked
    unknown = "steps:\n" + "".join(f"  - {{id: step-{n}, run: x, needs: stpe-{n}}}\n" for n in range(1500))
    assert len(lines(unknown)) == 101  # each of them is compared with 1,500 names
    assert time.process_time() - started < 30


def test_a_sample_with_every_key_is_right() -> None:
    assert lines(SAMPLE) == []


@pytest.mark.parametrize("cron", ["0 2 * * *", "*/5 8-18 1,15 * MON-FRI", "0 0 L * *", "0 0 * * 5#1", "0 0 29 2 *"])
def test_schedules_that_come_to_pass_are_taken(cron: str) -> None:
    assert not list(cron_errors(cron))


@pytest.mark.parametrize("cron", ["*/90 * * * *", "0 0-20/24 * * *", f"1,*/{'9' * 100} * * * *"])
def test_a_step_that_no_field_has_room_for_is_refused(cron: str) -> None:
    assert [what.split("` ")[1][:17] for _, what, _ in cron_errors(cron)] == ["has a step above "]


@settings(max_examples=200)
@given(st.text(alphabet="0123456789*/,-#L@ WMONa", max_size=60))
def test_whatever_the_schedule_it_is_read_or_refused(cron: str) -> None:
    for offset, what, mend in cron_errors(cron):
        assert 0 <= offset <= len(cron)
        assert what
        assert mend


def mutations() -> st.SearchStrategy[str]:
    """The sample with parts cut out, doubled, exchanged and written over."""
    at = st.integers(0, len(SAMPLE) - 1)
    piece = st.one_of(
        st.sampled_from(
            ["\n", " ", ":", "- ", "{", "}", "[", "]", "{{ x", "}}", "'", '"', "|", "&a", "*a", "!!int", "1e999"]
        ),
        st.sampled_from(["null", "true", "-1", "~", "0x", "steps", "again", "\t", "\x00", "é", "\u2028", "$ref: '#'"]),
        st.builds(lambda one, size: SAMPLE[one : one + size], at, st.integers(1, 80)),
    )
    change = st.tuples(at, st.integers(0, 60), piece)

    def changed(changes: list[tuple[int, int, str]]) -> str:
        text = SAMPLE
        for begin, size, put in changes:
            text = text[:begin] + put + text[begin + size :]
        return text

    return st.lists(change, min_size=1, max_size=4).map(changed)


@settings(max_examples=150)
@given(mutations())
def test_whatever_becomes_of_a_definition_it_is_read_or_refused(text: str) -> None:
    reading = read_workflow(text, "f.yaml")
    assert reading.is_valid == (reading.workflow is not None and not reading.complaints)
    count = text.count("\n") + text.count("\u2028") + 1
    for one in reading.complaints:
        assert 1 <= one.line <= count + 1
        assert one.column >= 1
        assert "\n" not in one.text("f.yaml")
