"""Transcripts: sessions, texts, usage and ends, out of whatever an agent prints and in whatever pieces it comes."""

from __future__ import annotations

import json
import time
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st

from maestro.agents.definitions import Definition, parse
from maestro.agents.event_paths import Matcher, Place
from maestro.agents.excerpt import Excerpt, Wanted
from maestro.agents.transcript import LINE_BYTES_MAX, Transcript, TranscriptSum
from maestro.agents.usage import Usage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
)


def reader(output: str, success: str = "{}") -> Definition:
    text = f"slug: x\nbin: b\nargv: ['{{bin}}']\noutput: {output}\nsuccess: {success}\n"
    return parse(text, "x.yaml")


def read(definition: Definition, *pieces: bytes | dict[str, Any]) -> TranscriptSum:
    transcript = Transcript(definition)
    for piece in pieces:
        transcript.feed(piece if isinstance(piece, bytes) else json.dumps(piece).encode() + b"\n")
    transcript.end()
    return transcript.told


KILO = reader(
    "{format: ndjson, session: [sessionID], text: {match: {type: text}, path: part.text},"
    " usage: {match: {type: step_finish}, path: part.tokens}}",
    "{final_event: {type: step_finish}, fail_event: {type: error}}",
)
SAID = (
    b'warming up\n{"type":"step_start","sessionID":"ses_1"}\n{"type":"text","part":{"text":"one"}}\n[]\n42\n'
    b'{"type":"step_finish","part":{"cost":0.25,"tokens":{"input":3,"output":4,"cache":{"read":5}}}}\n'
    b'\xff\xfe\n\x1b[2K{"no\n{"type":"text","part":{"text":"caf\xc3\xa9 \xff"}}\n{"type":"error","error":{"name":"E"}}'
)


def test_a_transcript_tells_session_text_usage_and_end() -> None:
    told = read(KILO, SAID)
    assert (told.session, told.text, told.final, told.events) == ("ses_1", "café \ufffd", True, 5)
    assert told.usage == Usage(3, 4, 5, 0.25)
    assert told.failure == 'line 10: {"type": "error", "error": {"name": "E"}}'


@given(st.lists(st.integers(0, len(SAID))))
def test_it_does_not_matter_where_the_pieces_end(cuts: list[int]) -> None:
    edges = sorted({0, len(SAID), *cuts})
    assert read(KILO, *(SAID[a:b] for a, b in pairwise(edges))) == read(KILO, SAID)


