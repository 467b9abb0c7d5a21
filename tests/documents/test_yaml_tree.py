"""Documents are read as hostile input: refused at the first event that is no plain data, with file and line."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings, strategies as st

from maestro.documents.yaml_tree import Limits, read
from maestro.model.errors import Invalid
from maestro.printable_text import plain, shown

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


def refusal(text: str | bytes, limits: Limits | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        read(text, "agents.d/x.yaml", limits) if limits else read(text, "agents.d/x.yaml")
    line = caught.value.line()
    assert "\n" not in line
    assert caught.value.where.startswith("agents.d/x.yaml:")
    assert caught.value.mend
    return line


def test_an_alias_bomb_is_refused_before_anything_of_it_is_built() -> None:
    started = time.process_time()
    assert "anchors and aliases (a) are not read" in refusal(BOMB)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {<<: {c: 1}}\n", "x.yaml:2: merge keys (<<) are not read"),
        ("a: 1\nb: *a\n", "x.yaml:2: anchors and aliases (a) are not read"),
        ("slug: x\nmode: y\nslug: z\n", "x.yaml:3: key slug is there twice; it is first on line 1"),
        ("a:\n  b: 1\n  'b': 2\n", "x.yaml:3: key b is there twice"),
        ("a: !!python/object/apply:os.system [id]\n", "tags (tag:yaml.org,2002:python/object/apply:o…) are not read"),
        ("a: !include /etc/passwd\n", "tags (!include) are not read"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: holds a second document"),
        ("{[a, b]: c}\n", "a key must be plain text"),
        ("a: [\n", "x.yaml:2: is not valid YAML"),
        ("a: b: c\n", "x.yaml:1: is not valid YAML: "),
        ("a:\n\t- b\n", "is not valid YAML"),
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("a: \x00\n", "is not valid YAML"),
        ("a: \ud800\n", "no Unicode text"),
        (b"a: 1\nb: \xff\xfe\n", "x.yaml:2: is not UTF-8 text"),
    ],
)
def test_what_is_no_plain_data_is_refused_with_its_line(text: str | bytes, said: str) -> None:
    assert said in refusal(text)


def test_a_document_is_refused_for_its_depth_size_and_number_of_values() -> None:
    assert "nested deeper than 24 levels" in refusal("[" * 100_000)
    assert "nested deeper than 24 levels" in refusal("- " * 100_000)
    assert "nested deeper than 24 levels" in refusal("a: [" + "{b: [" * 500 + "}")
    assert "larger than 1024 KiB" in refusal("a" * (1024 * 1024 + 1))
    assert "more than 10 values" in refusal("[" + "1," * 11 + "]", Limits(nodes_max=10))


def test_a_file_name_with_a_newline_stays_on_one_line() -> None:
    with pytest.raises(Invalid) as caught:
        read("a: [", "evil\nname\x1b[2J.yaml")
    assert "\n" not in caught.value.line()
    assert "\x1b" not in caught.value.line()


def test_values_know_their_line_and_their_text_as_written() -> None:
    root = read("a: yes\nb:\n  - 0600\n  - '5'\n", "f").root
    assert (root.entries["a"].kind, root.entries["a"].text) == ("bool", "yes")
    octal, quoted = root.entries["b"].items
    assert (octal.kind, octal.text, octal.line) == ("text", "0600", 3)
    assert (quoted.kind, quoted.text, quoted.line) == ("text", "5", 4)


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_whatever_the_text_it_is_read_or_refused_in_one_line(text: str | bytes) -> None:
    try:
        read(text, "f.yaml")
    except Invalid as error:
        assert "\n" not in error.line()


def test_terminal_sequences_are_taken_out_of_text() -> None:
    assert plain("\x1b[31mred\x1b[0m \x1b]0;title\x07ok\x9b2J\x00\x08!") == "red ok!"
    assert plain("10%\r50%\r100%\ndone\r\n") == "100%\ndone\n"
    assert plain("abc\u202edef") == "abcdef"
    assert plain("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"


def test_long_lines_without_an_end_are_made_plain_in_linear_time() -> None:
    started = time.process_time()
    for piece in ("x", "\x1b", "\x1b[", "\x1b]", "\r", "\x1b[3", "\x1bP"):
        plain(piece * 300_000)
    assert time.process_time() - started < 10


@settings(deadline=None)
@given(st.text())
def test_plain_text_holds_no_escape_and_is_already_plain(text: str) -> None:
    once = plain(text)
    assert "\x1b" not in once
    assert "\r" not in once
    assert shown(text).isprintable()