@given(st.lists(st.binary(max_size=30) | JSON.map(lambda value: json.dumps(value).encode()), max_size=10))
def test_nothing_that_an_agent_prints_raises(lines: list[bytes]) -> None:
    for definition in (KILO, reader("{format: json, text: {path: '*.a'}, usage: {path: '*'}}")):
        told = read(definition, *(line + b"\n" for line in lines))
        assert told.usage.input_tokens >= 0


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"a":' * 100_000, b'{"n":1e999}', b'{"n":' + b"9" * 10_000 + b"}"])
def test_hostile_lines_are_passed_over(line: bytes) -> None:
    assert read(KILO, line + b"\n", {"type": "text", "part": {"text": "still there"}}).text == "still there"


def test_a_line_without_an_end_costs_no_more_memory_than_one_may_have() -> None:
    transcript = Transcript(KILO)
    tracemalloc.start()
    for _ in range(200):
        transcript.feed(b"x" * 65_536)
    transcript.feed(b'\n{"type":"text","part":{"text":"after"}}\n')
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert transcript.told.text == "after"
    assert peak < 4 * LINE_BYTES_MAX


METERED = reader("{format: ndjson, usage: {match: {t: u}, path: 'by.*', id: id}}")


def kept_after(*lines: bytes) -> tuple[int, TranscriptSum]:
    """How many bytes a transcript takes behind these lines, and what it tells."""
    transcript = Transcript(METERED)
    tracemalloc.start()
    for line in lines:
        transcript.feed(line + b"\n")
    transcript.end()
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept, transcript.told


def test_names_and_ids_of_any_length_cost_no_more_memory_than_a_line_may_have() -> None:
    names = b",".join(b'"%d%s":1' % (at, b"k" * 900_000) for at in range(20))
    kept, told = kept_after(b'{"t":"u","by":{' + names + b"}}")
    assert kept < 4 * LINE_BYTES_MAX and "not all that the rules ask for was kept" in told.unread
    ids = [b'{"t":"u","by":{"a":{"in":1}},"id":"%d%s"}' % (at % 10, b"x" * 900_000) for at in range(20)]
    kept, told = kept_after(*ids)
    assert kept < 4 * LINE_BYTES_MAX and told.usage.tokens == 10


def test_what_an_event_is_may_stand_behind_more_than_is_kept_of_it() -> None:
    parts = b",".join(b'"m%d":{"in":1,"x":["\\"}"]}' % at for at in range(60_000))
    kept, told = kept_after(b'{"by":{' + parts + b'},"t":"u","id":"a"}', b'{"t":"u","by":{"m":{"in":1}},"id":"b"}')
    assert told.events == 2 and 1000 < told.usage.tokens < 60_000
    assert kept < 8 * LINE_BYTES_MAX and "not all that the rules ask for was kept" in told.unread


def test_what_is_added_up_stays_a_number_that_can_be_stored() -> None:
    definition = reader("{format: ndjson, usage: {path: u}}")
    told = read(definition, *[{"u": {"input": 999_999_999_999_999, "output": 1, "cost": 1e14}}] * 30)
    assert told.usage == Usage(10**15, 30, 0, 1e15)
    line = reader(r"{format: text, usage: {pattern: '(?P<input>\w+) in'}}")
    assert read(line, b"999999999999999M in\n" * 3).usage == Usage(10**15)


def test_a_byte_order_mark_before_the_first_event_is_no_part_of_it() -> None:
    mark = b"\xef\xbb\xbf"
    assert read(KILO, mark + b'{"type":"text","part":{"text":"first"}}\n').text == "first"
    long = b'{"n":"' + b"x" * LINE_BYTES_MAX + b'","type":"text","part":{"text":"first"}}\n'
    assert read(KILO, mark + long).text == "first"
    assert read(reader("{format: json, text: {path: a}}"), mark + b'{"a":"b"}').text == "b"


AGENT_END = reader(
    "{format: ndjson, session: [sid], text: {match: {type: agent_end}, path: 'messages[-1].content[*].text'},"
    " usage: {match: {type: agent_end}, path: 'messages.*.usage'}}",
    "{final_event: {type: agent_end, 'messages[-1].stopReason': stop}}",
)


def message(number: int, size: int) -> dict[str, Any]:
    content = [{"type": "text", "text": f"no. {number}"}, {"type": "tool", "result": 'a "quoted\\" \u00e9 ' * size}]
    return {"content": content, "usage": {"input": 10, "output": number}, "stopReason": "stop", "n": [1, {"a": None}]}


def test_of_a_line_of_any_length_is_kept_what_the_rules_ask_for() -> None:
    event = {"messages": [message(number, 20_000) for number in range(20)], "sid": "s-1", "type": "agent_end"}
    line = json.dumps(event).encode() + b"\n"
    assert len(line) > 8 * LINE_BYTES_MAX
    transcript = Transcript(AGENT_END)
    tracemalloc.start()
    for at in range(0, len(line), 65_521):
        transcript.feed(line[at : at + 65_521])
    transcript.end()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    told = transcript.told
    assert (told.text, told.session, told.final, told.unread) == ("no. 19", "s-1", True, "")
    assert told.usage == Usage(200, sum(range(20)))
    assert peak < 6 * LINE_BYTES_MAX


@given(
    JSON, st.lists(st.integers(0, 400)), st.sampled_from(["a", "a.b", "*", "a.*.b", "a.0", "a[-1].b", "*.*", "*.-2"])
)
def test_an_excerpt_has_the_same_at_each_path_as_the_whole(value: Any, cuts: list[int], path: str) -> None:
    event = {"a": value, "b": {"a": value, "é": [value]}}
    data = json.dumps(event, ensure_ascii=len(cuts) % 2 == 0).encode()
    excerpt = Excerpt(Wanted([Place(path).parts]))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in pairwise(edges):
        excerpt.feed(data[begin:end])
    (found,) = excerpt.events() or ({},)
    assert not excerpt.has_failed
    assert Place(path).values(found) == Place(path).values(event)


@given(st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"1", b"true", b"a", b" ", b"\xff"])))
def test_an_excerpt_of_anything_is_json_or_nothing(parts: list[bytes]) -> None:
    excerpt = Excerpt(Wanted([()]))
    for part in parts:
        excerpt.feed(part)
    excerpt.events()
    assert excerpt.size == sum(map(len, parts))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"type":"text","part":{"text":"' + b"x" * 3 * LINE_BYTES_MAX, "line 1, of 3145759 bytes, is no whole JSON"),
        (b'{"type":"text","part":{"text":"' + b"x" * 3 * LINE_BYTES_MAX + b'"}}', "not all that the rules ask for"),
        (b'{"type":"text","n":' + b"[" * LINE_BYTES_MAX + b"]" * LINE_BYTES_MAX + b"}", ""),
        (b"#" * 3 * LINE_BYTES_MAX, "line 1, of 3145728 bytes, is no whole JSON and was passed over"),
    ],
)
def test_what_is_not_read_of_a_long_line_is_said(line: bytes, said: str) -> None:
    told = read(KILO, line + b"\n", {"type": "text", "part": {"text": "after"}})
    assert (told.text, said in told.unread, bool(said)) == ("after", True, bool(told.unread))


def test_a_document_of_any_length_is_read_too() -> None:
    definition = reader(
        "{format: json, text: {path: response}, usage: {path: stats}}", "{final_event: {response: '*'}}"
    )
    document = {"log": ["x" * 1000] * 3000, "response": "yes", "stats": {"input": 4}}
    told = read(definition, b"{no}\n", json.dumps(document, indent=1).encode())
    assert (told.text, told.usage, told.final, told.unread) == ("yes", Usage(4), True, "")


@pytest.mark.parametrize("line", [b"[\n", b'{"a":\n', b'["a",\n', b"[INFO] no\n"])
def test_a_document_that_no_line_begins_is_looked_for_in_time(line: bytes) -> None:
    started = time.process_time()
    told = read(reader("{format: json, text: {path: a}}"), line * (LINE_BYTES_MAX // len(line)))
    assert time.process_time() - started < 10
    assert (told.events, "a document was looked for at the first 10000 lines" in told.unread) == (0, True)


def test_a_document_that_many_messages_are_before_is_found() -> None:
    definition = reader("{format: json, text: {path: a}}")
    assert read(definition, b"[INFO] no {x}\n" * 5000 + b'[{"a":\n\n"yes"}, 1]\n \n').text == "yes"


def test_of_a_line_of_text_that_is_looked_at_in_part_that_is_said() -> None:
    definition = reader("{format: text, text: {pattern: '^> (.*)'}}")
    assert read(definition, b"> " + b"a" * 4094 + b"\n").unread == ""
    told = read(definition, b"> " + b"a" * 4095 + b"\n")
    assert (len(told.text), told.unread) == (4094, "patterns were looked for in the first 4096 characters of each line")


def test_a_gap_is_said() -> None:
    transcript = Transcript(KILO)
    transcript.gap(77)
    assert transcript.told.unread == "77 bytes in the middle of stdout were not kept"


def test_after_a_gap_the_first_line_counts_only_from_its_beginning() -> None:
    transcript = Transcript(KILO)
    transcript.feed(b'{"type":"text","part":{"text":"lost"')
    transcript.gap()
    transcript.feed(b'{"type":"text"}}\n{"type":"step_finish","part":{"tokens":{}}}\n')
    transcript.end()
    assert (transcript.told.text, transcript.told.final) == ("", True)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("{path: t}", "d"),
        ("{path: t, take: all}", "abcd"),
        ("{path: t, take: all, join: '|'}", "a|b|c|d"),
        ("{path: t, take: all, after: {tool: '*'}}", "cd"),
        ("{match: {k: [x, z]}, path: t, take: all}", "ad"),
        ("{match: {k: '~^[xy]$'}, path: t, take: all}", "ab"),
        ("[{path: nothing}, {match: {k: y}, path: t}]", "b"),
        ("{path: 'more[*].t'}", "xy"),
        ("{path: more.-1.t}", "y"),
        ("{path: $.t}", "d"),
    ],
)
def test_the_final_text_is_where_the_rule_says(rule: str, text: str) -> None:
    events: list[dict[str, Any]] = [{"t": "a", "k": "x"}, {"t": "b", "k": "y"}, {"tool": 1}]
    events += [{"t": "c", "more": [{"t": "x"}, {"i": 1}, {"t": "y"}]}, {"t": "d", "k": "z"}]
    assert read(reader(f"{{format: ndjson, text: {rule}}}"), *events).text == text


@pytest.mark.parametrize(
    ("rule", "event", "usage"),
    [
        ("{path: u}", {"u": {"input_tokens": 5, "output_tokens": 2, "cached_input_tokens": 3}}, Usage(5, 2, 3)),
        ("{path: u}", {"u": {"prompt_tokens": 5, "completion_tokens": 2}}, Usage(5, 2)),
        ("{path: u}", {"u": {"promptTokenCount": "7", "candidatesTokenCount": 1.0}}, Usage(7, 1)),
        ("{path: u}", {"u": {"input": 5, "output": 2, "cacheRead": 1, "cost": {"total": 0.5}}}, Usage(5, 2, 1, 0.5)),
        ("{path: p.u}", {"p": {"u": {"in": 1, "out": 2}, "cost": 0.125}}, Usage(1, 2, 0, 0.125)),
        ("{path: u}", {"u": {"input": 1}, "total_cost_usd": 0.75}, Usage(1, 0, 0, 0.75)),
        ("{path: m.*.tokens}", {"m": {"a": {"tokens": {"prompt": 1}}, "b": {"tokens": {"prompt": 2}}}}, Usage(3)),
        ("{path: u}", {"u": {"total_tokens": 9}}, Usage(9)),
        ("{path: u}", {"u": 9}, Usage(9)),
        ("{input: a.i, output: a.o, cached: a.c}", {"a": {"i": 1, "o": 2, "c": 3}}, Usage(1, 2, 3)),
        ("{path: u, cost: price}", {"u": {"input": 1}, "price": 4}, Usage(1, 0, 0, 4.0)),
        ("{path: u, input: eaten}", {"u": {"eaten": 6, "output": 1}}, Usage(6, 1)),
        ("{path: u}", {"u": {"input": -5, "output": True, "cost": "nan"}}, Usage()),
        ("{path: u}", {"u": {"input": 10**30, "output": None}}, Usage()),
        ("{match: {type: end}, path: u}", {"u": {"input": 1}}, Usage()),
        ("{path: u, input: [input, new, old], cached: old}", {"u": {"input": 1, "new": 2, "old": 3}}, Usage(6, 0, 3)),
        ("{path: 'm.*', counts: total}", {"m": {"a": {"input": 1}, "b": {"input": 2}}}, Usage(3)),
        ("[{path: u}, {path: v, counts: total}]", {"u": {"input": 1, "output": 5}, "v": {"input": 2}}, Usage(2, 5)),
    ],
)  # fmt: skip
def test_tokens_are_found_under_the_names_that_agents_give_them(rule: str, event: dict[str, Any], usage: Usage) -> None:
    assert read(reader(f"{{format: ndjson, usage: {rule}}}"), event).usage == usage


def test_usage_is_added_up_or_is_the_total_so_far() -> None:
    events = [{"u": {"input": 2, "output": 1, "cost": 0.1}}, {"u": {"input": 5, "output": 1, "cost": 0.2}}]
    assert read(reader("{format: ndjson, usage: {path: u}}"), *events).usage == Usage(7, 2, 0, 0.3)
    assert read(reader("{format: ndjson, usage: {path: u, counts: total}}"), *events).usage == Usage(5, 1, 0, 0.2)
    transcript = Transcript(reader("{format: ndjson, usage: {path: u, counts: session}}"), Usage(4, 1))
    transcript.feed(json.dumps(events[1]).encode() + b"\n")
    assert transcript.told.usage == Usage(1, 0, 0, 0.2)


@pytest.mark.parametrize("name", ["-rf", "--help", "a b", "", "x" * 300, "a\nb", None, {"a": 1}, "é"])
def test_what_could_be_an_option_is_no_session(name: object) -> None:
    definition = reader("{format: ndjson, session: [id, other.id]}")
    assert read(definition, {"id": name}, {"other": {"id": 17}}).session == "17"


def test_a_session_in_plain_text_is_found_by_its_pattern() -> None:
    definition = reader("{session: ['^session: (\\S+)', 'resume with --id (\\S+)']}")
    assert (
        read(definition, b"hello\n\x1b[1mresume with --id -x\x1b[0m\nsession: ab-12\nsession: later").session == "ab-12"
    )


def test_usage_is_counted_once_by_its_id() -> None:
    definition = reader("{format: ndjson, usage: {path: u, id: m.id}}")
    told = [("a", 5, 1), ("a", 5, 7), ("b", 5, 1), ("a", 5, 7), (None, 5, 1)]
    events: list[dict[str, Any]] = [
        {"u": {"input": given, "output": made}, "m": {"id": name}} for name, given, made in told
    ]
    del events[4]["m"]
    assert read(definition, *events, *events[4:]).usage == Usage(20, 10)


def test_text_and_usage_are_read_from_plain_output() -> None:
    definition = reader(
        "{text: {pattern: '^> (.*)', take: all, join: \"\\n\", after: '^--'},"
        " usage: {pattern: '(?P<input>[0-9.,]+[kM]?) in, (?P<output>\\S+) out(?: of (?P<id>\\w+))?'}}"
    )
    said = b"> old\n-- new\n> one\nnoise\n\x1b[1m> two\x1b[0m\r\n1.5k in, 1,234 out of x\n"
    told = read(definition, said, b"1.5k in, 2,000 out of x\n3M in, 0 out")
    assert (told.text, told.usage) == ("one\ntwo", Usage(3_001_500, 2000))


def test_one_document_may_follow_messages() -> None:
    definition = reader(
        "{format: json, text: {path: response}, usage: {path: stats}}", "{final_event: {response: '*'}}"
    )
    told = read(
        definition, b"Loaded [cached] credentials.\n", b'{\n "response": "yes",\n', b' "stats": {"input": 4}\n}\n'
    )
    assert (told.text, told.usage, told.final) == ("yes", Usage(4), True)


@given(JSON, st.sampled_from(["a", "a.b", "*", "a.*.b", "a.0", "a[-1].b", "*.*"]))
def test_any_path_in_any_shape_finds_values_or_nothing(data: Any, path: str) -> None:
    values = Place(path).values(data)
    assert Matcher({path: "*"})(data) == bool(values)
